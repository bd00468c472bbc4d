# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Networks and the parser that reads an ONNX into them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import onnx

from fake_gpu.tensorrt.datatypes import ONNX

if TYPE_CHECKING:
    from fake_gpu.tensorrt.library import FakeTensorRt


class Tensor:
    """ITensor, made from an ONNX value."""

    def __init__(self, value: Any, types: Any) -> None:
        self.name = value.name
        dimensions = value.type.tensor_type.shape.dim
        self.shape = tuple(
            side.dim_value if side.HasField('dim_value') else -1 for side in dimensions
        )
        self.dtype = types[ONNX[value.type.tensor_type.elem_type].name]


class _Named:
    """ITensor within the network."""

    def __init__(self, name: str) -> None:
        self.name = name


class Layer:
    """ILayer, made from an ONNX node."""

    precision: Any = None

    def __init__(self, node: Any) -> None:
        self._node = node
        self.name, self.type = node.name, f'LayerType.{node.op_type.upper()}'
        self.output_types: dict[int, Any] = {}

    @property
    def num_outputs(self) -> int:
        return len(self._node.output)

    def get_output(self, index: int) -> _Named:
        return _Named(self._node.output[index])

    def set_output_type(self, index: int, dtype: Any) -> None:
        self.output_types[index] = dtype


class Network:
    """INetworkDefinition: an ONNX, its layers and its ends."""

    def __init__(self, explicit: bool) -> None:
        self._explicit = explicit
        self._model = b''
        self._parser: Callable[[], Any] | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._layers: list[Layer] = []

    def add_normalization(self, *arguments: Any) -> None:
        raise AssertionError('only the parser adds layers')

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> Layer:
        return self._layers[index]

    def get_input(self, index: int) -> Tensor:
        return self._inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self._outputs[index]

    def _quantises_half(self) -> bool:
        """Whether FP16 pixels are quantised as they are."""
        (pixels,) = self._inputs
        nodes = onnx.load_from_string(self._model).graph.node
        direct = any(n.op_type == 'QuantizeLinear' and n.input[0] == pixels.name for n in nodes)
        return direct and pixels.dtype.name == 'HALF'


class _ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class Parser:
    """OnnxParser."""

    def __init__(self, fake: FakeTensorRt, network: Network, logger: Any) -> None:
        self._fake, self._network = fake, network
        self._errors: list[_ParserError] = []

    def parse(self, model: bytes) -> bool:
        if not self._network._explicit:
            self._errors.append(
                _ParserError(
                    'This version of the ONNX parser only supports '
                    'networks with an explicit batch dimension'
                )
            )
            return False
        try:
            proto = onnx.load_from_string(model)
        except Exception:
            self._errors.append(_ParserError('Failed to parse ONNX model from buffer'))
            return False
        refused = self._fake.surface.refused
        unknown = [
            node.op_type
            for node in proto.graph.node
            if node.op_type.startswith('My') or node.op_type in refused
        ]
        if unknown:
            self._errors.append(_ParserError(f'Plugin not found: {unknown[0]}'))
            return False
        types = self._fake.module.DataType
        self._network._model = model
        self._network._layers = [Layer(node) for node in proto.graph.node]
        self._network._parser = weakref.ref(self)
        self._network._inputs = [Tensor(value, types) for value in proto.graph.input]
        self._network._outputs = [Tensor(value, types) for value in proto.graph.output]
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> _ParserError:
        return self._errors[index]
