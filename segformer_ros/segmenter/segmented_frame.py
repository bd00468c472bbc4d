# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""SegmentedFrame: an image with its labels and drivable area, and how it is made of a recording.

A recording's frames go through one or more engines; results are processed in the background.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import tee
from typing import Any, Callable, Deque, Iterator, Optional, Sequence, Tuple, TypeVar, Union

import numpy as np

from segformer_ros.camera import Camera
from segformer_ros.classes import ClassMap
from segformer_ros.drawing.overlay import blend, draw_boundary
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GridNumbers,
    GroundMap,
    GroundObserver,
    MapConfig,
    PlanarPose,
    ScanNumbers,
)
from segformer_ros.engines import Engine, Outcome, Wanted
from segformer_ros.engines.placement import cell_rows
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.frame import Frame, Segmentation, StageTimes
from segformer_ros.model import ModelSpec
from segformer_ros.recordings import SourceFrame

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SegmentedFrame:
    """One image with its labels and drivable area.

    frame: the image with its stamp and frame id.
    labels: (H, W) uint8 train ids, at the image's size.
    confidence: (H, W) uint8, 0..255 for a probability of 0..1 of the label; None if the model
        gives only labels.
    area: how far the road is free; in pixels only (`area.calibrated` is false and `area.reason`
        says why) unless calibration and mount are known.
    class_map: names and colours of the train ids.
    times: milliseconds of each stage.
    key: name of the frame in its recording.
    truth: (H, W) uint8 train ids of the recording's own labels; None if it has none.
    """

    frame: Frame
    labels: np.ndarray = field(repr=False)
    confidence: Optional[np.ndarray] = field(repr=False)
    area: DrivableArea = field(repr=False)
    class_map: ClassMap = field(repr=False)
    times: StageTimes
    estimator: DrivableAreaEstimator = field(repr=False)
    key: str = ''
    truth: Optional[np.ndarray] = field(default=None, repr=False)

    @cached_property
    def overlay(self) -> np.ndarray:
        """The image with class colours and the area's boundary: (H, W, 3) uint8 BGR."""
        overlay = blend(self.frame.bgr(), self.labels, self.class_map.palette_bgr)
        draw_boundary(overlay, self.area, self.class_map)
        return overlay

    @cached_property
    def grid(self) -> Optional[GridNumbers]:
        """The occupancy grid in the vehicle frame; None where the area is not calibrated."""
        return self.estimator.grid(self.area)

    @cached_property
    def scan(self) -> Optional[ScanNumbers]:
        """The area's boundary as a laser scan; None where the area is not calibrated."""
        return self.estimator.scan(self.area)

    def where(self, *names: str) -> np.ndarray:
        """Pixels of the named classes: (H, W) bool; raises ClassMapError for unknown names."""
        chosen = np.zeros(256, bool)
        chosen[list(self.class_map.ids(*names))] = True
        return chosen[self.labels]


class FrameFinisher:
    """Turns an engine's results for one camera's frames, in order, into SegmentedFrames."""

    def __init__(
        self, spec: ModelSpec, inference: str, camera: Camera, estimator: DrivableAreaEstimator
    ) -> None:
        self._spec = spec
        self._inference = inference
        self._camera = camera
        self._estimator = estimator

    def finish(self, entry: SourceFrame, frame: Frame, result: Segmentation) -> SegmentedFrame:
        """Add the drivable area. frame: the entry's frame, which is not None."""
        return SegmentedFrame(
            frame=frame,
            labels=result.labels,
            confidence=result.confidence,
            area=self._area(frame, result),
            class_map=self._spec.class_map,
            times=result.times,
            estimator=self._estimator,
            key=entry.key,
            truth=entry.labels,
        )

    def _area(self, frame: Frame, result: Segmentation) -> DrivableArea:
        size = (frame.height, frame.width)
        fault = self._camera.fault(*size)
        area = self._estimator.update(
            result.labels,
            result.confidence,
            None if fault else self._camera.calibration,
            None if fault else self._camera.pose,
            frame.stamp,
            cell=cell_rows(self._spec, self._inference, size, frame.height),
        )
        return replace(area, reason=fault) if fault else area


