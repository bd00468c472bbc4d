"""FP16 in the graph itself, as strongly typed TensorRT (11, RTX) needs it."""

from __future__ import annotations

from segformer_ros.engines.base import EngineError

QUANTIZED_OPSET = 19
"""From this opset on Q/DQ may have FP16 scales."""


def to_half(model: bytes, keep_io: bool = False) -> bytes:
    """The same ONNX computing in FP16, Q/DQ included; raises EngineError.

    keep_io: leave input and output FP32, with a cast beside each.
    """
    try:
        import onnx
        from onnx import version_converter
        from onnxruntime.transformers.float16 import convert_float_to_float16
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
    half = convert_float_to_float16(proto, keep_io_types=keep_io)
    return bytes(half.SerializeToString())
