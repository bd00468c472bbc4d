# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frame task: a frame on its way through the node, what is wanted of it, and its outcome.

Frames whose transform is late wait in `LateFrames`, without delaying the worker.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Callable, Deque, Generic, NamedTuple, Optional, Tuple, TypeVar

if TYPE_CHECKING:  # the engine is started before ROS's messages are loaded
    from typing import Union

    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

    from segformer_ros.frame import Frame
    from segformer_ros.node.drivable_settings import MountSettings
    from segformer_ros.node.segmentation.camera_geometry import CameraInfoReading
    from segformer_ros.node.segmentation.parameters import Settings
    from segformer_ros.node.segmentation.video_input import VideoImage

    ImageMessage = Union[Image, CompressedImage, VideoImage]


class Demand(NamedTuple):
    """Which of a camera's topics are subscribed to; `any(demand)`: whether one is.

    drivable: the area, its grid or its scan. map: the one of all cameras. drawn: an overlay, in
    any form.
    """

    mask: bool = False
    confidence: bool = False
    overlay: bool = False
    compressed_overlay: bool = False
    camera_info: bool = False
    points: bool = False
    drivable: bool = False
    map: bool = False
    overlay_video: bool = False
    drawn: bool = False


class FrameTask(NamedTuple):
    """A frame with a snapshot of its camera's demand, parameters and calibration.

    All of a frame's outputs use this snapshot, whatever changes while it is in the engine.

    camera: its name. header: of the image's message, for all outputs. camera_info: the newest one
    that came with or before the image; None if there was none. mask_size: (height, width) of the
    mask, None for the image's own. free: train ids for which the engine may find the blocked
    rows; empty if they are not needed.
    """

    camera: str
    header: Header
    frame: Frame
    demand: Demand
    settings: Settings
    mount: MountSettings
    camera_info: Optional[CameraInfoReading] = None
    mask_size: Optional[Tuple[int, int]] = None
    free: Tuple[int, ...] = ()


class Ending(Enum):
    """Outcome of a frame that was taken out of the inbox."""

    SEGMENTED = 'segmented'
    REJECTED = 'rejected'
    """Not a usable image (FrameError)."""
    FAILED = 'failed'
    """The engine or the publishing failed."""
    UNWANTED = 'unwanted'
    """Nobody subscribed, or the node was disabled."""


class FrameCounts(NamedTuple):
    """Outcomes of one camera's frames; `received` is the sum of all the others.

    overtaken: replaced by a newer frame before they were taken, here or in the middleware's queue.
    """

    received: int = 0
    segmented: int = 0
    overtaken: int = 0
    rejected: int = 0
    failed: int = 0
    unwanted: int = 0
    pending: int = 0
    """Waiting or being segmented."""


POLL = 0.01
"""Seconds between two attempts to hand on the frame that waits."""

MOST = 16
"""Frames that may wait (half a second at 30 Hz), since each holds its image and mask."""

FrameT = TypeVar('FrameT')


class LateFrames(Generic[FrameT]):
    """Hands frames on in the order in which they are put, each as soon as possible.

    While no frame waits, one that can go at once is handed on in the thread that puts it; others
    in a thread that is started when first needed. Only one thread may call `put`.

    hand_on: hands a frame on and returns True, or returns False if the frame must wait; its second
    argument is True if it may not wait any longer. Never called by two threads at a time.
    failed: takes what `hand_on` raises in the thread; raised by `put` otherwise.
    """

    def __init__(
        self, hand_on: Callable[[FrameT, bool], bool], failed: Callable[[Exception], None]
    ) -> None:
        self._hand_on = hand_on
        self._failed = failed
        self._busy = Lock()
        self._changed = Condition()
        self._waiting: Deque[FrameT] = deque()
        self._closed = False
        self._thread: Optional[Thread] = None

    def put(self, frame: FrameT) -> None:
        """Hand a frame on, now or later."""
        if not self._waiting:  # only this thread adds to it
            with self._busy:
                if self._hand_on(frame, self._closed):
                    return
        with self._changed:
            self._waiting.append(frame)
            self._changed.notify()
        if self._thread is None:
            self._thread = Thread(target=self._run, name='late frames', daemon=True)
            self._thread.start()

    def clear(self) -> None:
        """Drop the frames that wait."""
        with self._changed:
            self._waiting.clear()

    def close(self) -> None:
        """Drop the frames that wait, and end the thread; later frames do not wait."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                frame, crowded = self._waiting[0], len(self._waiting) > MOST
            done = self._try(frame, crowded)
            with self._changed:
                if not done:
                    self._changed.wait_for(lambda: self._closed, POLL)
                elif self._waiting and self._waiting[0] is frame:
                    self._waiting.popleft()

    def _try(self, frame: FrameT, last: bool) -> bool:
        try:
            with self._busy:
                return self._hand_on(frame, last)
        except Exception as error:  # of whatever kind: it must not end the thread
            self._failed(error)
            return True
