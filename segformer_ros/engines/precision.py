"""Which precision an engine is built in: what the GPU is fast at, of what the model allows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

from segformer_ros.documents import DocumentError, flag, read_json, record, text
from segformer_ros.engines.engine import EngineError
from segformer_ros.model import ModelError, ModelSpec
from segformer_ros.model.model_files import model_hash, read_onnx
from segformer_ros.model.recognition import METADATA

PRECISIONS = ('auto', 'fp32', 'fp16', 'int8', 'fastest')

GATE = f'{METADATA}gate'
HALF_GATE = f'{METADATA}fp16_gate'
"""Of the INT8 model: what came of the model that it was made from, in FP16."""
PASSED, FAILED = 'passed', 'failed'
SOURCE_HASH = f'{METADATA}quantized_from'

SOURCE, HALF = 'source', 'fp16'
"""Of the quantisation's report in JSON: hash of the model, and what came of it in FP16."""


_REPORT = record(
    {SOURCE: text(), HALF: record({PASSED: flag}, needed=frozenset((PASSED,)))},
    needed=frozenset((SOURCE, HALF)),
)


class Candidate(NamedTuple):
    """A precision to build, from which ONNX, and why.

    half: whether layers that stay out of INT8 may be FP16.
    """

    precision: str
    model: Path
    reason: str
    half: bool = True


def has_fast_int8(sm: int) -> bool:
    """Whether a GPU multiplies INT8 faster than FP16: not Maxwell (Jetson Nano), GP100, TX2, V100.

    Dot products of four bytes came with sm_61; sm_62 is without them, and the tensor cores of
    sm_70, which take FP16 alone, are faster than they.
    """
    return sm >= 61 and sm not in (62, 70)


def has_fast_fp16(sm: int) -> bool:
    """Whether a GPU computes in FP16 faster than in FP32: desktop Maxwell and Pascal do not."""
    return sm >= 70 or sm in (53, 60, 62)


def quantized_path(model: Path) -> Path:
    """Where `segformer quantize` puts the INT8 model of a model: beside it, as NAME.int8.onnx."""
    return model.with_name(f'{model.stem}.int8.onnx')


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
    floating = _floating(own, sm)
    if wanted in ('fp32', 'fp16'):
        return (Candidate(wanted, own, 'as asked'),)
    if wanted == 'int8':
        return (_int8(require_quantized(own), 'as asked'),)
    if not has_fast_int8(sm):
        return (floating._replace(reason=f'{floating.reason}; it has no fast INT8'),)
    if quantized is None:
        return (floating._replace(reason=f'{floating.reason}; no INT8, since {lack}'),)
    int8 = _int8(quantized, f'sm_{sm} has fast INT8, and the model passed its gate')
    return (int8, floating) if wanted == 'fastest' else (int8,)


def _int8(model: Path, reason: str) -> Candidate:
    """INT8, beside FP16 unless that was found to cost too much."""
    if _metadata(model).get(HALF_GATE) != FAILED:
        return Candidate('int8', model, reason)
    reason = f'{reason}; beside it FP32, since FP16 failed its gate'
    return Candidate('int8', model, reason, half=False)


def _floating(own: Path, sm: int) -> Candidate:
    """FP16, unless it brings nothing or was found to cost too much."""
    if not has_fast_fp16(sm):
        return Candidate('fp32', own, f'sm_{sm} is not faster in FP16')
    report = _half_refusal(own)
    if report:
        return Candidate('fp32', own, f'in FP16 the model failed its gate, says {report}')
    return Candidate('fp16', own, f'sm_{sm} is fast in FP16')


def _half_refusal(own: Path) -> Optional[Path]:
    """What says that FP16 costs this model too much: its INT8 model, or the report beside it."""
    quantized = quantized_path(own)
    judged: Dict[str, str] = {}
    with suppress(ModelError):  # where it is damaged its report tells
        judged = _metadata(quantized)
    if judged:
        failed = judged.get(HALF_GATE) == FAILED
        return quantized if failed and judged.get(SOURCE_HASH) == model_hash(own) else None
    report = quantized.with_suffix('.json')  # written where INT8 was refused, too
    try:
        numbers = _REPORT(read_json(report))
    except (OSError, DocumentError):
        return None
    failed = not numbers[HALF][PASSED] and numbers[SOURCE] == model_hash(own)
    return report if failed else None


def find_quantized(model: Path) -> Tuple[Optional[Path], str]:
    """The INT8 model to use for a model, or None and why not, with what to do."""
    how = f'make one with: segformer quantize {model} --calibrate BAG|VIDEO|FOLDER'
    if is_quantized(model):
        return model, ''
    path = quantized_path(model)
    if not path.is_file():
        if _has_half_types(model):
            return None, f'{model} is FP16 itself, and an INT8 model is made of the FP32 one'
        return None, f'{path} does not exist; {how}'
    try:
        metadata = _metadata(path)
    except ModelError as error:
        return None, f'{error}; {how}'
    if metadata.get(SOURCE_HASH) != model_hash(model):
        return None, f'{path} was not made from this model; {how}'
    if metadata.get(GATE) != PASSED:
        return None, f'{path} did not pass its accuracy gate; {how}'
    return path, ''


def require_quantized(model: Path) -> Path:
    """The INT8 model to use for a model; raises EngineError where there is none to trust."""
    quantized, lack = find_quantized(model)
    if quantized is None:
        raise EngineError(f'precision int8 needs an INT8 model, and {lack}')
    return quantized


def is_quantized(model: Path) -> bool:
    """Whether an ONNX has explicit quantisation (Q/DQ) in it."""
    return any(node.op_type == 'QuantizeLinear' for node in read_onnx(model).graph.node)


def _has_half_types(model: Path) -> bool:
    from onnx import TensorProto

    weights = read_onnx(model).graph.initializer
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in weights)


def _metadata(model: Path) -> Dict[str, str]:
    return {entry.key: entry.value for entry in read_onnx(model).metadata_props}
