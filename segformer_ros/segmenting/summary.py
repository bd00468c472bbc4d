"""Summary of a run: what went in, what came out, how fast and how right."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.metrics import ConfusionMatrix, MetricError, ScoredClasses
from segformer_ros.metrics.scoring import unknown_note
from segformer_ros.metrics.truth import truth_table
from segformer_ros.terminal.table import format_table

FEW_FRAMES = 500
"""Below so many frames, rare classes are a handful of objects: their IoU is left to chance."""


@dataclass(frozen=True)
class RunSummary:
    """Figures of one run, written as summary.json.

    frames_in: frames of the source, those left out that could not be read (frames_broken).
    frames_dropped: frames without a mask. latency_ms: milliseconds per frame, p50 and p99.
    engine: facts of the engine (engine, device, precision, ...). miou, iou: where labels are
    known, of the classes that the labels have. note: what is odd about the labels, '' for nothing;
    foreign: they have other classes than the model, so that there is nothing to score.
    """

    source: str
    frames_in: int
    frames_segmented: int
    frames_broken: int
    latency_ms: Mapping[str, float]
    fps: float
    model: str
    engine: Mapping[str, str] = field(default_factory=dict)
    miou: Optional[float] = None
    iou: Mapping[str, float] = field(default_factory=dict)
    note: str = ''
    foreign: bool = False

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
        if self.miou is not None:
            result['miou'] = _known(self.miou)
            result['iou'] = {name: _known(value) for name, value in self.iou.items()}
        if self.note:
            result['note'] = self.note
        return result

    def fault(self, labelled: bool) -> str:
        """Why the run gave less than was asked for; '' where it did not.

        labelled: whether the frames were to be scored.
        """
        if not self.frames_segmented:
            return 'no frame was segmented; what was wrong stands above'
        if labelled and self.miou is None and not self.foreign:
            return 'there are labels, and not one of them could be scored; why stands above'
        return ''

    def write(self, path: Path) -> None:
        """Write summary.json."""
        path.write_text(json.dumps(self.as_json(), indent=2) + '\n', encoding='utf-8')

    def as_table(self) -> str:
        """The summary for the terminal."""
        engine = ', '.join(self.engine.get(key, '') for key in ('engine', 'device', 'precision'))
        lines: List[Tuple[str, str]] = [
            ('source', self.source),
            ('model', self.model),
            ('engine', engine.strip(', ')),
            ('frames', self._frames()),
            ('latency', ', '.join(f'{k} {v:.1f} ms' for k, v in self.latency_ms.items())),
            ('frames per second', f'{self.fps:.1f}'),
        ]
        text = format_table(('', ''), lines)
        note = f'\n{self.note}' if self.note else ''
        if self.miou is None:
            return f'{text}\n{note}' if note else text
        rows = [(name, value) for name, value in self.iou.items()]
        table = format_table(('class', 'IoU'), [*rows, ('mean', self.miou)])
        return f'{text}\n\n{table}{self._caution()}{note}'

    def _caution(self) -> str:
        if self.frames_segmented >= FEW_FRAMES:
            return ''
        return f'\n{self.frames_segmented} frames: the IoU of rare classes says little'

    def _frames(self) -> str:
        broken = f', {self.frames_broken} broken' if self.frames_broken else ''
        return (
            f'{self.frames_in} in, {self.frames_segmented} segmented, '
            f'{self.frames_dropped} dropped{broken}'
        )


class RunScore:
    """IoU over all labelled frames of a run. merged: groups of classes that are scored as one.

    truth: preset or file of the labels' classes, '' for those of the model. With others than the
    model's nothing is scored, and `note` says so.
    """

    def __init__(
        self, class_map: ClassMap, merged: Sequence[Sequence[str]] = (), truth: str = ''
    ) -> None:
        self._table: Optional[np.ndarray] = None
        self._refusal = ''
        if truth:
            try:
                self._table = truth_table(load_class_map(truth), class_map, 'the truth')
            except MetricError as error:
                self._refusal = f'nothing is scored: {error}'
        self._classes = ScoredClasses(class_map, merged)
        self._matrix = ConfusionMatrix(len(self._classes))
        self._unknown: Counter[int] = Counter()

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one frame, (H, W) uint8 train ids each; raises MetricError."""
        if self.foreign:
            return
        if self._table is not None:
            truth = self._table[truth]
        prepared = self._classes.prepare(truth, predicted)
        self._matrix.update(prepared.truth, prepared.predicted)
        self._unknown.update(dict(prepared.unknown.tolist()))

    @property
    def foreign(self) -> bool:
        """Whether the labels have other classes than the model."""
        return bool(self._refusal)

    @property
    def note(self) -> str:
        """What the labels have that the class map has not; '' for nothing."""
        return self._refusal or unknown_note(np.array(sorted(self._unknown.items())))

    @property
    def miou(self) -> Optional[float]:
        """Mean IoU of the classes that the labels have; None where there were no labels."""
        return self._matrix.compute().miou if self._matrix.counts.any() else None

    @property
    def iou(self) -> Dict[str, float]:
        """IoU of each class that the labels have."""
        scores = self._matrix.compute()
        return {
            name: float(iou)
            for name, iou, pixels in zip(self._classes.names, scores.iou, scores.pixels)
            if pixels
        }


def _known(value: float) -> Optional[float]:
    return value if math.isfinite(value) else None
