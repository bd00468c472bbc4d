# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Builder, its configuration and its timings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fake_gpu.tensorrt.networks import Network
from fake_gpu.tensorrt.plans import serialise

if TYPE_CHECKING:
    from fake_gpu.tensorrt.library import FakeTensorRt

LEAST_MEMORY = 32 << 20


class Profile:
    """IOptimizationProfile of the one input."""

    def __init__(self) -> None:
        self.shapes: list[list[int]] = []

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes = [list(least), list(usual), list(most)]


class _TimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> bytearray:
        return bytearray(self._data)


class Config:
    """IBuilderConfig, all versions together."""

    _fake: FakeTensorRt

    def __init__(self) -> None:
        self._workspace = 0
        self._flags: set[int] = set()
        self._profiles: list[Profile] = []
        self._timings = b''

    @property
    def max_workspace_size(self) -> int:
        return self._workspace

    @max_workspace_size.setter
    def max_workspace_size(self, size: int) -> None:
        self._fake.journal.append(('max_workspace_size', size))
        self._workspace = size

    profiling_verbosity: Any = None
    progress_monitor: Any = None
    default_device_type: Any = 0
    DLA_core = -1

    def can_run_on_DLA(self, layer: Any) -> bool:
        assert self.default_device_type == 1
        return layer.type in ('LayerType.CONV', 'LayerType.ADD')

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self._fake.journal.append(('set_memory_pool_limit', size))
        self._workspace = size

    def set_flag(self, flag: int) -> None:
        self._fake.journal.append(('set_flag', self._fake.surface.builder_flags[flag]))
        self._flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self._fake.journal.append(('clear_flag', self._fake.surface.builder_flags[flag]))

    def create_timing_cache(self, data: bytes) -> _TimingCache:
        return _TimingCache(data)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self._fake.journal.append(('set_timing_cache', bytes(cache.serialize())))
        return True

    def get_timing_cache(self) -> _TimingCache:
        return _TimingCache(self._timings)

    def add_optimization_profile(self, profile: Profile) -> int:
        self._profiles.append(profile)
        return 0


class Builder:
    """IBuilder."""

    def __init__(self, fake: FakeTensorRt, kinds: dict[str, type], logger: Any) -> None:
        self._fake, self._kinds, self._logger = fake, kinds, fake.register(logger)
        fake.journal.append(('Builder',))

    @property
    def num_DLA_cores(self) -> int:
        return self._fake.dla_cores

    def create_network(self, flags: int) -> Network:
        names = self._fake.surface.network_flags
        assert flags < 1 << len(names), 'a flag that this version does not have'
        explicit = flags & 1 if names[0] == 'EXPLICIT_BATCH' else 1
        self._fake.journal.append(('create_network', flags))
        network: Network = self._kinds['INetworkDefinition'](bool(explicit))
        return network

    def create_builder_config(self) -> Any:
        return self._kinds['IBuilderConfig']()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Any) -> bytearray | None:
        fake, logger = self._fake, self._logger
        assert network._parser is not None and network._parser() is not None, 'the parser is gone'
        fake.journal.append(('build', config._workspace))
        if config.default_device_type == 1:
            fake.journal.append(('DLA', config.DLA_core))
            for profile in config._profiles:
                assert profile.shapes[0] == profile.shapes[2], 'a DLA takes no free sides'
        for layer in network._layers:
            if layer.precision is not None or layer.output_types:
                kinds = [layer.precision] if layer.precision else []
                kinds += layer.output_types.values()
                fake.journal.append(('layer', layer._node.op_type, *(kind.name for kind in kinds)))
        if config._workspace > fake.memory or fake.memory < LEAST_MEMORY:
            logger.log('Severity.ERROR', '[virtualMemoryBuffer.cpp] OutOfMemory: Requested 1 GiB')
            return None
        if fake.surface.version.startswith('8.2') and network._quantises_half():
            logger.log('Severity.ERROR', 'Error Code 4: QuantizeLinear: FP16 input not supported')
            return None
        monitor = config.__dict__.get('progress_monitor')
        if monitor is not None:
            assert monitor.initialised
            monitor.phase_start('Building engine', None, 2)
            for step in range(2):
                if not monitor.step_complete('Building engine', step):
                    return None
            monitor.phase_finish('Building engine')
        config._timings = b'timings after a build'
        return bytearray(serialise(network, config, fake))
