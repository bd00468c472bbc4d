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


class Network:
    """INetworkDefinition: an ONNX and its ends."""

    def __init__(self, explicit: bool) -> None:
        self.explicit = explicit
        self.model = b''
        self.parser: Callable[[], Any] | None = None
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def quantises_half(self) -> bool:
        """Whether FP16 pixels are quantised as they are."""
        (pixels,) = self.inputs
        nodes = onnx.load_from_string(self.model).graph.node
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
        if not self._network.explicit:
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
        unknown = [node.op_type for node in proto.graph.node if node.op_type.startswith('My')]
        if unknown:
            self._errors.append(_ParserError(f'Plugin not found: {unknown[0]}'))
            return False
        types = self._fake.module.DataType
        self._network.model = model
        self._network.parser = weakref.ref(self)
        self._network.inputs = [Tensor(value, types) for value in proto.graph.input]
        self._network.outputs = [Tensor(value, types) for value in proto.graph.output]
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> _ParserError:
        return self._errors[index]
