"""Segments a whole source without ROS, and writes what comes out into a folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import cv2

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    CLASS_NONE,
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
)
from segformer_ros.engines import Engine, Wanted
from segformer_ros.engines.fit import STRIDE, fit_frame
from segformer_ros.frame import Frame
from segformer_ros.metrics import percentiles
from segformer_ros.recording import RecordingError
from segformer_ros.results import ResultFolder, SegmentedView, empty_folder
from segformer_ros.segmentation import Segmentation
from segformer_ros.sources import Source, SourceFrame
from segformer_ros.sources.read_ahead import read_ahead
from segformer_ros.summary import RunScore, RunSummary


@dataclass(frozen=True)
class Camera:
    """The camera of a run, as far as it is known."""

    calibration: Optional[Calibration] = None
    pose: Optional[CameraPose] = None

    @property
    def calibrated(self) -> bool:
        """Whether distances can be given in metres."""
        return self.calibration is not None and self.pose is not None


class SegmentRun:
    """One pass over a source with an active engine; a context manager.

    Writes `masks/KEY.png` (train ids), `overlay.mp4`, `frames/KEY.png`, and with a calibrated
    camera `drivable.jsonl`, one line for each frame. What was written when a run is interrupted
    is whole.
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
        self._wanted = Wanted(confidence=camera.calibrated, upsampling=upsampling)
        self._class_map = engine.spec.class_map
        self._masks = empty_folder(folder / 'masks')
        self._results = ResultFolder(folder, self._class_map, len(source))
        self._estimator = DrivableAreaEstimator(DrivableConfig(), self._class_map)
        self._lines = (folder / 'drivable.jsonl').open('w') if camera.calibrated else None
        self._score = RunScore(self._class_map, merged)
        self._milliseconds: List[float] = []
        self._began = perf_counter()
        self._broken = 0

    def __enter__(self) -> SegmentRun:
        return self

    def __exit__(self, *error: Any) -> None:
        self._results.__exit__(*error)
        if self._lines:
            self._lines.close()

    def run(self, on_entry: Callable[[SourceFrame], None]) -> None:
        """Segment all frames; `on_entry` is told of each entry when it is done with."""
        for entry in read_ahead(self._source.frames()):
            if entry.frame is None:
                self._broken += 1
            else:
                self._segment(entry, entry.frame)
            on_entry(entry)

    def summary(self) -> RunSummary:
        """Figures of the frames so far."""
        count = len(self._milliseconds)
        latency = percentiles(self._milliseconds)
        return RunSummary(
            source=self._source.name,
            frames_in=count,
            frames_segmented=count,
            frames_broken=self._broken,
            latency_ms={'p50': latency.p50, 'p99': latency.p99},
            fps=count / (perf_counter() - self._began),
            model=self._engine.spec.path.name,
            engine=self._engine.facts(),
            miou=self._score.miou,
            iou=self._score.iou,
        )

    def _segment(self, entry: SourceFrame, frame: Frame) -> None:
        start = perf_counter()
        result = self._engine.segment([frame], self._wanted)[0]
        self._milliseconds.append((perf_counter() - start) * 1e3)
        if entry.labels is not None:
            self._score.update(entry.labels, result.labels)
        path = self._masks / f'{entry.key}.png'
        if not cv2.imwrite(str(path), result.labels):
            raise RecordingError(f'cannot write {path}; is the disk full?')
        area = self._drivable_area(frame, result)
        if area is not None and self._lines:
            line = area_line(entry.key, area, self._class_map)
            self._lines.write(json.dumps(line) + '\n')
        self._results.add(
            SegmentedView(
                key=entry.key,
                stamp_ns=frame.stamp.ns,
                image=frame.bgr(),
                labels=result.labels,
                truth=entry.labels,
                area=area,
                grid=self._estimator.grid(area) if area is not None else None,
            )
        )

    def _drivable_area(self, frame: Frame, result: Segmentation) -> Optional[DrivableArea]:
        if not self._camera.calibrated:
            return None
        spec = self._engine.spec
        seen = fit_frame((frame.height, frame.width), spec.size, spec.fit).content[0] / STRIDE
        return self._estimator.update(
            result.labels,
            result.confidence,
            self._camera.calibration,
            self._camera.pose,
            frame.stamp,
            cell=frame.height / seen,
        )


def area_line(key: str, area: DrivableArea, class_map: ClassMap) -> Dict[str, Any]:
    """One frame's drivable area as JSON. Metres and radians; null is not known, 'inf' nothing."""
    names = class_map.names
    return {
        'key': key,
        'stamp': area.stamp.ns / 1e9,
        'road_fraction': area.road_fraction,
        'sidewalk_fraction': area.sidewalk_fraction,
        'corridor': {
            'width': _number(area.corridor.width),
            'distance': _number(area.corridor.distance),
            'blocked_by': _class_name(area.corridor.blocking_class, names),
        },
        'bearing': [_number(value) for value in area.bearing],
        'free_distance': [_number(value) for value in area.free_distance],
        'distance_sigma': [_number(value) for value in area.distance_sigma],
        'blocked_by': [_class_name(value, names) for value in area.blocking_class],
    }


def _number(value: float) -> Any:
    """A number that JSON can hold."""
    if math.isfinite(value):
        return round(float(value), 4)
    return 'inf' if value > 0 else None


def _class_name(train_id: int, names: Tuple[str, ...]) -> Optional[str]:
    return None if train_id == CLASS_NONE else names[train_id]
