# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The contract of every source: frames in order, with truth where it is known.

And what goes with any of them: reading ahead, and what stands for one that cannot be read.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    Callable,
    Deque,
    Generator,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    TypeVar,
)

import numpy as np

from segformer_ros.camera import (
    Calibration,
    CameraError,
    CameraPose,
    check_image_size,
    read_calibration,
)
from segformer_ros.drivable import PlanarPose
from segformer_ros.errors import SegformerError
from segformer_ros.formats import BITS
from segformer_ros.formats.limits import MAX_MEGAPIXELS
from segformer_ros.frame import Frame, Stamp

FIRST_STAMP_NS = 1_000_000_000
"""Stamp of the first frame of what has no time of its own: in ROS, zero stands for no time."""

CAMERA_FRAME = 'camera'
"""Frame id of what has none of its own."""


class SourceError(SegformerError, ValueError):
    """A recording that cannot be played: says which, why and what to do."""


class RecordingError(SegformerError, RuntimeError):
    """A recording that cannot be written: says which and why."""


@dataclass(frozen=True)
class SourceOptions:
    """What to take from a recording, where its path alone does not say.

    topic: image topic of a bag; '' takes the only one.
    label_topic: topic of a bag with label images of the same stamps.
    label_tolerance: seconds by which a label's stamp may differ from that of its image, which is
        the nearest one.
    labels: folder of label images, named by the frames' keys (`KEY.png`).
    label_ids: class map (preset or file) whose own label ids the labels hold; 'train' where they
        are train ids for sure, whatever they look like; '' takes them for train ids.
    label_colors: class map whose colours the labels hold.
    fps: frames per second of what has no stamps (folders, Cityscapes, the generated drive).
    max_megapixels: larger images and labels are not read.
    vehicle_frame: frame on the ground in which a bag's /tf_static places the camera; '' leaves
        the transforms unread.
    camera_info: file with the camera's calibration, which takes the place of the recording's own.
    bits: how many of 16 bits hold the camera's values, in the low ones; 0: found from the images.
    """

    topic: str = ''
    label_topic: str = ''
    label_tolerance: float = 0.0
    labels: Optional[Path] = None
    label_ids: str = ''
    label_colors: str = ''
    fps: float = 10.0
    max_megapixels: float = MAX_MEGAPIXELS
    vehicle_frame: str = 'base_link'
    camera_info: Optional[Path] = None
    bits: int = 0

    def __post_init__(self) -> None:
        if self.bits not in (0, *BITS):
            raise SourceError(f'{self.bits} bits; give one of {", ".join(map(str, BITS))}')
        if not 0 < self.fps < math.inf:
            raise SourceError(f'{self.fps} frames per second; give a rate above 0')
        if not 0 <= self.label_tolerance < math.inf:
            raise SourceError(f'label tolerance of {self.label_tolerance} s; give 0 or more')


class Truth(NamedTuple):
    """What else is known exactly about a frame; None where it is not.

    instances: (H, W) uint16 instance numbers, 0 = none.
    depth: (H, W) float32 metres along the optical axis, inf = sky.
    free_distance: (W,) float32 metres over the ground to what blocks each column, inf = nothing.
    free_blocker: (W,) uint8 train id of what blocks each column, 255 = nothing.
    ground: called with points (n, 2) of the vehicle frame on the ground, m: which classes each
        carries, the ground itself and what stands on it, (n, classes) bool by train id.
    """

    instances: Optional[np.ndarray] = None
    depth: Optional[np.ndarray] = None
    free_distance: Optional[np.ndarray] = None
    free_blocker: Optional[np.ndarray] = None
    ground: Optional[Callable[[np.ndarray], np.ndarray]] = None


NO_TRUTH = Truth()


def made_up_stamp(index: int, fps: float) -> Stamp:
    """Stamp of a frame that has no time of its own, at an even rate."""
    return Stamp.from_ns(FIRST_STAMP_NS + round(index * 1e9 / fps))


@dataclass(frozen=True)
class SourceFrame:
    """One entry of a source.

    index: its place in the source, from 0; the same however the source is split.
    key: its name in files that are written about it: a file's stem, a stamp `SEC_NANOSEC`, or the
        index in six digits.
    frame: the image; None where it cannot be read.
    error: what is broken, in one line; with a frame it is the truth that is broken, with labels a
        part of them that is not scored.
    labels: (H, W) uint8 train ids, 255 = ignore; None where they are not known.
    place: of the vehicle at the frame's stamp by the recording's odometry; None without one.
    """

    index: int
    key: str
    frame: Optional[Frame] = None
    error: Optional[str] = None
    labels: Optional[np.ndarray] = None
    truth: Truth = NO_TRUTH
    place: Optional[PlanarPose] = None


