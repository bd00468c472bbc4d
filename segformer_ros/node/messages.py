"""Fills the image messages: pixels go into the message's buffer in one copy, or none."""

from __future__ import annotations

from array import array
from copy import copy
from typing import Any, Mapping, Tuple

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from segformer_ros.camera import CameraError, image_size, resized_matrices
from segformer_ros.frame import PACKED_CHANNELS


class ImageBuffer:
    """An Image message that is filled again and again, with its pixels as an array.

    Publishing copies the message, so one buffer serves all frames of a topic. Its memory is the
    message's own: what is drawn into `pixels` needs no further copy. rclpy wants an `array`; a
    list or bytes would be checked number by number.
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
        """Copy (H, W) or (H, W, C) uint8 in; the message as it is to be published."""
        np.copyto(self.resize(*pixels.shape[:2]), pixels)
        return self.stamped(header)

    def stamped(self, header: Header) -> Image:
        """Return the message as it is to be published, with the input's header."""
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
        # Not of the array that was assigned: the message may keep a copy.
        return np.frombuffer(message.data, np.uint8).reshape(shape)


def jpeg_message(header: Header, pixels: np.ndarray, quality: int) -> CompressedImage:
    """Encode (H, W, 3) uint8 BGR as a JPEG message."""
    done, data = cv2.imencode('.jpg', pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise ValueError(f'cannot encode an image of {pixels.shape} as JPEG')
    message = CompressedImage(header=header, format='bgr8; jpeg compressed bgr8')
    message.data = byte_array(data)
    return message


def fill(message: Any, fields: Mapping[str, Any]) -> None:
    """Set fields of a message by their names, those of messages within it by mappings.

    Arrays of numbers are of the field's own type and contiguous.
    """
    for name, value in fields.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, np.ndarray) and isinstance(getattr(message, name), array):
            setattr(message, name, byte_array(value, value.dtype.char))
        else:
            setattr(message, name, value)


def byte_array(values: np.ndarray, code: str = 'B') -> array[int]:
    """Copy an array into the kind of array that rclpy takes without looking at each number."""
    result = array(code)
    result.frombytes(np.ascontiguousarray(values).tobytes())
    return result


def camera_info_fits(info: CameraInfo, height: int, width: int) -> bool:
    """Tell whether a CameraInfo is of images of this size."""
    try:
        return image_size(info) == (width, height)
    except CameraError:
        return False


def scaled_camera_info(header: Header, info: CameraInfo, height: int, width: int) -> CameraInfo:
    """Calibration of an image resized to (height, width), from that of the image itself.

    info: of images of a size, see camera_info_fits. Its ROI and binning are worked into K and P,
    so the result has none.
    """
    result = copy(info)
    result.header = header
    if image_size(info) == (info.width, info.height) == (width, height):
        return result
    k, p = resized_matrices(info, width, height)
    result.height, result.width = height, width
    result.k, result.p = k.ravel(), p.ravel()
    result.binning_x = result.binning_y = 0
    result.roi = RegionOfInterest()
    return result
