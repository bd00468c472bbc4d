"""The fixture that makes this machine one with a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from fake_gpu import SURFACES, FakeCuda, FakeDriver, FakeTensorRt, Machine, MakeMachine
from segformer_ros.engines import tensorrt as engine
from segformer_ros.engines.cuda import driver
from segformer_ros.engines.trt import adapter, network_runner
from segformer_ros.verification import kernel_speed, steps


@pytest.fixture
def make_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeMachine:
    """Make this machine one with a GPU: make_machine('10.3.0', sm=87, integrated=True)."""
    monkeypatch.setenv('SEGFORMER_CACHE', str(tmp_path / 'cache'))

    def make(version: str = '10.3.0', sm: int = 87, integrated: bool = False) -> Machine:
        cuda = FakeCuda()
        fake_driver = FakeDriver(cuda, sm, integrated=integrated)
        tensorrt = FakeTensorRt(SURFACES[version], cuda)
        package = ModuleType('pycuda')
        package.__dict__['driver'] = cuda.module()
        monkeypatch.setitem(sys.modules, 'pycuda', package)
        monkeypatch.setitem(sys.modules, 'pycuda.driver', package.__dict__['driver'])
        monkeypatch.setitem(sys.modules, 'tensorrt', tensorrt.module)
        for module in (driver, network_runner, kernel_speed):
            monkeypatch.setattr(module, 'load_driver', lambda: fake_driver)
        monkeypatch.setattr(adapter, 'MODULES', ('tensorrt',))
        # The kernels that run are those of `host_kernels`; compiling others takes a second.
        for user in (engine, steps):
            monkeypatch.setattr(user, 'load_kernels', lambda sm, cache, load: load(b'cubin'))
        return Machine(fake_driver, cuda, tensorrt)

    return make
