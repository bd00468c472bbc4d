# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What each version of tensorrt has of the members, flags and types that are used here.

Checked against the bindings that TensorRT publishes (NVIDIA/TensorRT, python/src/infer) at the
tags 8.2.1, 8.5.2, 23.08 (8.6.1), v10.3.0 and v10.13.2; 11.4 against 11.1, the newest published
when this was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fake_gpu.tensorrt.library import FakeTensorRt

_BINDINGS = {
    'ICudaEngine': {
        'num_bindings',
        'get_binding_name',
        'binding_is_input',
        'get_binding_dtype',
        'get_binding_shape',
        'get_binding_format',
        'get_binding_index',
        'get_profile_shape',
    },
    'IExecutionContext': {'set_binding_shape', 'get_binding_shape', 'execute_async_v2'},
}
_NAMED = {
    'ICudaEngine': {
        'num_io_tensors',
        'get_tensor_name',
        'get_tensor_mode',
        'get_tensor_dtype',
        'get_tensor_shape',
        'get_tensor_format',
        'get_tensor_profile_shape',
    },
    'IExecutionContext': {
        'set_input_shape',
        'get_tensor_shape',
        'set_tensor_address',
        'execute_async_v3',
    },
}
_CONFIG = {
    'set_flag',
    'clear_flag',
    'profiling_verbosity',
    'create_timing_cache',
    'set_timing_cache',
    'get_timing_cache',
    'add_optimization_profile',
    'default_device_type',
    'DLA_core',
    'can_run_on_DLA',
}
_NETWORK = {'num_inputs', 'num_outputs', 'get_input', 'get_output', 'num_layers', 'get_layer'}
_NORMALIZING = _NETWORK | {'add_normalization'}
_WEAK = ['TF32', 'FP16', 'INT8', 'OBEY_PRECISION_CONSTRAINTS', 'GPU_FALLBACK']


_NEVER_KNOWN = frozenset(('StringNormalizer', 'Unique'))
# By their parsers' tables (onnx-tensorrt, operators.md).
_UNKNOWN_TO_8_5 = _NEVER_KNOWN | {'GroupNormalization', 'LayerNormalization'}
_UNKNOWN_TO_8_2 = _UNKNOWN_TO_8_5 | {'GridSample', 'Mish', 'NonZero'}


class Surface:
    """What one version has. refused: operators that its parser does not know."""

    def __init__(
        self,
        version: str,
        *,
        apis: list[dict[str, set[str]]],
        config: set[str],
        network_flags: list[str],
        builder_flags: list[str],
        types: list[str],
        monitor: bool,
        network: set[str] = _NORMALIZING,
        refused: frozenset[str] = _NEVER_KNOWN,
    ) -> None:
        self.version = version
        self.members = {
            'ICudaEngine': {'create_execution_context', 'create_engine_inspector'},
            'IExecutionContext': set(),
            'IBuilderConfig': _CONFIG | config,
            'INetworkDefinition': network,
        }
        for api in apis:
            for name, members in api.items():
                self.members[name] = self.members[name] | members
        self.network_flags = network_flags
        self.builder_flags = builder_flags
        self.types = types
        self.monitor = monitor
        self.refused = refused


_OLD_TYPES = ['FLOAT', 'HALF', 'INT8', 'INT32', 'BOOL']
_POOL = 'set_memory_pool_limit'

SURFACES = {
    surface.version: surface
    for surface in (
        Surface(
            '8.2.1.8', apis=[_BINDINGS], config={'max_workspace_size'},
            network_flags=['EXPLICIT_BATCH', 'EXPLICIT_PRECISION'], builder_flags=_WEAK,
            types=_OLD_TYPES, monitor=False, network=_NETWORK, refused=_UNKNOWN_TO_8_2,
        ),
        Surface(
            '8.5.2', apis=[_BINDINGS, _NAMED], config={'max_workspace_size', _POOL},
            network_flags=['EXPLICIT_BATCH', 'EXPLICIT_PRECISION'], builder_flags=_WEAK,
            types=[*_OLD_TYPES, 'UINT8'], monitor=False, network=_NETWORK,
            refused=_UNKNOWN_TO_8_5,
        ),
        Surface(
            '8.6.1', apis=[_BINDINGS, _NAMED], config={'max_workspace_size', _POOL},
            network_flags=['EXPLICIT_BATCH'], builder_flags=_WEAK,
            types=[*_OLD_TYPES, 'UINT8'], monitor=False,
        ),
        Surface(
            '10.3.0', apis=[_NAMED], config={_POOL, 'progress_monitor'},
            network_flags=['EXPLICIT_BATCH', 'STRONGLY_TYPED'], builder_flags=_WEAK,
            types=[*_OLD_TYPES, 'UINT8', 'INT64'], monitor=True,
        ),
        Surface(
            '10.13.2.6', apis=[_NAMED], config={_POOL, 'progress_monitor'},
            network_flags=['EXPLICIT_BATCH', 'STRONGLY_TYPED'], builder_flags=_WEAK,
            types=[*_OLD_TYPES, 'UINT8', 'INT64'], monitor=True,
        ),
        Surface(
            '11.4.0', apis=[_NAMED], config={_POOL, 'progress_monitor'},
            network_flags=['STRONGLY_TYPED'], builder_flags=['TF32', 'GPU_FALLBACK'],
            types=[*_OLD_TYPES, 'UINT8', 'INT64'], monitor=True,
        ),
    )
}  # fmt: skip


def restricted(base: type, members: set[str], fake: FakeTensorRt) -> type:
    """A class with only the public members that a version has."""

    def refuse(self: Any, name: str) -> Any:
        raise AttributeError(f'TensorRT {fake.surface.version} has no {name}')

    def set_known(self: Any, name: str, value: Any) -> None:
        if not name.startswith('_') and name not in members:
            refuse(self, name)
        object.__setattr__(self, name, value)

    def hide(name: str) -> property:
        return property(lambda self: refuse(self, name))

    hidden = {
        name: hide(name) for name in dir(base) if not name.startswith('_') and name not in members
    }
    return type(base.__name__, (base,), {**hidden, '__setattr__': set_known, '_fake': fake})
