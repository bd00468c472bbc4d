# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

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
