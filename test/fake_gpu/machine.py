# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The fixture that makes this machine one with a GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from host_cuda.library import HostCuda

from fake_gpu import SURFACES, FakeCuda, FakeDriver, FakeTensorRt, Machine, MakeMachine
from segformer_ros.engines import tensorrt as engine
from segformer_ros.engines.cuda import device, driver
from segformer_ros.engines.trt import adapter, network_runner
from segformer_ros.verification import kernel_checks, steps

REAL_BINDING = 'SEGFORMER_REAL_BINDING'
"""Environment variable: the module, one of BINDINGS, that is to call the driver for the host."""


@pytest.fixture
def make_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeMachine:
    """Make this machine one with a GPU: make_machine('10.3.0', sm=87, integrated=True)."""
    monkeypatch.setenv('SEGFORMER_CACHE', str(tmp_path / 'cache'))

    def make_fake(cuda: FakeCuda, sm: int, integrated: bool) -> FakeDriver:
        fake_driver = FakeDriver(cuda, sm, integrated=integrated)
        monkeypatch.setattr(device, '_PRIMARY', {})
        package = ModuleType('pycuda')
        package.__dict__['driver'] = cuda.module()
        monkeypatch.setitem(sys.modules, 'pycuda', package)
        monkeypatch.setitem(sys.modules, 'pycuda.driver', package.__dict__['driver'])
        for module in (driver, network_runner, kernel_checks):
            monkeypatch.setattr(module, 'load_driver', lambda: fake_driver)
        return fake_driver

    def make_host(sm: int, integrated: bool) -> Any:
        monkeypatch.setenv('HOST_SM', str(sm))
        monkeypatch.setenv('HOST_INTEGRATED', str(int(integrated)))
        monkeypatch.setattr(device, 'BINDINGS', (os.environ[REAL_BINDING],))
        return HostCuda()

    def make(version: str = '10.3.0', sm: int = 87, integrated: bool = False) -> Machine:
        fake_driver: Any = None
        cuda: Any = make_host(sm, integrated) if REAL_BINDING in os.environ else FakeCuda()
        if isinstance(cuda, FakeCuda):
            fake_driver = make_fake(cuda, sm, integrated)
        tensorrt = FakeTensorRt(SURFACES[version], cuda)
        monkeypatch.setitem(sys.modules, 'tensorrt', tensorrt.module)
        monkeypatch.setattr(adapter, 'MODULES', ('tensorrt',))
        # The kernels that run are those of `host_kernels`; compiling others takes a second.
        for user in (engine, steps):
            monkeypatch.setattr(user, 'load_kernels', lambda sm, cache, load: load(b'cubin'))
        return Machine(fake_driver, cuda, tensorrt)

    return make
