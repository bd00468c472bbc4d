# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The files beside a model: a yaml that declares what its own file cannot, and its INT8 model.

The INT8 model, and the report beside it, hold the result of the accuracy gate.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import yaml

from segformer_ros.classes import ClassMap, ClassMapError, load_class_map
from segformer_ros.destination import write_file
from segformer_ros.documents import (
    LONGEST_PATH,
    DocumentError,
    FieldError,
    flag,
    items,
    one_of,
    read_json,
    read_yaml,
    record,
    text,
)
from segformer_ros.errors import reason
from segformer_ros.model.model_files import model_hash, onnx_facts
from segformer_ros.model.recognition import METADATA
from segformer_ros.model.spec import (
    COLORS,
    ENGINE_SUFFIXES,
    FITS,
    OUTPUT_KINDS,
    Declared,
    ModelError,
    ModelSpec,
    batch_size,
    deviations,
    input_size,
    mean_values,
    share,
)


def find_sidecar(model: Path) -> Optional[Path]:
    """The yaml beside a model: `model.onnx.yaml` or `model.yaml`."""
    for candidate in (sidecar_path(model), model.with_suffix('.yaml')):
        if candidate.is_file():
            return candidate
    return None


def sidecar_path(model: Path) -> Path:
    """Where `write_sidecar` puts it."""
    return model.with_name(f'{model.name}.yaml')


def read_sidecar(path: Path) -> Declared:
    """Read a sidecar; raises ModelError naming the key that is unknown or wrong."""
    try:
        values = _DOCUMENT(read_yaml(path))
    except FieldError as error:
        raise ModelError(f'{path}: {error}') from error
    except (OSError, DocumentError) as error:
        raise ModelError(f'cannot read {path}: {reason(error)}; correct or remove it') from error
    if 'classes' in values and Path(values['classes']).suffix:
        values['classes'] = str(path.parent / values['classes'])
    return Declared(origin=str(path), **values)


def write_sidecar(spec: ModelSpec, model: Path) -> Path:
    """Write the part of its spec that a model's file cannot hold; returns the sidecar's path.

    For an engine that is everything. A class map that is not a preset has a file of its own.
    """
    values: Dict[str, Any] = {
        'color': spec.color,
        'mean': list(spec.mean),
        'std': list(spec.std),
        'fit': spec.fit,
        'size': list(spec.size),
        'output_kind': spec.output_kind,
        'classes': _name_classes(spec.class_map, model),
    }
    if spec.threshold:
        values['threshold'] = spec.threshold
    if model.suffix in ENGINE_SUFFIXES:
        values.update(
            input_layout=spec.input_layout,
            output_layout=spec.output_layout,
            output_name=spec.output_name,
            precision=spec.precision,
            max_batch=spec.max_batch,
        )
    sidecar = sidecar_path(model)
    known = {key: value for key, value in values.items() if value is not None}
    write_file(sidecar, yaml.safe_dump(known, sort_keys=False).encode())
    return sidecar


def _name_classes(class_map: ClassMap, model: Path) -> str:
    """Name of the preset that equals a class map, else of a file written beside the model."""
    with suppress(ClassMapError):
        if load_class_map(class_map.name) == class_map:
            return class_map.name
    path = model.with_name(f'{model.name}.classes.yaml')
    write_file(path, class_map.as_yaml().encode())
    return path.name


_DOCUMENT = record(
    {
        'contract': text(),
        'color': one_of(COLORS),
        'mean': mean_values,
        'std': deviations,
        'fit': one_of(FITS),
        'size': input_size,
        'output_name': text(),
        'output_kind': one_of(OUTPUT_KINDS),
        'output_layout': one_of(('NCHW', 'NHWC', 'NHW')),
        'input_layout': one_of(('NCHW', 'NHWC')),
        'classes': text(LONGEST_PATH),
        'threshold': share,
        'precision': one_of(('fp32', 'fp16', 'int8')),
        'max_batch': batch_size,
    },
    closed=True,
)
"""A sidecar's yaml file."""