class FrameMapper:
    """Makes the ground map of one camera's frames, in order, with the default settings."""

    def __init__(self, class_map: ClassMap) -> None:
        self.map = GroundMap(MapConfig(), class_map)
        self._class_map = class_map
        self._observer: Optional[GroundObserver] = None

    def add(self, segmented: SegmentedFrame, place: Optional[PlanarPose]) -> Optional[GridNumbers]:
        """The map with this frame added; None without the vehicle's pose, or not calibrated."""
        view = segmented.area.view
        if place is None or view is None:
            return None
        if self._observer is None:
            boundary = segmented.estimator.config.boundary
            self._observer = GroundObserver(boundary, self._class_map, self.map.config)
        seen = self._observer.observe(
            segmented.labels, segmented.confidence, view.ground, view.cell
        )
        self.map.add('', segmented.frame.stamp.ns, place, seen)
        return self.map.numbers()


def estimator_factory(
    drivable: Union[str, DrivableConfig], class_map: ClassMap
) -> Callable[[], DrivableAreaEstimator]:
    """A factory of estimators with a setting of what is drivable.

    The default ('') is the road, or else the first drivable group of the class map. Without any
    such group everything is blocked.
    """
    if isinstance(drivable, DrivableConfig):
        return partial(DrivableAreaEstimator, drivable, class_map)
    groups = [*class_map.drivable]
    if not drivable and 'road' in (*groups, *class_map.names):
        drivable = 'road'
    if not drivable and not groups:
        _log.warning('class map %r has no drivable group: everything is blocked', class_map.name)
        groups, class_map = ['nothing'], replace(class_map, drivable={'nothing': ()})
    config = DrivableConfig(boundary=BoundaryConfig(drivable=drivable or groups[0]))
    return partial(DrivableAreaEstimator, config, class_map)


def segmented_entries(
    entries: Iterator[SourceFrame], engines: Sequence[Engine], wanted: Wanted
) -> Iterator[Tuple[SourceFrame, Tuple[Outcome, ...]]]:
    """Each entry, in order, with each engine's result for its frame; () if it has no frame.

    The engines work ahead: further frames are read and submitted before a result is yielded.
    """
    read: Deque[SourceFrame] = deque()
    frames = tee(_frames(entries, read), len(engines))
    streams = [Supervisor(engine).stream(each, wanted) for engine, each in zip(engines, frames)]
    for outcomes in zip(*streams):
        yield from _without_frame(read)
        yield read.popleft(), outcomes
    yield from _without_frame(read)


def _frames(entries: Iterator[SourceFrame], read: Deque[SourceFrame]) -> Iterator[Frame]:
    """The frames of entries; appends every entry to `read`."""
    for entry in entries:
        read.append(entry)
        if entry.frame is not None:
            yield entry.frame


def _without_frame(
    read: Deque[SourceFrame],
) -> Iterator[Tuple[SourceFrame, Tuple[Outcome, ...]]]:
    """Pop and yield the entries before the next one with a frame."""
    while read and read[0].frame is None:
        yield read.popleft(), ()


ResultT = TypeVar('ResultT')

WAITING = 8
"""Length of the queue of calls, which bounds the memory."""


class Background:
    """A single worker thread with a bounded queue of calls; a context manager.

    An exception of a call is raised by a later `submit`, at the latest on leaving the context.
    """

    def __init__(self, name: str, waiting: int = WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._limit = waiting
        self._waiting: Deque[Future[Any]] = deque()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self._wait(0)
        finally:
            self._thread.shutdown()

    def submit(self, work: Callable[..., ResultT], *arguments: object) -> Future[ResultT]:
        """Queue a call; blocks while the queue is full."""
        future = self._thread.submit(work, *arguments)
        self._waiting.append(future)
        self._wait(self._limit)
        return future

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            self._waiting.popleft().result()
