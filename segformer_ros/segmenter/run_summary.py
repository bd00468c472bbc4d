# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Summary of a run: frames in and out, speed, and IoU where there are labels."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.destination import write_file
from segformer_ros.metrics.metric import MetricError, ScoredClasses, truth_table, unknown_note
from segformer_ros.metrics.pixel_metrics import ConfusionMatrix
from segformer_ros.text_table import format_table

FEW_FRAMES = 500
"""With fewer frames, rare classes have only a handful of objects, and their IoU is chance."""


class Score(NamedTuple):
    """Scores of the masks of a run.

    frames: number that was scored. miou, iou: of the classes in their labels; None where nothing
    was scored. note: what is odd about the labels, '' for nothing. other_classes: whether the
    labels have other classes than the model, so that nothing can be scored.
    """

    frames: int = 0
    miou: Optional[float] = None
    iou: Mapping[str, float] = MappingProxyType({})
    note: str = ''
    other_classes: bool = False


@dataclass(frozen=True)
class RunSummary:
    """Figures of one run, written as summary.json.

    frames_in: frames of the source, without those that could not be read (frames_broken).
    frames_dropped: frames without a mask. latency_ms: milliseconds per frame, p50 and p99.
    engine: facts of the engine (engine, device, precision, ...).
    """

    source: str
    frames_in: int
    frames_segmented: int
    frames_broken: int
    latency_ms: Mapping[str, float]
    fps: float
    model: str
    engine: Mapping[str, str] = field(default_factory=dict)
    score: Score = field(default_factory=Score)

    @property
    def frames_dropped(self) -> int:
        """Frames without a mask."""
        return self.frames_in - self.frames_segmented

    def as_json(self) -> Dict[str, Any]:
        """What summary.json holds; a number that is not known is null."""
        result: Dict[str, Any] = {
            'source': self.source,
            'frames_in': self.frames_in,
            'frames_segmented': self.frames_segmented,
            'frames_dropped': self.frames_dropped,
            'frames_broken': self.frames_broken,
            'latency_ms': {name: _known(value) for name, value in self.latency_ms.items()},
            'fps': _known(self.fps),
            'engine': self.engine.get('engine', ''),
            'engine_facts': dict(self.engine),
            'model': self.model,
        }
        score = self.score
        if score.miou is not None:
            result['frames_scored'] = score.frames
            result['miou'] = _known(score.miou)
            result['iou'] = {name: _known(value) for name, value in score.iou.items()}
        if score.note:
            result['note'] = score.note
        return result

    def fault(self, labelled: bool) -> str:
        """Why the run is a failure as a whole; '' where it is not.

        labelled: whether the source has labels to score.
        """
        if not self.frames_segmented:
            return 'no frame was segmented; see the messages above'
        if labelled and self.score.miou is None and not self.score.other_classes:
            return 'none of the labels could be scored; see the messages above'
        return ''

    def write(self, path: Path) -> None:
        """Write summary.json."""
        write_file(path, f'{json.dumps(self.as_json(), indent=2)}\n'.encode())

    def as_table(self) -> str:
        """The summary for the terminal."""
        engine = ', '.join(self.engine.get(key, '') for key in ('engine', 'device', 'precision'))
        lines: List[Tuple[str, str]] = [
            ('source', self.source),
            ('model', self.model),
            ('engine', engine.strip(', ')),
            ('frames', self._frames()),
        ]
        if self.frames_segmented:
            latency = ', '.join(f'{name} {ms:.1f} ms' for name, ms in self.latency_ms.items())
            lines += [('latency', latency), ('frames per second', f'{self.fps:.1f}')]
        text, score = format_table(('', ''), lines), self.score
        note = f'\n{score.note}' if score.note else ''
        if score.miou is None:
            return f'{text}\n{note}' if note else text
        rows = [(name, value) for name, value in score.iou.items()]
        table = format_table(('class', 'IoU'), [*rows, ('mean', score.miou)])
        return f'{text}\n\n{table}\n{self._scored()}{note}'

    def _scored(self) -> str:
        few = ': the IoU of rare classes says little' if self.score.frames < FEW_FRAMES else ''
        return f'{self.score.frames} frames scored{few}'

    def _frames(self) -> str:
        broken = f', {self.frames_broken} broken' if self.frames_broken else ''
        return (
            f'{self.frames_in} in, {self.frames_segmented} segmented, '
            f'{self.frames_dropped} dropped{broken}'
        )


class RunScore:
    """IoU over all labelled frames of a run.

    merged: groups of classes that are scored as one. truth: class map of the labels (preset or
    file), '' for the model's own. Where the classes differ from the model's, nothing is scored and
    the result's note says so; with `common`, what both have is.
    """

    def __init__(
        self,
        class_map: ClassMap,
        merged: Sequence[Sequence[str]] = (),
        truth: str = '',
        common: bool = False,
    ) -> None:
        self._table: Optional[np.ndarray] = None
        self._refusal = ''
        if truth:
            try:
                self._table = truth_table(load_class_map(truth), class_map, 'the truth', common)
            except MetricError as error:
                self._refusal = f'nothing is scored: {error}'
        self._classes = ScoredClasses(class_map, merged)
        self._matrix = ConfusionMatrix(len(self._classes))
        self._unknown: Counter[int] = Counter()
        self._frames = 0

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one frame, (H, W) uint8 train ids each; raises MetricError."""
        if self._refusal:
            return
        if self._table is not None:
            truth = self._table[truth]
        prepared = self._classes.prepare(truth, predicted)
        self._matrix.update(prepared.truth, prepared.predicted)
        self._unknown.update(dict(prepared.unknown.tolist()))
        self._frames += 1

    def result(self) -> Score:
        """Scores of the frames so far."""
        scores = self._matrix.compute()
        iou = {
            name: float(value)
            for name, value, pixels in zip(self._classes.names, scores.iou, scores.pixels)
            if pixels
        }
        note = self._refusal or unknown_note(np.array(sorted(self._unknown.items())))
        miou = scores.miou if self._matrix.counts.any() else None
        return Score(self._frames, miou, iou, note, other_classes=bool(self._refusal))


def _known(value: float) -> Optional[float]:
    return value if math.isfinite(value) else None