_SOURCE = f'{METADATA}quantized_from'
_GATE, _HALF_GATE = f'{METADATA}gate', f'{METADATA}fp16_gate'
_SINGLE = f'{METADATA}fp16_single'
_PAIR_GATE, _PAIR_SINGLE = f'{METADATA}int8_fp16_gate', f'{METADATA}int8_fp16_single'
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
    """The result of `segformer quantize`, stored in the INT8 model and in the JSON beside it.

    source: hash of the model that was quantised. passed, half_passed: whether the gate was passed
    in INT8, and by the model itself in FP16. single: tensors whose layers have to compute in FP32
    for the latter. pair_passed: whether INT8 with the other layers in FP16 passed, too;
    pair_single: as `single`, for that. pair_judged: False where an older version did not try it.
    """

    source: str
    passed: bool
    half_passed: bool
    single: Tuple[str, ...] = ()
    pair_passed: bool = True
    pair_single: Tuple[str, ...] = ()
    pair_judged: bool = True

    @classmethod
    def of_model(cls, model: Path) -> Optional[QuantizationRecord]:
        """The record in an ONNX, None where it has none; raises ModelError."""
        metadata = onnx_facts(model).metadata
        if _SOURCE not in metadata:
            return None
        half, pair = (metadata.get(key) != _VERDICTS[False] for key in (_HALF_GATE, _PAIR_GATE))
        single, pair_single = (
            tuple(filter(None, metadata.get(key, '').split('\n')))
            for key in (_SINGLE, _PAIR_SINGLE)
        )
        passed = metadata.get(_GATE) == _VERDICTS[True]
        # Files without the entry had the pair judged only where FP16 needed no FP32 layers.
        judged = not single or _PAIR_SINGLE in metadata
        pair = pair and judged
        return cls(metadata[_SOURCE], passed, half, single, pair, pair_single, judged)

    @classmethod
    def of_report(cls, path: Path) -> Optional[QuantizationRecord]:
        """The record in a report, None where there is none that can be read."""
        try:
            report = _REPORT(read_json(path))
        except (OSError, DocumentError):
            return None
        half = report['fp16']
        single = tuple(half.get('single', ()))
        return cls(report['source'], report.get('passed', False), half['passed'], single)

    def as_metadata(self) -> Dict[str, str]:
        """As entries of an ONNX's metadata."""
        return {
            _SOURCE: self.source,
            _GATE: _VERDICTS[self.passed],
            _HALF_GATE: _VERDICTS[self.half_passed],
            _SINGLE: '\n'.join(self.single),
            _PAIR_GATE: _VERDICTS[self.pair_passed],
            _PAIR_SINGLE: '\n'.join(self.pair_single),
        }

    def as_report(self, half: Mapping[str, Any]) -> Dict[str, Any]:
        """As the first entries of a report. half: its other entries on FP16."""
        return {
            'source': self.source,
            'passed': self.passed,
            'fp16': {'passed': self.half_passed, 'single': list(self.single), **half},
        }


def quantized_path(model: Path) -> Path:
    """Where `segformer quantize` puts the INT8 model of a model: beside it, as NAME.int8.onnx."""
    return model.with_name(f'{model.stem}.int8.onnx')


def report_path(quantized: Path) -> Path:
    """Where the report of an INT8 model is; it is written even if the INT8 model is refused."""
    return quantized.with_suffix('.json')


def find_quantized(model: Path) -> Tuple[Optional[Path], str]:
    """The INT8 model to use for a model, '' with it; or None, and why not and what to do."""
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
        result = QuantizationRecord.of_model(path)
    except ModelError as error:
        return None, f'{error}; {how}'
    if result is None or result.source != model_hash(model):
        return None, f'{path} was not made from this model; {how}'
    if not result.passed:
        return None, f'{path} did not pass its accuracy gate; {how}'
    return path, ''


def half_verdict(model: Path) -> Tuple[Optional[QuantizationRecord], Path]:
    """The record that says how a model does in FP16, and its file: INT8 model or report."""
    origin, result = quantized_path(model), None
    with suppress(ModelError):  # where it is damaged, the report has the record too
        result = QuantizationRecord.of_model(origin)
    if result is None:
        origin = report_path(origin)
        result = QuantizationRecord.of_report(origin)
    if result is not None and result.source != model_hash(model):
        result = None
    return result, origin
