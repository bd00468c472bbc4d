"""Signature: what an ONNX file says of its network, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from segformer_ros.model.model_files import read_onnx

_KEEP_CLASSES = (
    'ArgMax',
    'Cast',
    'Identity',
    'Resize',
    'Softmax',
    'Squeeze',
    'Transpose',
    'Unsqueeze',
    'Upsample',
)
"""Steps behind a network's last layer that choose among its classes, or leave them alone."""


@dataclass(frozen=True)
class TensorSignature:
    """One input or output: its name, numpy dtype name and shape (None for a dynamic side)."""

    name: str
    dtype: str
    shape: Tuple[Optional[int], ...]

    def __str__(self) -> str:
        sides = ', '.join('?' if side is None else str(side) for side in self.shape)
        return f'{self.name!r} {self.dtype} [{sides}]'


@dataclass(frozen=True)
class Signature:
    """What an ONNX file says of itself."""

    path: Path
    inputs: Tuple[TensorSignature, ...]
    outputs: Tuple[TensorSignature, ...]
    last_ops: Mapping[str, str]
    """Type of the node that makes each output."""
    class_counts: Mapping[str, int]
    """Classes that an output chooses from, by the last layer with weights; where it shows."""
    opset: int
    producer: str
    metadata: Mapping[str, str]


def read_signature(path: Path) -> Signature:
    """Read an ONNX file's signature; raises ModelError for a file that is not a whole ONNX."""
    model = read_onnx(path)
    graph = model.graph
    makers: Dict[str, Any] = {name: node for node in graph.node for name in node.output}
    layers = {tensor.name: tensor.dims for tensor in graph.initializer}
    counts = {value.name: _class_count(value.name, makers, layers) for value in graph.output}
    return Signature(
        path=path,
        inputs=tuple(_tensor(value) for value in graph.input if value.name not in layers),
        outputs=tuple(_tensor(value) for value in graph.output),
        last_ops={
            value.name: makers[value.name].op_type
            for value in graph.output
            if value.name in makers
        },
        class_counts={name: count for name, count in counts.items() if count},
        opset=max((entry.version for entry in model.opset_import if not entry.domain), default=0),
        producer=f'{model.producer_name} {model.producer_version}'.strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def _class_count(output: str, makers: Mapping[str, Any], layers: Mapping[str, Any]) -> int:
    """Channels of the convolution that ends in an output; 0 where another layer does."""
    node = makers.get(output)
    while node is not None and node.op_type in _KEEP_CLASSES:
        node = makers.get(node.input[0])
    if node is None or node.op_type != 'Conv' or not layers.get(node.input[1]):
        return 0
    return int(layers[node.input[1]][0])


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
