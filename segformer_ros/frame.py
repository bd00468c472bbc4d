# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frame, a camera image as the engines take it, and Segmentation, an engine's result for it.

A message's pixels are not copied.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

import cv2
import numpy as np

from segformer_ros.errors import one_line
from segformer_ros.formats import FULL, BitDepth, decode_stored
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError, check_size

__all__ = ['Frame', 'FrameError', 'Stamp', 'to_bgr']

PACKED_CHANNELS: Dict[str, int] = {'bgr8': 3, 'rgb8': 3, 'bgra8': 4, 'rgba8': 4, 'mono8': 1}
"""Encodings whose pixels are used in place."""

BY_CHANNELS = {1: 'mono8', 3: 'bgr8', 4: 'bgra8'}
"""Default encoding of an array by its number of channels, as in OpenCV."""

ALIASES: Dict[str, str] = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8'}

TO_BGR: Dict[str, int] = {
    'rgb8': cv2.COLOR_RGB2BGR,
    'bgra8': cv2.COLOR_BGRA2BGR,
    'rgba8': cv2.COLOR_RGBA2BGR,
    'mono8': cv2.COLOR_GRAY2BGR,
}
"""OpenCV's conversion to BGR of each packed encoding except bgr8 itself."""

HEADER_BYTES = 12
"""Least length of a serialized message with a stamp: encapsulation, sec, nanosec."""


class Stamp(NamedTuple):
    """Time of a message, unchanged: seconds and nanoseconds since the epoch."""

    sec: int = 0
    nanosec: int = 0

    @property
    def ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self.sec * 1_000_000_000 + self.nanosec

    @classmethod
    def from_ns(cls, nanoseconds: int) -> Stamp:
        """Split nanoseconds since the epoch."""
        return cls(*divmod(nanoseconds, 1_000_000_000))

    @classmethod
    def of_message(cls, data: Union[bytes, memoryview]) -> Stamp:
        """Stamp of a CDR message that begins with a std_msgs/Header; struct.error if truncated."""
        # Four bytes of encapsulation, the second of which tells the byte order; sec; nanosec.
        order = '<' if data[1] & 1 else '>'
        return cls(*struct.unpack_from(f'{order}iI', data, 4))


