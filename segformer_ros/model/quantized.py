"""Quantised: the INT8 model beside a model, and the record of how it was judged."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from segformer_ros.documents import (
    LONGEST_PATH,
    DocumentError,
    flag,
    items,
    read_json,
    record,
    text,
)
from segformer_ros.model.model_files import model_hash, onnx_facts
from segformer_ros.model.recognition import METADATA
from segformer_ros.model.spec import ModelError

_SOURCE = f'{METADATA}quantized_from'
_GATE, _HALF_GATE = f'{METADATA}gate', f'{METADATA}fp16_gate'
_SINGLE = f'{METADATA}fp16_single'
_VERDICTS = {True: 'passed', False: 'failed'}

_REPORT = record(
    {
        'source': text(),
        'passed': flag,
        'fp16': record(
            {'passed': flag, 'single': items(text(LONGEST_PATH))}, needed=frozenset(('passed',))
        ),
    },
    needed=frozenset(('source', 'fp16')),
)


class QuantizationRecord(NamedTuple):
    """What `segformer quantize` found, as it stands in the INT8 model and in the JSON beside it.

    source: hash of the model that was quantised. passed, half_passed: whether its masks keep to
    the gate in INT8, and those of the model itself in FP16. single: the tensors whose layers
    compute in FP32 for that.
    """

    source: str
    passed: bool
    half_passed: bool
    single: Tuple[str, ...] = ()

    @classmethod
    def of_model(cls, model: Path) -> Optional[QuantizationRecord]:
        """The record in an ONNX, None where it has none; raises ModelError."""
        metadata = onnx_facts(model).metadata
        if _SOURCE not in metadata:
            return None
        failed = metadata.get(_HALF_GATE) == _VERDICTS[False]
        single = tuple(filter(None, metadata.get(_SINGLE, '').split('\n')))
        return cls(metadata[_SOURCE], metadata.get(_GATE) == _VERDICTS[True], not failed, single)

    @classmethod
    def of_report(cls, path: Path) -> Optional[QuantizationRecord]:
        """The record in a report, None where there is none that can be read."""
        try:
            found = _REPORT(read_json(path))
        except (OSError, DocumentError):
            return None
        half = found['fp16']
        single = tuple(half.get('single', ()))
        return cls(found['source'], found.get('passed', False), half['passed'], single)

    def as_metadata(self) -> Dict[str, str]:
        """As entries of an ONNX's metadata."""
        return {
            _SOURCE: self.source,
            _GATE: _VERDICTS[self.passed],
            _HALF_GATE: _VERDICTS[self.half_passed],
            _SINGLE: '\n'.join(self.single),
        }

    def as_report(self, half: Mapping[str, Any]) -> Dict[str, Any]:
        """As the first entries of a report. half: what else it says of FP16."""
        return {
            'source': self.source,
            'passed': self.passed,
            'fp16': {'passed': self.half_passed, 'single': list(self.single), **half},
        }


def quantized_path(model: Path) -> Path:
    """Where `segformer quantize` puts the INT8 model of a model: beside it, as NAME.int8.onnx."""
    return model.with_name(f'{model.stem}.int8.onnx')


def report_path(quantized: Path) -> Path:
    """Where the report of an INT8 model lies; it is written where INT8 was refused, too."""
    return quantized.with_suffix('.json')


def find_quantized(model: Path) -> Tuple[Optional[Path], str]:
    """The INT8 model to use for a model, or None and why not, with what to do."""
    how = f'make one with: segformer quantize {model} --calibrate BAG|VIDEO|FOLDER'
    own = onnx_facts(model)
    if own.quantized:
        return model, ''
    path = quantized_path(model)
    if not path.is_file():
        if own.half:
            return None, f'{model} is FP16 itself, and an INT8 model is made of the FP32 one'
        return None, f'{path} does not exist; {how}'
    try:
        found = QuantizationRecord.of_model(path)
    except ModelError as error:
        return None, f'{error}; {how}'
    if found is None or found.source != model_hash(model):
        return None, f'{path} was not made from this model; {how}'
    if not found.passed:
        return None, f'{path} did not pass its accuracy gate; {how}'
    return path, ''


def half_verdict(model: Path) -> Tuple[Optional[QuantizationRecord], Path]:
    """What is known of a model in FP16 and whence: its INT8 model, or the report beside it."""
    origin, found = quantized_path(model), None
    with suppress(ModelError):  # where it is damaged its report tells
        found = QuantizationRecord.of_model(origin)
    if found is None:
        origin = report_path(origin)
        found = QuantizationRecord.of_report(origin)
    if found is not None and found.source != model_hash(model):
        found = None
    return found, origin
