"""FP16 in the graph itself, as strongly typed TensorRT (11, RTX) needs it."""

from __future__ import annotations

from typing import Any, Iterable, List, Sequence

from segformer_ros.engines.base import EngineError
from segformer_ros.engines.trt.normalization import squaring_nodes

QUANTIZED_OPSET = 19
"""From this opset on Q/DQ may have FP16 scales."""


def to_half(model: bytes, keep_io: bool = False) -> bytes:
    """The same ONNX computing in FP16, Q/DQ included, but for squares; raises EngineError.

    keep_io: leave input and output FP32, with a cast beside each.
    """
    try:
        import onnx
        from onnx import version_converter
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise EngineError(
            'this TensorRT takes the precision from the graph, and making it FP16 needs '
            f'ONNX Runtime ({error}): pip install onnxruntime'
        ) from error
    proto = onnx.load_from_string(model)
    quantized = any(node.op_type == 'QuantizeLinear' for node in proto.graph.node)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ('', 'ai.onnx'))
    if quantized and opset < QUANTIZED_OPSET:
        proto = version_converter.convert_version(proto, QUANTIZED_OPSET)
    single = _named(squaring_nodes(proto.graph))
    half = convert_float_to_float16(proto, keep_io_types=keep_io, node_block_list=single)
    _join(half.graph, single)
    OnnxModel(half).topological_sort()  # the converter leaves its casts at the end
    return bytes(half.SerializeToString())


def _named(nodes: Iterable[Any]) -> List[str]:
    """Names of the nodes, each given one of its own."""
    names = []
    for node in nodes:
        node.name = f'{node.output[0]}/single'
        names.append(node.name)
    return names


def _join(graph: Any, single: Sequence[str]) -> None:
    """Let what goes from one FP32 node to the next stay FP32: the converter casts it both ways."""
    outputs = {name for node in graph.node if node.name in single for name in node.output}
    exact = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == 'Cast' and node.input[0] in outputs
    }
    for node in graph.node:
        if node.op_type == 'Cast' and node.input[0] in exact:
            node.op_type, node.input[0] = 'Identity', exact[node.input[0]]
            del node.attribute[:]