class _Converted(NamedTuple):
    """How to convert an encoding that is not packed 8-bit colour to BGR."""

    code: Optional[int]
    """OpenCV colour conversion of 8-bit data; None if only the depth changes."""
    channels: int = 1
    depth: int = 8
    rows: float = 1.0
    """Rows of data for each row of the image (planar 4:2:0 has half as many again)."""


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first two
# rows: bayer_rggb is OpenCV's BayerBG.
_CONVERTED: Dict[str, _Converted] = {
    'bayer_rggb8': _Converted(cv2.COLOR_BayerBG2BGR),
    'bayer_bggr8': _Converted(cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg8': _Converted(cv2.COLOR_BayerGR2BGR),
    'bayer_grbg8': _Converted(cv2.COLOR_BayerGB2BGR),
    'bayer_rggb16': _Converted(cv2.COLOR_BayerBG2BGR, depth=16),
    'bayer_bggr16': _Converted(cv2.COLOR_BayerRG2BGR, depth=16),
    'bayer_gbrg16': _Converted(cv2.COLOR_BayerGR2BGR, depth=16),
    'bayer_grbg16': _Converted(cv2.COLOR_BayerGB2BGR, depth=16),
    'yuv422': _Converted(cv2.COLOR_YUV2BGR_UYVY, channels=2),
    'uyvy': _Converted(cv2.COLOR_YUV2BGR_UYVY, channels=2),
    'yuv422_yuy2': _Converted(cv2.COLOR_YUV2BGR_YUY2, channels=2),
    'yuyv': _Converted(cv2.COLOR_YUV2BGR_YUY2, channels=2),
    'nv12': _Converted(cv2.COLOR_YUV2BGR_NV12, rows=1.5),
    'nv21': _Converted(cv2.COLOR_YUV2BGR_NV21, rows=1.5),
    'mono16': _Converted(cv2.COLOR_GRAY2BGR, depth=16),
    'bgr16': _Converted(None, channels=3, depth=16),
    'rgb16': _Converted(cv2.COLOR_RGB2BGR, channels=3, depth=16),
    'bgra16': _Converted(cv2.COLOR_BGRA2BGR, channels=4, depth=16),
    'rgba16': _Converted(cv2.COLOR_RGBA2BGR, channels=4, depth=16),
}


DEPTH_ENCODINGS = ('16UC1', '32FC1')
"""Encodings of depth images (REP 118), which hold distances in mm or m."""


@dataclass(frozen=True)
class Frame:
    """One image with its time and its frame of reference.

    pixels: (H, W, C) or, for mono8, (H, W) uint8. For packed 8-bit encodings a view of the
        message's buffer, with rows `step` bytes apart; others are converted once, to bgr8.
    encoding: 'bgr8', 'rgb8', 'bgra8', 'rgba8' or 'mono8'.
    frame_id: the camera's optical frame, as the message names it.
    """

    pixels: np.ndarray = field(repr=False)
    encoding: str = 'bgr8'
    stamp: Stamp = Stamp()
    frame_id: str = ''

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.pixels.shape[1])

    @property
    def size(self) -> Tuple[int, int]:
        """(height, width) of the image."""
        height, width = self.pixels.shape[:2]
        return height, width

    def bgr(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR: the pixels themselves if they are bgr8, else a new array."""
        return to_bgr(self.pixels, self.encoding)

    @classmethod
    def from_array(
        cls,
        pixels: np.ndarray,
        encoding: str = 'bgr8',
        stamp: Stamp = Stamp(),
        frame_id: str = '',
    ) -> Frame:
        """Wrap an array of a packed 8-bit encoding; raises FrameError where they do not match."""
        channels = PACKED_CHANNELS.get(encoding)
        if channels is None:
            raise FrameError(
                f'encoding {encoding!r} of an array; use one of {", ".join(PACKED_CHANNELS)}'
            )
        shape_fits = pixels.ndim == 2 if channels == 1 else pixels.shape[2:] == (channels,)
        if pixels.dtype != np.uint8 or not shape_fits:
            raise FrameError(
                f'array of shape {pixels.shape} and type {pixels.dtype} is not {encoding}'
            )
        check_size(pixels.shape[0], pixels.shape[1], math.inf)
        return cls(pixels, encoding, stamp, frame_id)

    @classmethod
    def from_image(
        cls, message: Any, max_megapixels: float = MAX_MEGAPIXELS, depth: BitDepth = FULL
    ) -> Frame:
        """View a sensor_msgs/Image (of rclpy or of rosbags); raises FrameError.

        depth: how many bits are significant in 16-bit encodings.
        """
        check_size(message.height, message.width, max_megapixels)
        encoding = ALIASES.get(message.encoding, message.encoding)
        if encoding in PACKED_CHANNELS:
            pixels = _view(message, PACKED_CHANNELS[encoding])
        elif encoding in _CONVERTED:
            pixels, encoding = _convert(message, _CONVERTED[encoding], depth), 'bgr8'
        elif encoding in DEPTH_ENCODINGS:
            raise FrameError(_no_picture(encoding))
        else:
            raise FrameError(
                f"unknown image encoding '{one_line(message.encoding, 80)}'; known are "
                f'{", ".join([*PACKED_CHANNELS, *ALIASES, *_CONVERTED])}'
            )
        stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
        return cls(pixels, encoding, stamp, message.header.frame_id)

    @classmethod
    def from_compressed(
        cls, message: Any, max_megapixels: float = MAX_MEGAPIXELS, depth: BitDepth = FULL
    ) -> Frame:
        """Decode a sensor_msgs/CompressedImage (JPEG, PNG) once, to bgr8; raises FrameError.

        A compressed Bayer mosaic ('bayer_rggb8; jpeg compressed ') is demosaiced.
        """
        pixels, encoding = _decoded(message, max_megapixels)
        if pixels.dtype != np.uint8:
            pixels = depth.reduced(pixels)
        if pixels.ndim == 2:
            code = _CONVERTED[encoding].code if _is_bayer(encoding) else cv2.COLOR_GRAY2BGR
            pixels = _in_colour(pixels, code, encoding)
        stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
        return cls(pixels, 'bgr8', stamp, message.header.frame_id)


def is_depth_image(message: Any) -> bool:
    """Whether an Image or CompressedImage holds distances."""
    encoding = message.encoding if hasattr(message, 'encoding') else _encoding(message)
    return encoding in DEPTH_ENCODINGS


def deep_pixels(message: Any, max_megapixels: float) -> Optional[np.ndarray]:
    """The stored values (H, W[, C]) uint16 of an Image or CompressedImage; None if it has 8 bits.

    Raises FrameError.
    """
    if not hasattr(message, 'encoding'):
        pixels, _ = _decoded(message, max_megapixels)
        return pixels if pixels.dtype == np.uint16 else None
    how = _CONVERTED.get(message.encoding)
    if how is None or how.depth == 8:
        return None
    check_size(message.height, message.width, max_megapixels)
    return _view(message, how.channels, how.depth, how.rows)


def _decoded(message: Any, max_megapixels: float) -> Tuple[np.ndarray, str]:
    """A CompressedImage's stored pixels, and their encoding before compression."""
    encoding = _encoding(message)
    if encoding in DEPTH_ENCODINGS:
        raise FrameError(_no_picture(encoding))
    data = np.frombuffer(message.data, np.uint8)
    pixels = decode_stored(data, message.format, max_megapixels)
    if encoding.startswith('bayer_') and not _is_bayer(encoding):
        raise FrameError(f'format {one_line(message.format, 80)!r} names an unknown Bayer pattern')
    return pixels, encoding


def _encoding(message: Any) -> str:
    """The encoding that image_transport names first in a CompressedImage's format."""
    return str(message.format).partition(';')[0].strip()


def _is_bayer(encoding: str) -> bool:
    return encoding.startswith('bayer_') and encoding in _CONVERTED


def _no_picture(encoding: str) -> str:
    return (
        f'an image of {encoding} is a depth image (REP 118), no picture; choose the topic of the '
        "camera's image (16 bits of grey are mono16)"
    )


def to_bgr(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Pixels of a packed encoding as (H, W, 3) uint8 BGR; bgr8 is returned as it is."""
    if encoding == 'bgr8':
        return pixels
    if pixels.shape == (1, 1, 3):  # which OpenCV 4.5.4, that of Ubuntu 22.04, refuses
        return np.ascontiguousarray(pixels[..., ::-1])
    return np.asarray(cv2.cvtColor(pixels, TO_BGR[encoding]))


def _view(message: Any, channels: int, depth: int = 8, rows: float = 1.0) -> np.ndarray:
    """View of the message's pixels: (rows, W) or (rows, W, C), rows `step` bytes apart."""
    height = int(message.height * rows)
    pixel_bytes = channels * depth // 8
    row_bytes = message.width * pixel_bytes
    if message.step < row_bytes:
        raise FrameError(
            f'step of {message.step} bytes is less than a row of {message.width} '
            f'{message.encoding} pixels ({row_bytes} bytes)'
        )
    needed = message.step * (height - 1) + row_bytes
    if len(message.data) < needed:
        raise FrameError(
            f'truncated image: {len(message.data)} bytes of data, but {message.width}x'
            f'{message.height} {message.encoding} with step {message.step} needs {needed}'
        )
    dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
    if depth > 8:
        dtype = dtype.newbyteorder('>' if message.is_bigendian else '<')
    shape: Tuple[int, ...] = (height, message.width)
    strides: Tuple[int, ...] = (message.step, pixel_bytes)
    if channels > 1:
        shape, strides = (*shape, channels), (*strides, depth // 8)
    data = message.data
    if hasattr(data, 'to_bytes') and hasattr(data, 'backend_type'):  # a rosidl Buffer
        data = data.to_bytes()
    return np.ndarray(shape, dtype, buffer=memoryview(data), strides=strides)


def _convert(message: Any, how: _Converted, depth: BitDepth) -> np.ndarray:
    """Convert the message's pixels to a new (H, W, 3) uint8 BGR array."""
    pixels = _view(message, how.channels, how.depth, how.rows)
    if how.depth == 16:
        pixels = depth.reduced(pixels)
    return _in_colour(pixels, how.code, message.encoding)


def _in_colour(pixels: np.ndarray, code: Optional[int], encoding: str) -> np.ndarray:
    """Pixels after OpenCV's conversion `code`, None: unchanged; (H, W, 3) uint8 BGR."""
    try:
        return pixels if code is None else np.asarray(cv2.cvtColor(pixels, code))
    except cv2.error as error:
        raise FrameError(
            f'{encoding} image of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be '
            f'converted (odd sizes do not exist in this encoding): {error}'
        ) from error


class StageTimes(NamedTuple):
    """Milliseconds that one frame took in each stage (its share of the batch's)."""

    preprocess: float
    inference: float
    postprocess: float

    @property
    def total(self) -> float:
        """Sum of the stages in milliseconds."""
        return self.preprocess + self.inference + self.postprocess


class BlockedRows(NamedTuple):
    """The lowest pixel of each column of a label map that is not drivable.

    rows: (W,) int32, -1 where all pixels of a column are drivable. drivable: the train ids that
    count as drivable.
    """

    rows: np.ndarray
    drivable: Tuple[int, ...]


@dataclass(frozen=True)
class Segmentation:
    """Label map of one frame.

    labels: (H, W) uint8 train ids, at the frame's size or a requested one.
    confidence: (H, W) uint8, 0..255 for a probability of 0..1 of the label; None if it was not
        requested or the model gives only labels.
    overlay: (H, W, 3) uint8 BGR, the frame with class colours, at the frame's size; None if it was
        not requested or the engine does not make it.
    blocked: where the labels' columns are blocked; None as for overlay.
    """

    labels: np.ndarray
    times: StageTimes
    confidence: Optional[np.ndarray] = None
    overlay: Optional[np.ndarray] = None
    blocked: Optional[BlockedRows] = None
