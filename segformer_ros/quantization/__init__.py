"""Quantisation: from a model and frames to an INT8 model whose accuracy is known."""

from segformer_ros.quantization.gate import Gate, Judge, Verdict
from segformer_ros.quantization.qdq import QuantizationError
from segformer_ros.quantization.quantizer import RANGES, Quantized, Settings, quantize
from segformer_ros.quantization.samples import Sample, Samples, collect_samples

__all__ = [
    'RANGES',
    'Gate',
    'Judge',
    'QuantizationError',
    'Quantized',
    'Sample',
    'Samples',
    'Settings',
    'Verdict',
    'collect_samples',
    'quantize',
]
