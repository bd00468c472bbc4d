# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Run: segments a whole recording, writes the results into a folder, and summarises them.

The summary has frames in and out, speed, and IoU if the recording has labels.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from segformer_ros.camera import Camera
from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.destination import WholeFile, write_file, write_image
from segformer_ros.drivable import CLASS_NONE, ROW_NONE, DrivableArea
from segformer_ros.engines import EngineError, Outcome
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.measurement import percentiles
from segformer_ros.metrics.metric import MetricError, ScoredClasses, truth_table, unknown_note
from segformer_ros.metrics.pixel_metrics import ConfusionMatrix
from segformer_ros.recordings import RecordingError, Source, SourceFrame
from segformer_ros.segmenter.results import ResultBag, ResultFolder, SegmentedView, empty_folder
from segformer_ros.segmenter.segmented_frame import Background, FrameMapper
from segformer_ros.segmenter.segmenter import Segmenter
from segformer_ros.text_table import format_table

FEW_FRAMES = 500
"""With fewer frames the IoU of rare classes is chance: they have only a handful of objects."""


class Score(NamedTuple):
    """Scores of the masks of a run.

    frames: number that was scored. miou, iou: of the classes in their labels; miou is None if
    nothing was scored. note: what is odd about the labels, '' for nothing. other_classes: whether
    the labels have other classes than the model, so that nothing can be scored.
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
    latency_ms: milliseconds per frame, p50 and p99. engine: facts of the engine (engine, device,
    precision, ...).
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
        """Content of summary.json; an unknown number is null."""
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
        """Why the run as a whole has failed; '' if it has not.

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
    file), '' for the model's own. If its classes differ from the model's, nothing is scored and
    the result's note says so; with `common`, the classes that both have are scored.
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


_log = logging.getLogger(__name__)

BAG_NAME = 'drive.mcap'
RESULTS = ('masks', 'frames', 'overlay.mp4', BAG_NAME)
"""What a run replaces in its folder."""


class SegmentRun:
    """One pass over a source with an open segmenter; a context manager.

    Writes `masks/KEY.png` (train ids), `overlay.mp4`, `frames/KEY.png`, `drivable.jsonl` with one
    line per frame, and `drive.mcap` with everything as messages, see ResultBag. The files of an
    interrupted run are complete up to there; of a failed one only masks and frames are kept.
    """

    def __init__(
        self,
        source: Source,
        segmenter: Segmenter,
        folder: Path,
        merged: Sequence[Sequence[str]] = (),
    ) -> None:
        self._source = source
        self._segmenter = segmenter
        self._class_map = segmenter.class_map
        camera = segmenter.camera_of(source)
        self._finisher = segmenter.finisher(camera)
        self._mapper = FrameMapper(self._class_map)
        self._score = RunScore(self._class_map, merged, source.class_map, source.class_map_given)
        self._milliseconds: List[float] = []
        self._began = perf_counter()
        self._frames = self._broken = 0
        self._masks = empty_folder(folder / 'masks')
        self._keys: Set[str] = set()
        with ExitStack() as opened:
            self._results = opened.enter_context(
                ResultFolder(folder, self._class_map, len(source))
            )
            self._lines = opened.enter_context(WholeFile(folder / 'drivable.jsonl'))
            (folder / BAG_NAME).unlink(missing_ok=True)
            self._bag = _open_bag(folder / BAG_NAME, camera)
            if self._bag:
                opened.enter_context(self._bag)
            self._open = opened.pop_all()

    def __enter__(self) -> SegmentRun:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def run(self, on_frame: Callable[[str], object]) -> None:
        """Segment all frames; results are written while the next frames are segmented.

        on_frame: called after each frame with what is wrong with it, '' for nothing.
        """
        with Background('results') as background:
            for segmented in self._segmenter.outcomes(self._source):
                background.submit(self._finish, on_frame, *segmented)

    def summary(self) -> RunSummary:
        """Figures of the frames so far."""
        segmented = len(self._milliseconds)
        latency = percentiles(self._milliseconds)
        return RunSummary(
            source=self._source.name,
            frames_in=self._frames,
            frames_segmented=segmented,
            frames_broken=self._broken,
            latency_ms={'p50': latency.p50, 'p99': latency.p99},
            fps=segmented / (perf_counter() - self._began),
            model=self._segmenter.model.path.name,
            engine=self._segmenter.facts(),
            score=self._score.result(),
        )

    def _finish(
        self, on_frame: Callable[[str], object], entry: SourceFrame, outcome: Optional[Outcome]
    ) -> None:
        """Count an entry, and write the results of its frame."""
        error = entry.error
        if entry.frame is None:
            self._broken += 1
        else:
            self._frames += 1
            if isinstance(outcome, EngineError):
                error = f'{entry.key}: {outcome}'
            elif outcome is not None:
                self._add(entry, entry.frame, outcome)
        on_frame(error or '')

    def _add(self, entry: SourceFrame, frame: Frame, result: Segmentation) -> None:
        self._milliseconds.append(result.times.total)
        if entry.labels is not None:
            self._score.update(entry.labels, result.labels)
        name = self._name(entry)
        write_image(self._masks / f'{name}.png', result.labels)
        segmented = self._finisher.finish(entry, frame, result)
        line = area_line(name, segmented.area, self._class_map)
        self._lines.write_text(json.dumps(line) + '\n')
        view = SegmentedView(
            key=name,
            stamp_ns=frame.stamp.ns,
            image=frame.bgr(),
            labels=segmented.labels,
            overlay=segmented.overlay,
            truth=segmented.truth,
            area=segmented.area,
            grid=segmented.grid,
            map=self._mapper.add(segmented, entry.place),
            place=entry.place,
        )
        self._results.add(view)
        if self._bag:
            self._bag.add(frame, view, segmented.area, segmented.scan)

    def _name(self, entry: SourceFrame) -> str:
        """The entry's key, with its index if an earlier entry has the same key (equal stamps)."""
        name = f'{entry.key}_{entry.index:06d}' if entry.key in self._keys else entry.key
        self._keys.add(entry.key)
        return name


