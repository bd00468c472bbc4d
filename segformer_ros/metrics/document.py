# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""metrics.json: the scores of a run as plain data, the same bytes for the same numbers."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.destination import write_file
from segformer_ros.documents import (
    LONGEST_PATH,
    FieldError,
    items,
    mapping,
    number,
    optional,
    record,
    text,
    whole,
)
from segformer_ros.metrics.free_space import FreeSpaceScores, GroundOverlapScores, MapScores
from segformer_ros.metrics.metric import ScoredClasses
from segformer_ros.metrics.scorer import DrivableScores, Scores

SCHEMA = 1
"""Version of metrics.json; a reader refuses others."""

SCORES: Tuple[Tuple[str, str], ...] = (
    ('miou', 'mean IoU'),
    ('pixel_accuracy', 'pixel accuracy'),
    ('fwiou', 'frequency-weighted IoU'),
    ('boundary_f', 'boundary F-score'),
    ('iiou', 'instance IoU'),
    ('drivable_iou', 'drivable IoU'),
    ('birdseye_f1', "bird's-eye F1"),
    ('birdseye_max_f', "bird's-eye MaxF"),
    ('map_known', 'map: known ground'),
    ('map_false_free', 'map: false free'),
    ('false_free', 'false free'),
    ('false_blocked', 'false blocked'),
    ('flicker', 'flicker'),
    ('ece', 'calibration error'),
)
"""Scores of the whole run as they are shown: name in metrics.json and title."""

RARE_SHARE = 0.003
"""Classes with less than this share of the scored pixels are flagged: a few objects decide them.

On Cityscapes val it flags rider, truck, bus, train, motorcycle and traffic light.
"""

NAMED_NOTES = 100
"""Notes that metrics.json spells out; frames.csv has all of them."""


class InputFacts(NamedTuple):
    """One recording: its name, its number of frames, and notes on what is odd about it."""

    name: str
    frames: int
    notes: Sequence[str] = ()


class Note(NamedTuple):
    """What is wrong with one frame."""

    input: str
    frame: str
    note: str


@dataclass
class ScoredFrameCounts:
    """Frames of a run: how many in all, scored, and with a note; and the first of the notes."""

    frames: int = 0
    scored: int = 0
    noted: int = 0
    notes: List[Note] = field(default_factory=list)


def metrics_document(
    classes: ScoredClasses,
    scores: Scores,
    counts: ScoredFrameCounts,
    inputs: Sequence[InputFacts],
    model: Dict[str, str],
    reference: Optional[Dict[str, str]] = None,
) -> Dict[str, Any]:
    """Everything that a run measured, except its timings; None in place of NaN."""
    confusion, names = scores.confusion, classes.names
    ground = scores.drivable.ground if scores.drivable else None

    def by_class(values: np.ndarray) -> Dict[str, Any]:
        return dict(zip(names, _plain(values)))

    document: Dict[str, Any] = {
        'schema': SCHEMA,
        'miou': confusion.miou,
        'miou_union': confusion.miou_union,
        'pixel_accuracy': confusion.pixel_accuracy,
        'mean_accuracy': confusion.mean_accuracy,
        'fwiou': confusion.fwiou,
        'boundary_f': scores.boundary.mean,
        'iiou': scores.instances.mean if scores.instances else None,
        'ece': scores.calibration.ece if scores.calibration else None,
        'flicker': scores.flicker.overall if scores.flicker else None,
        'drivable_iou': scores.drivable.iou if scores.drivable else None,
        'birdseye_f1': ground.f1 if ground else None,
        'birdseye_max_f': ground.max_f if ground else None,
        'map_known': scores.map.known if scores.map else None,
        'map_false_free': scores.map.false_free if scores.map else None,
        'false_free': scores.drivable.best.false_free if scores.drivable else None,
        'false_blocked': scores.drivable.best.false_blocked if scores.drivable else None,
        'frames': {'total': counts.frames, 'scored': counts.scored, 'noted': counts.noted},
        'iou': by_class(confusion.iou),
        'accuracy': by_class(confusion.accuracy),
        'precision': by_class(confusion.precision),
        'class_boundary_f': by_class(scores.boundary.f),
        'class_iiou': by_class(scores.instances.iiou) if scores.instances else None,
        'class_flicker': by_class(scores.flicker.by_class) if scores.flicker else None,
        'pixels': by_class(confusion.pixels),
        'rare': _rare(names, confusion.pixels),
        'instances': by_class(scores.instances.instances) if scores.instances else None,
        'drivable': _drivable(scores.drivable) if scores.drivable else None,
        'map': _map(scores.map) if scores.map else None,
        'calibration': _curve(scores),
        'classes': list(names),
        'confusion': confusion.matrix[:, :-1].tolist(),
        'no_class': confusion.matrix[:, -1].tolist(),
        'inputs': [{**item._asdict(), 'notes': list(item.notes)} for item in inputs],
        'notes': [note._asdict() for note in counts.notes],
        'model': model,
        'reference': reference,
    }
    return {key: _without_nan(value) for key, value in document.items()}


