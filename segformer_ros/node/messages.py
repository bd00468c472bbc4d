# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Conversions from and to ROS messages, shared by all nodes.

Pixels go into a message's buffer in one copy, or none. A message that cannot be used is dropped,
and does not end the node.
"""

from __future__ import annotations

import sys
from array import array
from contextlib import suppress
from functools import wraps
from importlib import import_module
from time import monotonic
from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple

import cv2
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from segformer_ros.classes import ClassMap
from segformer_ros.errors import one_line
from segformer_ros.frame import PACKED_CHANNELS

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Reliable and kept for late subscribers."""

_THROTTLE = 5.0  # seconds between two lines of the log


class ImageBuffer:
    """A reusable Image message, with its pixels as an array.

    Publishing copies the message, so one buffer serves all frames of a topic. `pixels` is a view
    of the message's own memory: what is drawn into it needs no further copy. The data is an
    `array`, since rclpy checks a list or bytes element by element.
    """

    def __init__(self, encoding: str) -> None:
        self._channels = PACKED_CHANNELS[encoding]
        self.message = Image(encoding=encoding)
        self.pixels = self._sized(0, 0)

    def resize(self, height: int, width: int) -> np.ndarray:
        """Pixels (H, W) or (H, W, C) uint8 to write into."""
        if self.pixels.shape[:2] != (height, width):
            self.pixels = self._sized(height, width)
        return self.pixels

    def filled(self, pixels: np.ndarray, header: Header) -> Image:
        """Copy (H, W) or (H, W, C) uint8 in; returns the message, ready to publish."""
        if self.pixels.shape != pixels.shape:
            self.pixels = self._sized(*pixels.shape[:2])
        np.copyto(self.pixels, pixels)
        self.message.header = header
        return self.message

    def stamped(self, header: Header) -> Image:
        """Return the message, ready to publish, with this header."""
        self.message.header = header
        return self.message

    def _sized(self, height: int, width: int) -> np.ndarray:
        message = self.message
        message.height, message.width = height, width
        message.step = width * self._channels
        message.data = array('B', bytes(height * width * self._channels))
        shape: Tuple[int, ...] = (height, width)
        if self._channels > 1:
            shape = (*shape, self._channels)
        # A view of the message's array, which may be a copy of the one assigned.
        return np.frombuffer(message.data, np.uint8).reshape(shape)


class CloudBuffer:
    """A reusable PointCloud2: organised, float32 x, y, z."""

    def __init__(self) -> None:
        self.message = PointCloud2(point_step=12, is_dense=False)  # it has points that are NaN
        self.message.fields = [
            PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
            for place, name in enumerate('xyz')
        ]
        self._points: np.ndarray = np.zeros((0, 0, 3), np.float32)

    def filled(self, points: np.ndarray, header: Header) -> PointCloud2:
        """Copy (H, W, 3) float32 in; returns the message, ready to publish."""
        message = self.message
        if self._points.shape != points.shape:
            message.height, message.width = points.shape[:2]
            message.row_step = message.point_step * message.width
            message.is_bigendian = sys.byteorder == 'big'
            message.data = array('B', bytes(message.row_step * message.height))
            # A view of the message's array, which may be a copy of the one assigned.
            self._points = np.frombuffer(message.data, np.float32).reshape(points.shape)
        np.copyto(self._points, points)
        message.header = header
        return message


def jpeg_message(header: Header, pixels: np.ndarray, quality: int) -> CompressedImage:
    """Encode (H, W, 3) uint8 BGR as a JPEG message."""
    done, data = cv2.imencode('.jpg', pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise ValueError(f'cannot encode an image of {pixels.shape} as JPEG')
    message = CompressedImage(header=header, format='bgr8; jpeg compressed bgr8')
    message.data = byte_array(data)
    return message


def video_class() -> Any:
    """foxglove_msgs/CompressedVideo; None where it is not installed."""
    try:
        return import_module('foxglove_msgs.msg').CompressedVideo
    except ImportError:
        return None


def video_message(header: Header, data: bytes) -> Any:
    """A packet of H.264 as foxglove_msgs/CompressedVideo."""
    message = video_class()(timestamp=header.stamp, frame_id=header.frame_id, format='h264')
    message.data = array('B', data)
    return message


def fill(message: Any, fields: Mapping[str, Any]) -> None:
    """Set fields of a message by name; a nested message's fields as a mapping.

    Arrays must be contiguous and have the field's own element type.
    """
    for name, value in fields.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, np.ndarray) and isinstance(getattr(message, name), array):
            setattr(message, name, byte_array(value, value.dtype.char))
        else:
            setattr(message, name, value)


def byte_array(values: np.ndarray, code: str = 'B') -> array[int]:
    """Copy into an `array`, which rclpy takes without checking each element."""
    result = array(code)
    result.frombytes(np.ascontiguousarray(values).tobytes())
    return result


def guarded(node: Node, topic: str, callback: Callable[..., None]) -> Callable[..., None]:
    """A subscription's callback whose errors are logged; otherwise they would end the node.

    Raw messages may hold any bytes, and strings in a message any text.
    """

    @wraps(callback)  # rclpy counts its arguments
    def call(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            node.get_logger().warning(
                f'a message on {topic} is left out: {type(error).__name__}: '
                f'{one_line(str(error))}',
                throttle_duration_sec=_THROTTLE,
            )

    return call


class ImageGate(MutuallyExclusiveCallbackGroup):  # type: ignore[misc]
    """Callback group that leaves a camera's messages in the middleware until images are wanted.

    rclpy converts each message that it takes: milliseconds for an image that may not be used. One
    is still let through now and then, since a silent camera is noticed by what is taken.

    longest: longest time to stay closed, seconds.
    """

    def __init__(self, node: Node, longest: Callable[[], float]) -> None:
        super().__init__()
        self._node = node
        self._longest = longest
        self.closed: Optional[float] = None
        """Since when, in steady seconds; None if it is open."""
        self.begun = 0.0
        """When rclpy began to take the last image."""

    def can_execute(self, entity: Any) -> bool:
        """Whether the executor may wait for images and reports of lost ones.

        For both or neither: with Fast DDS, an image left waiting wakes the wait for its reader's
        events at once.
        """
        closed = self.closed
        if closed is not None and monotonic() - closed < self._longest():
            return False
        return bool(super().can_execute(entity))

    def beginning_execution(self, entity: Any) -> bool:
        """Called by rclpy just before it takes the message."""
        self.begun = monotonic()
        return bool(super().beginning_execution(entity))

    def open(self) -> None:
        """Let the next image through; from any thread."""
        if self.closed is None:
            return
        self.closed = None
        executor = self._node.executor
        if executor:
            with suppress(InvalidHandle, AttributeError):  # it is shut down in its own thread
                executor.wake()


class VisionMessages(NamedTuple):
    """The two message types of vision_msgs that are used."""

    label_info: Any
    vision_class: Any


def vision_messages() -> Optional[VisionMessages]:
    """Import vision_msgs (LabelInfo needs 4.1 or later); None where it is not installed."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    return VisionMessages(LabelInfo, VisionClass)


def label_info_message(types: VisionMessages, class_map: ClassMap, header: Header) -> Any:
    """vision_msgs/LabelInfo of a class map. A value that is not in it (255) is unlabelled."""
    message = types.label_info()
    message.header = header
    message.class_map = [
        types.vision_class(class_id=entry.train_id, class_name=entry.name)
        for entry in class_map.classes
    ]
    message.threshold = 0.0
    return message