def _open_bag(path: Path, camera: Camera) -> Optional[ResultBag]:
    """The bag of the results; None, with a warning, if it cannot be written."""
    try:
        return ResultBag(path, camera.calibration, camera.pose, camera.vehicle_frame)
    except RecordingError as error:
        _log.warning('%s', error)
        return None


def area_line(key: str, area: DrivableArea, class_map: ClassMap) -> Dict[str, Any]:
    """One frame's drivable area as JSON.

    In pixels, metres and radians. A number is null where it is unknown and 'inf' where nothing
    blocks; a `boundary_row` is null where nothing blocks. All metric values are null where
    `calibrated` is false.
    """
    return {
        'key': key,
        'stamp': area.stamp.ns / 1e9,
        'calibrated': area.calibrated,
        'reason': area.reason,
        'road_fraction': area.road_fraction,
        'sidewalk_fraction': area.sidewalk_fraction,
        'corridor': {
            'width': _number(area.corridor.width),
            'distance': _number(area.corridor.distance),
            'sigma': _number(area.corridor.sigma),
            'blocked_by': _class_name(area.corridor.blocking_class, class_map),
        },
        'column': [_number(value) for value in area.column],
        'boundary_row': [None if row == ROW_NONE else int(row) for row in area.boundary_row],
        'bearing': _metres(area, area.bearing),
        'free_distance': _metres(area, area.free_distance),
        'distance_sigma': _metres(area, area.distance_sigma),
        'blocked_by': [_class_name(value, class_map) for value in area.blocking_class],
    }


def _metres(area: DrivableArea, values: np.ndarray) -> Optional[List[Any]]:
    return [_number(value) for value in values] if area.calibrated else None


def _number(value: float) -> Any:
    """A number that JSON can hold."""
    if math.isfinite(value):
        return round(float(value), 4)
    return 'inf' if value > 0 else None


def _class_name(train_id: int, class_map: ClassMap) -> Optional[str]:
    return None if train_id == CLASS_NONE else class_map.name_of(train_id)
