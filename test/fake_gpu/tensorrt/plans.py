# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Plans: what a build gives and a runtime loads."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import onnx

from fake_gpu.tensorrt.networks import Network

if TYPE_CHECKING:
    from fake_gpu.tensorrt.library import FakeTensorRt

MAGIC = b'ptrt'


def serialise(network: Network, config: Any, fake: FakeTensorRt) -> bytes:
    """Magic, length of the header, header in JSON, ONNX."""
    tensors = [network.get_input(0), *network._outputs]
    free = tensors[0].shape[0] == -1
    assert not free or config._profiles, 'a free batch without a profile'
    header = {
        'version': fake.surface.version,
        'types': [tensor.dtype.name for tensor in tensors],
        'profile': config._profiles[0].shapes if config._profiles else None,
        'precision': _precision(network, config, fake),
        'size': len(network._model),
    }
    text = json.dumps(header).encode()
    return MAGIC + struct.pack('<I', len(text)) + text + network._model


def _precision(network: Network, config: Any, fake: FakeTensorRt) -> str:
    if fake.silent:
        return 'FP32'
    if 'FP16' not in fake.surface.builder_flags:
        graph = onnx.load_from_string(network._model).graph
        if any(node.op_type == 'QuantizeLinear' for node in graph.node):
            return 'Int8'
        return 'FP16' if graph.input[0].type.tensor_type.elem_type == 10 else 'FP32'
    names = {fake.surface.builder_flags[flag] for flag in config._flags}
    return 'Int8' if 'INT8' in names else 'FP16' if 'FP16' in names else 'FP32'