class Source(ABC):
    """Frames of one recording; made by `open_source`.

    `frames` may be called any number of times, also for parts (`start`, `stop`), and gives the
    same each time. It reads lazily, holds a bounded number of frames, and never ends at a broken
    frame: that one comes as an entry with `error`. What makes the whole recording useless raises
    SourceError when it is opened.
    """

    name: str = ''
    """Short name for reports: the file's or folder's."""
    path: Optional[Path] = None
    """The file or folder that is read; None for what is generated."""
    calibration: Optional[Calibration] = None
    """The camera, where the recording knows it."""
    pose: Optional[CameraPose] = None
    """The camera's place over the ground, where the recording knows it."""
    rectified: bool = False
    """Whether the images are rectified already, so that a lens's distortion does not count."""
    camera_fault: str = ''
    """Why what the recording says of its camera is not used; '' where it is, or is not there."""
    labelled: bool = False
    """Whether entries may carry labels."""
    label_fault: str = ''
    """Why none of the frames has labels, although some are given; '' where that is not known."""
    class_map: str = ''
    """Class map that the labels are train ids of; '' where they are of the model's classes."""
    class_map_given: bool = False
    """Whether the user has named it: then the classes that the model has, too, are scored."""
    notes: Tuple[str, ...] = ()
    """What is odd about the recording, for the user's eyes: one line each."""

    @abstractmethod
    def __len__(self) -> int:
        """Entries that `frames()` gives, broken ones counted."""

    @abstractmethod
    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Entries `start` to `stop` (to the end for None), in order."""

    @property
    def files(self) -> List[Path]:
        """Files that decide what `frames` gives, images and labels; none for what is generated."""
        return []

    def __iter__(self) -> Iterator[SourceFrame]:
        return self.frames()

    def take_calibration(self, file: Optional[Path]) -> None:
        """Take the calibration of a file, if it fits the images; raises SourceError."""
        if file is None:
            return
        try:
            calibration = read_calibration(file, self.rectified)
            first = next((entry.frame for entry in self if entry.frame is not None), None)
            if first is not None:
                check_image_size(calibration, first.height, first.width)
        except CameraError as error:
            raise SourceError(str(error)) from error
        if self.calibration is not None:
            self.notes += (f"the calibration of {file} takes the place of the recording's own",)
        self.calibration, self.camera_fault = calibration, ''

    @property
    def has_transforms(self) -> bool:
        """Whether the recording tells where frames are."""
        return bool(self.static_transforms()) or next(self.moving_transforms(), None) is not None

    def static_transforms(self) -> List[Any]:
        """The geometry_msgs/TransformStamped of frames that stand still, the newest of each."""
        return []

    def moving_transforms(self) -> Iterator[List[Any]]:
        """The geometry_msgs/TransformStamped of each message of /tf, in the recording's order."""
        return iter(())

    def note_unused(self, hfov: Optional[float]) -> None:
        """Note that a given field of view is not used, where the recording knows its camera."""
        if hfov is not None and self.calibration is not None:
            unused = f'--hfov {hfov:g} is not used: the recording has its own calibration'
            self.notes = (*self.notes, unused)

    def calibrated(self, hfov: Optional[float]) -> Optional[Calibration]:
        """The camera; where it is not known a pinhole of `hfov` degrees, None without that too."""
        if self.calibration is not None or hfov is None:
            return self.calibration
        first = next((entry.frame for entry in self if entry.frame is not None), None)
        return Calibration.pinhole(first.width, first.height, hfov) if first else None

    def span(self, start: int, stop: Optional[int]) -> range:
        """Indices of a part, cut to what there is."""
        return range(max(start, 0), min(len(self) if stop is None else stop, len(self)))


class UnreadableSource(Source):
    """Stands in the place of a recording that gives no frame; its note says why."""

    def __init__(self, path: Path, reason: str) -> None:
        self.name = path.stem
        self.path = path
        self.notes = (f'left out: {reason}',)

    def __len__(self) -> int:
        return 0

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Nothing."""
        return iter(())


ItemT = TypeVar('ItemT')

DEPTH = 4
"""Items held ready; what bounds the memory."""


def read_ahead(items: Iterator[ItemT], depth: int = DEPTH) -> Generator[ItemT, None, None]:
    """The same items, read by a thread of its own at most `depth` ahead.

    An error of the iterator is raised where its item would have come.
    """
    pending: Deque[Future[Optional[ItemT]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix='read-ahead') as reader:
        try:
            pending.extend(reader.submit(next, items, None) for _ in range(depth))
            while True:
                item = pending.popleft().result()
                if item is None:
                    return
                pending.append(reader.submit(next, items, None))
                yield item
        finally:
            for future in pending:
                future.cancel()
