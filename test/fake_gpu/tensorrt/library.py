# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""tensorrt of one version: the module, and what was called on it."""

from __future__ import annotations

from enum import Enum
from types import ModuleType
from typing import Any

from fake_gpu.cuda import FakeCuda
from fake_gpu.tensorrt.building import Builder, Config
from fake_gpu.tensorrt.datatypes import DataType
from fake_gpu.tensorrt.networks import Network, Parser
from fake_gpu.tensorrt.running import Context, Engine, Runtime
from fake_gpu.tensorrt.surfaces import Surface, restricted


class FakeTensorRt:
    """One version's module and what was called on it.

    memory: bytes that a build may use. silent: whether it builds FP32 whatever was asked.
    unmakeable: names of what cannot be made, 'Builder' or 'Runtime'. dla_cores: of the machine.
    """

    def __init__(self, surface: Surface, cuda: FakeCuda) -> None:
        self.surface, self.cuda = surface, cuda
        self.journal: list[tuple[Any, ...]] = []
        self.memory = 8 << 30
        self.silent = False
        self.dla_cores = 0
        self.unmakeable: set[str] = set()
        self._logger: Any = None
        self.module = self._make_module()

    def register(self, logger: Any) -> Any:
        """The one logger that the library writes to, up to 8.4: the first that it was given."""
        assert logger.initialised
        self._logger = self._logger or logger
        return self._logger

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """Arguments of each call of a name."""
        return [entry[1:] for entry in self.journal if entry[0] == name]

    def _made(self, name: str, kind: type, kinds: dict[str, type], logger: Any) -> Any:
        """A Builder or Runtime; the bindings never give None for one."""
        if name in self.unmakeable:
            self.register(logger).log('Severity.ERROR', 'CUDA initialization failure: 35')
            raise TypeError('pybind11::init(): factory function returned nullptr')
        return kind(self, kinds, logger)

    def _make_module(self) -> ModuleType:
        module, surface = ModuleType('tensorrt'), self.surface
        kinds = {
            name: restricted(base, surface.members[name], self)
            for name, base in (
                ('ICudaEngine', Engine),
                ('IExecutionContext', Context),
                ('IBuilderConfig', Config),
                ('INetworkDefinition', Network),
            )
        }
        module.__dict__.update(
            __version__=surface.version,
            ILogger=_Base,
            DataType=Enum('DataType', {name: DataType[name].value for name in surface.types}),
            NetworkDefinitionCreationFlag=_numbers('Flag', surface.network_flags),
            BuilderFlag=_numbers('BuilderFlag', surface.builder_flags),
            DeviceType=_numbers('DeviceType', ['GPU', 'DLA']),
            MemoryPoolType=_numbers('Pool', ['WORKSPACE']),
            ProfilingVerbosity=_numbers('Verbosity', ['LAYER_NAMES_ONLY', 'NONE', 'DETAILED']),
            LayerInformationFormat=_numbers('Format', ['ONELINE', 'JSON']),
            TensorFormat=_numbers('TensorFormat', ['LINEAR', 'CHW2', 'HWC8']),
            TensorIOMode=_numbers('Mode', ['NONE', 'INPUT', 'OUTPUT']),
            Builder=lambda logger: self._made('Builder', Builder, kinds, logger),
            OnnxParser=lambda network, logger: Parser(self, network, logger),
            Runtime=lambda logger: self._made('Runtime', Runtime, kinds, logger),
        )
        if surface.monitor:
            module.__dict__['IProgressMonitor'] = _Base
        return module


class _Base:
    """Base of what users of TensorRT derive from; its __init__ must be called."""

    def __init__(self) -> None:
        self.initialised = True


def _numbers(name: str, members: list[str]) -> Any:
    values = {member: number for number, member in enumerate(members)}
    return type(name, (), {key: _Number(value) for key, value in values.items()})


class _Number(int):
    """An enumeration's value: an int, as pybind11 enums convert to."""
