# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The contract of every source: frames in order, with truth where it is known.

Also what any source can be combined with: reading ahead, and a substitute for an unreadable one.
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
"""Stamp of the first frame of recordings without stamps: in ROS, zero means no time."""

CAMERA_FRAME = 'camera'
"""Frame id of recordings without one."""


class SourceError(SegformerError, ValueError):
    """A recording that cannot be played: says which, why and what to do."""


class RecordingError(SegformerError, RuntimeError):
    """A recording that cannot be written: says which and why."""


@dataclass(frozen=True)
class SourceOptions:
    """What to take from a recording, where its path alone does not say.

    topic: image topic of a bag; '' takes the only one.
    label_topic: topic of a bag with label images of the same stamps.
    label_tolerance: seconds by which a label's stamp may differ from that of the nearest image,
        which it belongs to.
    labels: folder of label images, named by the frames' keys (`KEY.png`).
    label_ids: class map (preset or file) whose own label ids the labels hold; 'train' where they
        are train ids for sure, whatever they look like; '' takes them for train ids.
    label_colors: class map whose colours the labels hold.
    fps: frames per second of recordings without stamps (folders, Cityscapes, generated drives).
    max_megapixels: larger images and labels are not read.
    vehicle_frame: frame on the ground in which a bag's /tf_static places the camera; '' leaves
        the transforms unread.
    camera_info: file with the camera's calibration, which replaces the recording's own.
    bits: bit depth of the camera, in the low bits of 16-bit images; 0: found from the images.
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
    free_distance: (W,) float32 metres along the ground to what blocks each column, inf = nothing.
    free_blocker: (W,) uint8 train id of what blocks each column, 255 = nothing.
    ground: maps points (n, 2) on the ground, m in the vehicle frame, to the classes at each: the
        ground itself and what stands on it, (n, classes) bool by train id.
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
    error: what is wrong, in one line: without a frame, with the image; with a frame, with the
        labels; with labels, why a part of them is not scored.
    labels: (H, W) uint8 train ids, 255 = ignore; None where they are not known.
    place: of the vehicle at the frame's stamp, by the recording's odometry; None without it.
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

    `frames` may be called any number of times, also for parts (`start`, `stop`), and always gives
    the same frames. It reads lazily, holds a bounded number of frames, and does not stop at a
    broken one, which is an entry with `error`. Whatever makes the whole recording unusable raises
    SourceError when it is opened.
    """

    name: str = ''
    """Short name for reports: the file's or folder's."""
    path: Optional[Path] = None
    """The file or folder that is read; None for a generated drive."""
    calibration: Optional[Calibration] = None
    """The camera, if the recording knows it."""
    pose: Optional[CameraPose] = None
    """The camera's pose over the ground, if the recording knows it."""
    rectified: bool = False
    """Whether the images are rectified already, so that the lens distortion does not apply."""
    camera_fault: str = ''
    """Why the recording's calibration or mount is not used; '' where it is, or there is none."""
    labelled: bool = False
    """Whether entries may carry labels."""
    label_fault: str = ''
    """Why no frame has labels although the user gave some; '' if that is not known to be so."""
    class_map: str = ''
    """Class map that the labels are train ids of; '' where they are of the model's classes."""
    class_map_given: bool = False
    """Whether the user named it: then only the classes that the model also has are scored."""
    notes: Tuple[str, ...] = ()
    """What is odd about the recording, for the user: one line each."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of entries that `frames()` gives, including broken ones."""

    @abstractmethod
    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Entries `start` to `stop` (to the end for None), in order."""

    @property
    def files(self) -> List[Path]:
        """Files that determine what `frames` gives, images and labels; none for generated ones."""
        return []

    def __iter__(self) -> Iterator[SourceFrame]:
        return self.frames()

    def take_calibration(self, file: Optional[Path]) -> None:
        """Use the calibration in a file, which must fit the images; raises SourceError."""
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
            self.notes += (f"the calibration of {file} replaces the recording's own",)
        self.calibration, self.camera_fault = calibration, ''

    @property
    def has_transforms(self) -> bool:
        """Whether the recording has transforms."""
        return bool(self.static_transforms()) or next(self.moving_transforms(), None) is not None

    def static_transforms(self) -> List[Any]:
        """The static geometry_msgs/TransformStamped, the newest of each child frame."""
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
        """The calibration, else a pinhole of `hfov` degrees, else None."""
        if self.calibration is not None or hfov is None:
            return self.calibration
        first = next((entry.frame for entry in self if entry.frame is not None), None)
        return Calibration.pinhole(first.width, first.height, hfov) if first else None

    def span(self, start: int, stop: Optional[int]) -> range:
        """Indices of a part, clipped to the recording."""
        return range(max(start, 0), min(len(self) if stop is None else stop, len(self)))


class UnreadableSource(Source):
    """Substitute for a recording that cannot be read: no frames, and a note that says why."""

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
"""Items that are read ahead, which bounds the memory."""


def read_ahead(items: Iterator[ItemT], depth: int = DEPTH) -> Generator[ItemT, None, None]:
    """The same items, read at most `depth` ahead by a thread of its own.

    An error of the iterator is raised in the place of its item.
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
