"""Segments a whole source without ROS, and writes what comes out into a folder."""

from __future__ import annotations

import json
import logging
import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from segformer_ros.camera import Calibration, CameraError, CameraPose, check_image_size
from segformer_ros.classes import ClassMap
from segformer_ros.destination import WholeFile, write_image
from segformer_ros.drivable import (
    CLASS_NONE,
    ROW_NONE,
    BoundaryConfig,
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
)
from segformer_ros.engines import Engine, EngineError, Outcome, Wanted
from segformer_ros.engines.placement import cell_rows
from segformer_ros.frame import Frame
from segformer_ros.percentiles import percentiles
from segformer_ros.recording import RecordingError
from segformer_ros.segmentation import Segmentation
from segformer_ros.segmenting.background import Background
from segformer_ros.segmenting.result_bag import ResultBag
from segformer_ros.segmenting.results import (
    ResultFolder,
    SegmentedView,
    draw_overlay,
    empty_folder,
)
from segformer_ros.segmenting.segmented_entries import segmented_entries
from segformer_ros.segmenting.summary import RunScore, RunSummary
from segformer_ros.sources import Source, SourceFrame
from segformer_ros.sources.read_ahead import read_ahead

_log = logging.getLogger(__name__)

BAG_NAME = 'drive.mcap'
RESULTS = ('masks', 'frames', 'overlay.mp4', BAG_NAME)
"""What a run makes anew in its folder."""


@dataclass(frozen=True)
class Camera:
    """The camera of a run, as far as it is known; its pose is in the vehicle frame.

    why_not: why the recording's own is not used, where it is not.
    """

    calibration: Optional[Calibration] = None
    pose: Optional[CameraPose] = None
    vehicle_frame: str = 'base_link'
    why_not: str = ''

    @property
    def lacks(self) -> Tuple[str, ...]:
        """What is missing for metres: 'calibration', 'mount', both or nothing."""
        known = {'calibration': self.calibration, 'mount': self.pose}
        return tuple(name for name, value in known.items() if value is None)

    def fault(self, height: int, width: int) -> str:
        """Why images of this size give no metres; '' where they do."""
        if self.calibration is None or self.pose is None:
            lacks = f'no {" and no ".join(self.lacks)} of the camera is known'
            return f'{lacks}: {self.why_not}' if self.why_not else lacks
        try:
            check_image_size(self.calibration, height, width)
        except CameraError as error:
            return str(error)
        return ''


def _estimator(class_map: ClassMap) -> DrivableAreaEstimator:
    """For roads, or what else the class map calls drivable; with nothing of it, all is blocked."""
    groups = [*class_map.drivable]
    if 'road' in (*groups, *class_map.names):
        return DrivableAreaEstimator(DrivableConfig(), class_map)
    if not groups:
        _log.warning('class map %r has nothing drivable: all of it is blocked', class_map.name)
        groups, class_map = ['nothing'], replace(class_map, drivable={'nothing': ()})
    config = DrivableConfig(boundary=BoundaryConfig(drivable=groups[0]))
    return DrivableAreaEstimator(config, class_map)


class SegmentRun:
    """One pass over a source with an active engine; a context manager.

    Writes `masks/KEY.png` (train ids), `overlay.mp4`, `frames/KEY.png`, `drivable.jsonl` with one
    line for each frame, and `drive.mcap` with all of it as messages, see ResultBag. What was
    written when a run is interrupted is whole; of one that fails only the masks and frames stay.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        folder: Path,
        camera: Camera = Camera(),
        upsampling: str = 'exact',
        merged: Sequence[Sequence[str]] = (),
    ) -> None:
        self._source = source
        self._engine = engine
        self._camera = camera
        self._wanted = Wanted(confidence=True, upsampling=upsampling)
        self._class_map = engine.spec.class_map
        self._estimator = _estimator(self._class_map)
        self._score = RunScore(self._class_map, merged, source.class_map)
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
        """Segment all frames; what comes out is written while the next are segmented.

        on_frame: told of each that is done with what is wrong with it, '' for nothing.
        """
        entries = read_ahead(self._source.frames())
        with Background('results') as background:
            for segmented in segmented_entries(entries, [self._engine], self._wanted):
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
            model=self._engine.spec.path.name,
            engine=self._engine.facts(),
            score=self._score.result(),
        )

    def _finish(
        self, on_frame: Callable[[str], object], entry: SourceFrame, outcomes: Sequence[Outcome]
    ) -> None:
        """Count an entry, and write what the engine made of its frame."""
        error = entry.error
        if entry.frame is None:
            self._broken += 1
        else:
            self._frames += 1
            for outcome in outcomes:
                if isinstance(outcome, EngineError):
                    error = f'{entry.key}: {outcome}'
                else:
                    self._add(entry, entry.frame, outcome)
        on_frame(error or '')

    def _add(self, entry: SourceFrame, frame: Frame, result: Segmentation) -> None:
        self._milliseconds.append(result.times.total)
        if entry.labels is not None:
            self._score.update(entry.labels, result.labels)
        name = self._name(entry)
        write_image(self._masks / f'{name}.png', result.labels)
        area = self._drivable_area(frame, result)
        line = area_line(name, area, self._class_map)
        self._lines.write_text(json.dumps(line) + '\n')
        view = SegmentedView(
            key=name,
            stamp_ns=frame.stamp.ns,
            image=frame.bgr(),
            labels=result.labels,
            truth=entry.labels,
            area=area,
            grid=self._estimator.grid(area),
        )
        view = view._replace(overlay=draw_overlay(view, self._class_map))
        self._results.add(view)
        if self._bag:
            self._bag.add(frame, view, area, self._estimator.scan(area))

    def _name(self, entry: SourceFrame) -> str:
        """The entry's key; with its index where an earlier one has the same (equal stamps)."""
        name = f'{entry.key}_{entry.index:06d}' if entry.key in self._keys else entry.key
        self._keys.add(entry.key)
        return name

    def _drivable_area(self, frame: Frame, result: Segmentation) -> DrivableArea:
        engine, camera = self._engine, self._camera
        size = (frame.height, frame.width)
        fault = camera.fault(*size)
        area = self._estimator.update(
            result.labels,
            result.confidence,
            None if fault else camera.calibration,
            None if fault else camera.pose,
            frame.stamp,
            cell=cell_rows(engine.spec, engine.options.inference, size, frame.height),
        )
        return replace(area, reason=fault) if fault else area


def _open_bag(path: Path, camera: Camera) -> Optional[ResultBag]:
    """The bag of the results; None, and a warning, where none can be written."""
    try:
        return ResultBag(path, camera.calibration, camera.pose, camera.vehicle_frame)
    except RecordingError as error:
        _log.warning('%s', error)
        return None


def area_line(key: str, area: DrivableArea, class_map: ClassMap) -> Dict[str, Any]:
    """One frame's drivable area as JSON.

    Pixels, metres and radians; null is not known, 'inf' nothing. A `boundary_row` is null where
    nothing blocks. What is in metres is null as a whole where `calibrated` is false.
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
