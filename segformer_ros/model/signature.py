# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Signature: what an ONNX file says about its network, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from segformer_ros.model.model_files import read_onnx

_CHOOSING: Dict[str, str] = {
    'ArgMax': 'labels',
    'Softmax': 'probabilities',
    'Sigmoid': 'probabilities',
    'LogSoftmax': 'logits',
}
"""Operators after a network's last layer that show what its output holds."""

_KEEP_CLASSES = frozenset(
    (*_CHOOSING, 'BatchNormalization', 'Cast', 'Identity', 'PRelu', 'Relu', 'Resize', 'Squeeze',
     'Transpose', 'Unsqueeze', 'Upsample')
)  # fmt: skip
"""Operators after a network's last layer that choose among its classes, or do not mix them."""

_KEEP_CHANNELS = frozenset(
    ('Add', 'Cast', 'Clip', 'DequantizeLinear', 'Div', 'Identity', 'Mul', 'Pad', 'QuantizeLinear',
     'Resize', 'Sub')
)  # fmt: skip
"""Operators before a network's first layer that do not move the axes of an image."""


@dataclass(frozen=True)
class TensorSignature:
    """One input or output: its name, numpy dtype name and shape (None for a dynamic side)."""

    name: str
    dtype: str
    shape: Tuple[Optional[int], ...]

    def __str__(self) -> str:
        sides = ', '.join('?' if side is None else str(side) for side in self.shape)
        return f'{self.name!r} {self.dtype} [{sides}]'


class Head(NamedTuple):
    """What the nodes before an output show about it; None for what they do not show.

    kind: 'logits', 'probabilities' or 'labels'. class_count: classes that it chooses from, by
    the last layer with weights. channel: axis of the classes, or of the one label of a pixel.
    """

    kind: Optional[str] = None
    class_count: Optional[int] = None
    channel: Optional[int] = None


@dataclass(frozen=True)
class Signature:
    """What an ONNX file says about its network."""

    path: Path
    inputs: Tuple[TensorSignature, ...]
    outputs: Tuple[TensorSignature, ...]
    heads: Mapping[str, Head]
    """By output."""
    input_channel: Optional[int]
    """Axis of the first input's colours, by the first layer; None where that does not show it."""
    weights: Tuple[str, ...]
    """Names of the initializers."""
    opset: int
    producer: str
    metadata: Mapping[str, str]


def read_signature(path: Path) -> Signature:
    """Read an ONNX file's signature; raises ModelError for a file that is not a whole ONNX."""
    model = read_onnx(path)
    graph = model.graph
    layers = _layers(graph)
    inputs = tuple(_tensor(value) for value in graph.input if value.name not in layers)
    return Signature(
        path=path,
        inputs=inputs,
        outputs=tuple(_tensor(value) for value in graph.output),
        heads=read_heads(model),
        input_channel=_input_channel(inputs[0].name, graph.node, layers) if inputs else None,
        weights=tuple(layers),
        opset=max((entry.version for entry in model.opset_import if not entry.domain), default=0),
        producer=f'{model.producer_name} {model.producer_version}'.strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def read_heads(model: Any) -> Dict[str, Head]:
    """What the nodes of a ModelProto show about each of its outputs."""
    graph, layers = model.graph, _layers(model.graph)
    makers: Dict[str, Any] = {name: node for node in graph.node for name in node.output}
    return {value.name: _head(value.name, makers, layers) for value in graph.output}


def _layers(graph: Any) -> Dict[str, Tuple[int, ...]]:
    """Shapes of the initializers, by name."""
    return {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _head(output: str, makers: Mapping[str, Any], layers: Mapping[str, Sequence[int]]) -> Head:
    """What an output holds, by the nodes from it back to the last layer with weights."""
    tail: List[Any] = []  # of the graph, its last node first
    node = makers.get(output)
    while node is not None and node.op_type in _KEEP_CLASSES:
        tail.append(node)
        node = makers.get(node.input[0])
    kinds = [_CHOOSING[one.op_type] for one in tail if one.op_type in _CHOOSING]
    kind = kinds[0] if kinds else None
    count = _channels(node, layers) if node is not None else 0
    if not count:
        return Head(kind)
    channel: Optional[int] = 1  # of a convolution's output
    for one in reversed(tail):
        channel = _moved(one, channel)
    return Head(kind, count, channel)


def _channels(node: Any, layers: Mapping[str, Sequence[int]]) -> int:
    """Output channels of a convolution; 0 for another layer, or where its weights are unknown."""
    shape = layers.get(node.input[1], ()) if len(node.input) > 1 else ()
    if node.op_type == 'Conv' and shape:
        return shape[0]
    if node.op_type == 'ConvTranspose' and len(shape) > 1:
        return shape[1] * _integer(node, 'group', 1)
    return 0


def _moved(node: Any, channel: Optional[int]) -> Optional[int]:
    """The axis of the channels after a node; None where it is lost."""
    if channel is None or node.op_type in ('Squeeze', 'Unsqueeze'):
        return None
    if node.op_type == 'Transpose':
        order = _integers(node, 'perm')
        return order.index(channel) if channel in order else None
    if node.op_type == 'ArgMax' and not _integer(node, 'keepdims', 1):
        return None
    return channel


def _input_channel(
    name: str, nodes: Sequence[Any], layers: Mapping[str, Sequence[int]]
) -> Optional[int]:
    """Axis of an image's three colours, by the first convolution that its pixels reach."""
    users: Dict[str, List[Any]] = {}
    for node in nodes:
        for source in node.input:
            users.setdefault(source, []).append(node)
    # Tensors to follow, and which axis of the input each of their axes is.
    queue: List[Tuple[str, Tuple[int, ...]]] = [(name, (0, 1, 2, 3))]
    for tensor, axes in queue:  # which grows meanwhile
        for node in users.get(tensor, ()):
            if node.op_type == 'Conv' and node.input[0] == tensor:
                shape = layers.get(node.input[1], ())
                if len(shape) == 4 and shape[1] * _integer(node, 'group', 1) == 3:
                    return axes[1]
            elif node.op_type == 'Transpose':
                order = _integers(node, 'perm')
                if sorted(order) == [0, 1, 2, 3]:
                    queue.append((node.output[0], tuple(axes[axis] for axis in order)))
            elif node.op_type in _KEEP_CHANNELS and node.input[0] == tensor:
                queue.append((node.output[0], axes))
    return None


def _integer(node: Any, name: str, default: int) -> int:
    """A node's integer attribute; the default where it is missing or of another type."""
    return next((int(e.i) for e in node.attribute if (e.name, e.type) == (name, e.INT)), default)


def _integers(node: Any, name: str) -> Tuple[int, ...]:
    """A node's attribute of integers; empty where it is missing or of another type."""
    return next((tuple(e.ints) for e in node.attribute if (e.name, e.type) == (name, e.INTS)), ())


def _tensor(value: Any) -> TensorSignature:
    import onnx

    kind = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:
        dtype = 'unknown'
    shape = tuple(
        side.dim_value if side.HasField('dim_value') and side.dim_value > 0 else None
        for side in kind.shape.dim
    )
    return TensorSignature(value.name, dtype, shape)
