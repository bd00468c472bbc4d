# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which precision an engine is built in: the fastest on this GPU that the model tolerates."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional, Tuple

from segformer_ros.engines.engine import EngineError
from segformer_ros.model import ModelSpec
from segformer_ros.model.sidecar import QuantizationRecord, find_quantized, half_verdict

PRECISIONS = ('auto', 'fp32', 'fp16', 'int8', 'fastest')


class Candidate(NamedTuple):
    """A precision to build, from which ONNX, and why.

    half: whether layers that stay out of INT8 may be FP16. single: tensors whose layers compute
    in FP32 beside FP16.
    """

    precision: str
    model: Path
    reason: str
    half: bool = True
    single: Tuple[str, ...] = ()


def has_fast_int8(sm: int) -> bool:
    """Whether a GPU multiplies INT8 faster than FP16: not Maxwell (Jetson Nano), GP100, TX2, V100.

    Dot products of four bytes came with sm_61; sm_62 is without them, and the tensor cores of
    sm_70, which take FP16 alone, are faster than they.
    """
    return sm >= 61 and sm not in (62, 70)


def has_fast_fp16(sm: int) -> bool:
    """Whether a GPU computes in FP16 faster than in FP32: desktop Maxwell and Pascal do not."""
    return sm >= 70 or sm in (53, 60, 62)


def choose_precision(wanted: str, spec: ModelSpec, sm: int) -> Tuple[Candidate, ...]:
    """The precisions to build for a GPU; more than one is to be timed ('fastest').

    Raises EngineError where INT8 is asked for and there is no INT8 model to trust.
    """
    own = spec.path
    quantized, lack = find_quantized(own)
    if quantized == own:
        if wanted in ('fp32', 'fp16'):
            raise EngineError(
                f'{own} is quantised itself and cannot be built in {wanted}; give the model that '
                'it was made from'
            )
        return (_int8(own, 'the model is quantised itself'),)
    if wanted == 'fp32':
        return (Candidate(wanted, own, 'as asked'),)
    if wanted == 'fp16':
        record, _ = half_verdict(own)
        return (_half(own, record.single if record else (), 'as asked'),)
    if wanted == 'int8':
        return (_int8(_trusted(quantized, lack), 'as asked'),)
    floating = _floating(own, sm)
    if not has_fast_int8(sm):
        return (floating._replace(reason=f'{floating.reason}; it has no fast INT8'),)
    if quantized is None:
        return (floating._replace(reason=f'{floating.reason}; no INT8, since {lack}'),)
    int8 = _int8(quantized, f'sm_{sm} has fast INT8, and the model passed its gate')
    return (int8, floating) if wanted == 'fastest' else (int8,)


def _int8(model: Path, reason: str) -> Candidate:
    """INT8, the other layers in FP16 as far as that passed the accuracy gate."""
    record = QuantizationRecord.of_model(model)
    if record is None or (record.half_passed and record.pair_passed):
        single = record.pair_single if record else ()
        return Candidate('int8', model, _with_single(reason, single), single=single)
    lack = 'FP16 failed its gate'
    if not record.pair_judged:
        lack = 'FP16 and INT8 were not judged together; segformer quantize, run again, judges them'
    elif not record.pair_passed:
        lack = 'FP16 and INT8 together failed their gate'
    return Candidate('int8', model, f'{reason}; beside it FP32, since {lack}', half=False)


def _floating(own: Path, sm: int) -> Candidate:
    """FP16, unless this GPU gains nothing by it or it failed the accuracy gate."""
    if not has_fast_fp16(sm):
        return Candidate('fp32', own, f'sm_{sm} is not faster in FP16')
    record, origin = half_verdict(own)
    if record is not None and not record.half_passed:
        return Candidate('fp32', own, f'in FP16 the model failed its gate, says {origin}')
    return _half(own, record.single if record else (), f'sm_{sm} is fast in FP16')


def _half(own: Path, single: Tuple[str, ...], reason: str) -> Candidate:
    return Candidate('fp16', own, _with_single(reason, single), single=single)


def _with_single(reason: str, single: Tuple[str, ...]) -> str:
    if not single:
        return reason
    return f'{reason}; the layers of {len(single)} tensors are FP32, as its gate needs them'


def require_quantized(model: Path) -> Path:
    """The INT8 model to use for a model; raises EngineError where there is none to trust."""
    return _trusted(*find_quantized(model))


def _trusted(quantized: Optional[Path], lack: str) -> Path:
    if quantized is None:
        raise EngineError(f'precision int8 needs an INT8 model, and {lack}')
    return quantized
