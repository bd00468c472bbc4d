"""Quantisation: from a model and frames to an INT8 model whose accuracy is known."""

from segformer_ros.quantization.accuracy_gate import Gate, GateResult, Judge
from segformer_ros.quantization.qdq import QuantizationError
from segformer_ros.quantization.quantizer import RANGES, QuantizationSettings, Quantized, quantize
from segformer_ros.quantization.samples import Sample, Samples, collect_samples

__all__ = [
    'RANGES',
    'Gate',
    'GateResult',
    'Judge',
    'QuantizationError',
    'QuantizationSettings',
    'Quantized',
    'Sample',
    'Samples',
    'collect_samples',
    'quantize',
]
