"""A GPU that is not there: driver, PyCUDA and TensorRT with the real calls, run on the CPU.

Streams do nothing until somebody waits for them, and then only what must come before: work that
was not ordered by an event is late here, as it could be on a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fake_gpu.cuda import FakeCuda
from fake_gpu.driver import FakeDriver
from fake_gpu.tensorrt import MAGIC, SURFACES, FakeTensorRt

__all__ = ['MAGIC', 'SURFACES', 'FakeCuda', 'FakeDriver', 'FakeTensorRt', 'Machine', 'MakeMachine']


@dataclass
class Machine:
    """A machine with a GPU: its driver, PyCUDA and TensorRT, all on the CPU."""

    driver: FakeDriver
    cuda: FakeCuda
    tensorrt: FakeTensorRt


MakeMachine = Callable[..., Machine]
