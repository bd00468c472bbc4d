# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Quantisation: from a model and frames to an INT8 model whose accuracy is known."""

from segformer_ros.quantization.accuracy_gate import (
    Gate,
    GateResult,
    Judge,
    QuantizationError,
    Sample,
    Samples,
    collect_samples,
)
from segformer_ros.quantization.quantizer import RANGES, QuantizationSettings, Quantized, quantize

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
