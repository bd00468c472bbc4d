# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frame task: a frame on its way through the node, with what is wanted of it, and how it ends."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Optional, Tuple, Union

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

    drivable: the area, its grid or its scan. map: that of all cameras. drawn: an overlay, in any
    form.
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

    All of a frame's outputs are made by the same, whatever changes while it is in the engine.

    camera: its name. header: of the image's message; all outputs have it. camera_info: the newest
    that came with or before the image; None where none did. mask_size: (height, width) of the
    mask, None for the image's own. free: train ids for which the engine may find the blocked
    rows; empty where nobody wants them.
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
    """How a frame ended that was taken out of the inbox."""

    SEGMENTED = 'segmented'
    REJECTED = 'rejected'
    """Not an image that can be used (FrameError)."""
    FAILED = 'failed'
    """The engine or the publishing failed on it."""
    UNWANTED = 'unwanted'
    """Nobody subscribed, or the node was disabled."""


class FrameCounts(NamedTuple):
    """What became of one camera's frames; `received` is the sum of all the others.

    overtaken: a newer frame came before they were taken, here or in the middleware's queue.
    """

    received: int = 0
    segmented: int = 0
    overtaken: int = 0
    rejected: int = 0
    failed: int = 0
    unwanted: int = 0
    pending: int = 0
    """Waiting or being segmented: not yet decided."""
