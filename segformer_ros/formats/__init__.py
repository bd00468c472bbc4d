# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Image files in memory: decoding to pixels, and 16-bit images as 8 bits."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Callable, Dict, Optional

import cv2
import numpy as np

from segformer_ros.errors import reason
from segformer_ros.formats import jpeg, png
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError, check_size
from segformer_ros.formats.video import decode_packet

# Images of 10- or 12-bit sensors are published with 16 bits, mostly in the low ones. Nothing in
# the message says so, and taken for 16 bits the picture is nearly black.
BITS = (8, 10, 12, 14, 16)
"""Bit depths of sensors."""


def bits_of(largest: int) -> int:
    """The least bit depth that holds a value."""
    return next(bits for bits in BITS if largest >> bits == 0)


class BitDepth:
    """How many low bits of 16 one camera's images use.

    bits: one of BITS; 0 to learn it from the images: raised whenever one has a larger value.
    say: called with a note when it was raised.
    """

    def __init__(self, bits: int = 0, say: Optional[Callable[[str], object]] = None) -> None:
        self.bits = bits
        self._learns = bits == 0
        self._say = say

    def reduced(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W[, C]) uint16 as uint8; raises FrameError where they do not fit."""
        largest = int(pixels.max())
        if largest >> self.bits:
            self._exceeded(largest)
        return (pixels >> (self.bits - 8)).astype(np.uint8)

    def _exceeded(self, largest: int) -> None:
        if not self._learns:
            raise FrameError(
                f'it has values up to {largest}, which the {self.bits} bits that the camera is '
                f'taken to have cannot hold: give {bits_of(largest)} bits'
            )
        self.bits = bits_of(largest)
        if self._say and self.bits < BITS[-1]:
            self._say(deep_note(self.bits, largest))


def deep_note(bits: int, largest: int) -> str:
    """One line for the user on the bit depth found in 16-bit images."""
    return (
        f'images of 16 bits with values up to {largest} are taken to hold {bits}, and are scaled '
        'by that'
    )


FULL = BitDepth(16)
"""All 16 bits count."""


_OTHERS: Dict[bytes, str] = {
    b'BM': 'bmp',
    b'RIFF': 'webp',
    b'II*\0': 'tiff',
    b'MM\0*': 'tiff',
    b'P5': 'pgm',
    b'P6': 'ppm',
}
"""FFmpeg's decoder of a file, by the file's first bytes."""


def decode(
    data: np.ndarray,
    kind: str = '',
    max_megapixels: float = MAX_MEGAPIXELS,
    depth: BitDepth = FULL,
) -> np.ndarray:
    """Decode an image file held in (N,) uint8 bytes to (H, W, 3) uint8 BGR.

    JPEG, PNG, BMP, WebP, TIFF or PPM. `kind` is only named in errors. depth: how 16-bit values
    become 8 bits. Raises FrameError for data that are empty, damaged, of another kind or of more
    than `max_megapixels`; nothing is allocated for those.
    """
    pixels = decode_stored(data, kind, max_megapixels)
    if pixels.dtype != np.uint8:
        pixels = depth.reduced(pixels)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)) if pixels.ndim == 2 else pixels


def decode_stored(
    data: np.ndarray, kind: str = '', max_megapixels: float = MAX_MEGAPIXELS
) -> np.ndarray:
    """As `decode`, but as stored: (H, W) of one channel or (H, W, 3) BGR, uint8 or uint16."""
    raw = data.tobytes()
    if raw.startswith(jpeg.HEAD):
        return jpeg.decode_jpeg(raw, max_megapixels)
    if raw.startswith(png.HEAD):
        return png.read_picture(raw, max_megapixels)
    codec = next((name for head, name in _OTHERS.items() if raw.startswith(head)), '')
    if codec:
        return _decode_other(raw, codec, max_megapixels)
    raise FrameError(
        f'compressed image of format {kind!r} ({len(raw)} bytes) is not a JPEG, PNG, BMP, WebP, '
        'TIFF or PPM'
    )


def _decode_other(raw: bytes, codec: str, max_megapixels: float) -> np.ndarray:
    """Decode a file with FFmpeg: uint8, or uint16 if it has more than 8 bits."""
    import av

    context = av.CodecContext.create(codec, 'r')
    context.options = {'max_pixels': str(round(max_megapixels * 1e6))}
    pictures, fault = decode_packet(lambda: context.decode(av.Packet(raw)), codec)
    if fault or not pictures:
        if context.width and context.height:  # known where it was refused for that
            check_size(context.height, context.width, max_megapixels)
        raise FrameError(
            f'undecodable {codec.upper()} image of {len(raw)} bytes: {fault or "no picture"}'
        )
    (picture,) = pictures
    check_size(picture.height, picture.width, max_megapixels)
    grey = len(picture.format.components) == 1 and not picture.format.has_palette
    if picture.format.components[0].bits > 16:
        raise FrameError(
            f'{codec.upper()} image of {picture.format.name}: the range of its values is not '
            'known; convert it to 8 or 16 bits'
        )
    if picture.format.components[0].bits > 8:
        pixels = picture.to_ndarray(format='gray16le' if grey else 'rgb48le')
        return pixels if grey else np.ascontiguousarray(pixels[..., ::-1])
    return np.asarray(picture.to_ndarray(format='gray' if grey else 'bgr24'))


def decode_labels(
    data: np.ndarray,
    kind: str = '',
    max_megapixels: float = MAX_MEGAPIXELS,
    colours: bool = False,
) -> np.ndarray:
    """Values of a PNG file of labels, held in (N,) uint8 bytes, as they are stored.

    (H, W) uint8 or uint16 of a grey or palette image; (H, W, 3) BGR or (H, W, 4) BGRA of a colour
    image. colours: expand a grey or palette image to its colours, too. Raises FrameError as
    `decode` does, and for JPEG, whose values are only near the class ids.
    """
    raw = data.tobytes()
    if raw.startswith(jpeg.HEAD):
        raise FrameError(
            f'labels of format {kind!r} are not PNG but JPEG, which changes values; they need a '
            'lossless format'
        )
    if not raw.startswith(png.HEAD):
        raise FrameError(f'labels of format {kind!r} are not PNG; they need a lossless format')
    stored = png.read_stored(raw, max_megapixels)
    return png.read_colours(raw, max_megapixels) if colours and stored.ndim == 2 else stored


def decode_npy(data: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """An array written by numpy.save, (H, W) of integers or bools; raises FrameError."""
    file = BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header: Any = getattr(np.lib.format, f'read_array_header_{version[0]}_0')
        shape, fortran, kind = read_header(file)
    except Exception as error:  # NumPy parses the header as Python source, with its errors
        raise FrameError(f'it is not a NumPy array ({reason(error)})') from error
    plane = tuple(side for side in shape if side != 1) if len(shape) == 3 else shape
    if len(plane) != 2 or kind.kind not in 'bui':
        raise FrameError(
            f'an array of shape {shape} and type {kind} is not a (height, width) array of ids'
        )
    check_size(plane[0], plane[1], max_megapixels)
    if len(data) - file.tell() != plane[0] * plane[1] * kind.itemsize:
        raise FrameError(f'truncated array: {len(data)} bytes of shape {shape} and type {kind}')
    values = np.frombuffer(data, kind, offset=file.tell())
    values = values.reshape(plane, order='F' if fortran else 'C')
    return values.astype(np.uint8) if kind.kind == 'b' else np.ascontiguousarray(values)