_SCORE = optional(number())
_COUNT = whole(0, 1 << 62)
_SCORES = optional(mapping(_SCORE))
_LABEL = text(LONGEST_PATH, least=0)
_BAND = record(
    {'band': text(), 'columns': _COUNT, 'false_free': _SCORE, 'false_blocked': _SCORE},
    needed=frozenset(('band',)),
)
_FREE_SPACE = record(
    {
        'unit': text(),
        'bands': items(_BAND),
        **dict.fromkeys(
            (
                *('margin', 'reach', 'false_free', 'false_blocked'),
                *('bias', 'mean_error', 'p50', 'p95'),
            ),
            _SCORE,
        ),
    }
)
_BIRDSEYE = ('precision', 'recall', 'f1', 'iou', 'max_f', 'max_f_precision', 'max_f_recall')
"""Scores of the drivable area in the bird's-eye view."""
_DOCUMENT = record(
    {
        'schema': whole(SCHEMA, SCHEMA),
        **dict.fromkeys((*(name for name, _ in SCORES), 'miou_union', 'mean_accuracy'), _SCORE),
        **dict.fromkeys(
            (
                *('iou', 'accuracy', 'precision', 'class_boundary_f', 'class_iiou'),
                *('class_flicker', 'pixels', 'rare', 'instances'),
            ),
            _SCORES,
        ),
        'frames': record(dict.fromkeys(('total', 'scored', 'noted'), _COUNT)),
        'drivable': optional(
            record(
                {
                    'group': text(LONGEST_PATH),
                    **dict.fromkeys(('iou', 'background_iou', 'miou'), _SCORE),
                    'birdseye': optional(record(dict.fromkeys(_BIRDSEYE, _SCORE))),
                    'metres': optional(_FREE_SPACE),
                    'rows': optional(_FREE_SPACE),
                }
            )
        ),
        'map': optional(
            record(
                {
                    **dict.fromkeys(('known', 'false_free', 'false_on_things'), _SCORE),
                    **dict.fromkeys(('cells', 'maps'), _COUNT),
                }
            )
        ),
        'classes': items(text(), 2, 255),
        'confusion': items(items(_COUNT, 2, 255), 2, 255),
        'no_class': items(_COUNT, 2, 255),
        'inputs': items(
            record({'name': _LABEL, 'frames': _COUNT}, needed=frozenset(('name',))), 0, 1 << 20
        ),
    }
)
"""What is read back from a metrics.json: all but the notes and the description of the run."""


def checked_document(data: Any) -> Dict[str, Any]:
    """Validate the content of a metrics.json; raises FieldError."""
    document = _DOCUMENT(data)
    names = document.get('classes', ())
    rows = document.get('confusion', ())
    for name, lines in (
        ('confusion', (rows, *rows)),
        ('no_class', [document.get('no_class', ())]),
    ):
        if any(len(line) not in (0, len(names)) for line in lines):
            raise FieldError(document[name], f'is not of {len(names)} classes', name)
    return {**document, 'classes': list(names)} if names else document


def write_json(path: Path, document: Any) -> None:
    """Write plain data as readable JSON: innermost lists stay on one line."""
    write_file(path, f'{_compact(document)}\n'.encode())


def _rare(names: Sequence[str], pixels: np.ndarray) -> Dict[str, int]:
    limit = RARE_SHARE * int(pixels.sum())
    return {name: int(count) for name, count in zip(names, pixels) if 0 < count < limit}


def _drivable(scores: DrivableScores) -> Dict[str, Any]:
    scales = {'metres': scores.metres, 'rows': scores.rows}
    return {
        'group': scores.group,
        **{
            name: _without_nan(getattr(scores, name)) for name in ('iou', 'background_iou', 'miou')
        },
        'birdseye': _birdseye(scores.ground) if scores.ground else None,
        **{name: _free_space(found) if found else None for name, found in scales.items()},
    }


def _map(scores: MapScores) -> Dict[str, Any]:
    return {name: _without_nan(value) for name, value in asdict(scores).items()}


def _birdseye(scores: GroundOverlapScores) -> Dict[str, Any]:
    grid = scores.grid
    return {
        'cell': grid.cell,
        'ahead': [grid.near, grid.far],
        'side': grid.side,
        'cells': scores.cells,
        **{name: _without_nan(getattr(scores, name)) for name in _BIRDSEYE},
    }


def _free_space(scores: FreeSpaceScores) -> Dict[str, Any]:
    scale = scores.scale
    ends = (*(f'{end:g}' for end in scale.bands[1:]), '')
    names = [f'{start:g}-{end}' for start, end in zip(scale.bands, ends)]
    rows = zip(
        names,
        _plain(scores.columns),
        _plain(scores.false_free_rate),
        _plain(scores.false_blocked_rate),
    )
    return {
        'unit': scale.unit,
        'margin': scale.margin,
        'reach': scale.reach,
        'bands': [
            {'band': band, 'columns': columns, 'false_free': free, 'false_blocked': blocked}
            for band, columns, free, blocked in rows
        ],
        **{
            name: _without_nan(getattr(scores, name))
            for name in ('false_free', 'false_blocked', 'bias', 'mean_error', 'p50', 'p95')
        },
    }


def _curve(scores: Scores) -> Optional[List[Dict[str, Any]]]:
    if scores.calibration is None:
        return None
    curve = scores.calibration
    rows = zip(_plain(curve.confidence), _plain(curve.accuracy), _plain(curve.pixels))
    return [
        {'confidence': confidence, 'accuracy': accuracy, 'pixels': pixels}
        for confidence, accuracy, pixels in rows
    ]


def _plain(values: np.ndarray) -> List[Any]:
    return [_without_nan(value) for value in values.tolist()]


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _compact(value: Any, indent: str = '') -> str:
    """JSON with one entry per line, but each innermost list on one line."""
    deeper = indent + '  '
    if isinstance(value, dict) and value:
        rows = (f'{json.dumps(key)}: {_compact(item, deeper)}' for key, item in value.items())
        return '{\n' + ',\n'.join(deeper + row for row in rows) + '\n' + indent + '}'
    if isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
        rows = (_compact(item, deeper) for item in value)
        return '[\n' + ',\n'.join(deeper + row for row in rows) + '\n' + indent + ']'
    return json.dumps(value, allow_nan=False)
