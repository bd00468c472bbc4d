# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exif: the orientation of a photo, and its focal length (CIPA DC-008, Exif 2.32)."""

from __future__ import annotations

import math
import struct
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np

_ORIENTATION, _DETAILS = 0x0112, 0x8769
_FOCAL_LENGTH, _FOCAL_35MM = 0x920A, 0xA405
_PLANE_X, _PLANE_UNIT, _EXIF_WIDTH = 0xA20E, 0xA210, 0xA002
_WANTED = {
    _ORIENTATION, _DETAILS, _FOCAL_LENGTH, _FOCAL_35MM, _PLANE_X, _PLANE_UNIT, _EXIF_WIDTH
}  # fmt: skip
_MILLIMETRES: Dict[int, float] = {2: 25.4, 3: 10.0, 4: 1.0}
"""Millimetres in each unit of the focal plane's resolution."""
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_MOST_ENTRIES = 1000

_JPEG_HEAD, _PNG_HEAD = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
_TIFF_HEADS = (b'II*\0', b'MM\0*')


class Orientation(NamedTuple):
    """How a stored image is to be turned: x' = a x + c y, y' = b x + d y, each -1, 0 or 1.

    The same as a video's display matrix, without its translation.
    """

    a: int = 1
    b: int = 0
    c: int = 0
    d: int = 1

    @property
    def swaps_sides(self) -> bool:
        """Whether rows become columns."""
        return self.a == 0

    def applied(self, pixels: np.ndarray) -> np.ndarray:
        """The image upright: (H, W, ...) or, where sides are swapped, (W, H, ...)."""
        across, down = self.a, self.d
        if self.swaps_sides:
            pixels, across, down = pixels.swapaxes(0, 1), self.c, self.b
        return np.ascontiguousarray(pixels[:: down or 1, :: across or 1])


UPRIGHT = Orientation()

_ORIENTATIONS: Dict[int, Orientation] = {
    2: Orientation(-1, 0, 0, 1),
    3: Orientation(-1, 0, 0, -1),
    4: Orientation(1, 0, 0, -1),
    5: Orientation(0, 1, 1, 0),
    6: Orientation(0, 1, -1, 0),
    7: Orientation(0, -1, -1, 0),
    8: Orientation(0, -1, 1, 0),
}
"""By Exif's number."""


class Exif(NamedTuple):
    """What a photo's Exif says about how it was taken.

    focal_35mm: 35 mm equivalent focal length in mm; 0 where it is missing.
    plane_pixels: focal length in pixels of an image `plane_width` pixels wide; 0 where missing.
    """

    orientation: Orientation = UPRIGHT
    focal_35mm: float = 0.0
    plane_pixels: float = 0.0
    plane_width: float = 0.0

    def focal_pixels(self, width: int, height: int) -> Optional[float]:
        """Focal length in pixels of the image as it is stored; None where it is missing."""
        if self.plane_pixels > 0 and self.plane_width in (0, width):
            return self.plane_pixels
        if self.focal_35mm > 0:
            return self.focal_35mm / _DIAGONAL_35MM * math.hypot(width, height)
        return None


def read_exif(data: bytes) -> Exif:
    """The Exif of a JPEG, PNG, WebP or TIFF file; defaults where it is missing or damaged."""
    try:
        values = _values(_block(data))
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        return Exif()
    focal, resolution = values.get(_FOCAL_LENGTH, 0.0), values.get(_PLANE_X, 0.0)
    unit = _MILLIMETRES.get(int(values.get(_PLANE_UNIT, 2)), 0.0)
    return Exif(
        _ORIENTATIONS.get(int(values.get(_ORIENTATION, 1)), UPRIGHT),
        values.get(_FOCAL_35MM, 0.0),
        focal * resolution / unit if unit else 0.0,
        values.get(_EXIF_WIDTH, 0.0),
    )


def display_orientation(picture: Any) -> Orientation:
    """How a decoded picture (an av.VideoFrame) is to be turned, by its stream's display matrix."""
    from av.sidedata.sidedata import Type

    matrix = picture.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return UPRIGHT
    # Rows a b u, c d v, x y w; the first four in 16.16 fixed point.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32, 5).tolist()
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return Orientation(_sign(a), 0, 0, _sign(d))
    return Orientation(0, _sign(b), _sign(c), 0)


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


def _block(data: bytes) -> bytes:
    """The part of a file that holds Exif, in TIFF format; b'' where there is none."""
    if data.startswith(_TIFF_HEADS):
        return data
    if data.startswith(_JPEG_HEAD):
        parts = _jpeg_segments(data)
    elif data.startswith(_PNG_HEAD):
        parts = _chunks(data, len(_PNG_HEAD), '>I4s', 4)
    elif data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        parts = _chunks(data, 12, '<4sI', 0)
    else:
        return b''
    block = next((part for name, part in parts if name in (b'\xe1', b'eXIf', b'EXIF')), b'')
    return block[6:] if block.startswith(b'Exif\0\0') else block


def _jpeg_segments(data: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """Markers and contents up to the first scan, without APP1 segments other than Exif."""
    offset = 2
    while data[offset] == 0xFF and data[offset + 1] != 0xDA:
        length = struct.unpack_from('>H', data, offset + 2)[0]
        content = data[offset + 4 : offset + 2 + length]
        if data[offset + 1] != 0xE1 or content.startswith(b'Exif\0\0'):
            yield data[offset + 1 : offset + 2], content
        offset += 2 + length


def _chunks(data: bytes, offset: int, head: str, checksum: int) -> Iterator[Tuple[bytes, bytes]]:
    """Names and contents of the chunks of a PNG or RIFF file, from an offset on.

    head: struct of name and length. checksum: bytes of it after each chunk; 0 for RIFF, which pads
    chunks to an even length instead.
    """
    while offset + 8 <= len(data):
        first, second = struct.unpack_from(head, data, offset)
        name, length = (first, second) if isinstance(first, bytes) else (second, first)
        yield name, data[offset + 8 : offset + 8 + length]
        offset += 8 + length + (checksum or length % 2)


def _values(block: bytes) -> Dict[int, float]:
    """The wanted values of the first TIFF directory, and of the Exif directory that it names."""
    if not block.startswith(_TIFF_HEADS):
        return {}
    order = '<' if block.startswith(b'II') else '>'
    values = _directory(block, order, struct.unpack_from(f'{order}I', block, 4)[0])
    if _DETAILS in values:
        values.update(_directory(block, order, int(values[_DETAILS])))
    return values


def _directory(block: bytes, order: str, start: int) -> Dict[int, float]:
    """Wanted values by tag; entries have 12 bytes: tag, type, count, and value or its offset."""
    values: Dict[int, float] = {}
    count = struct.unpack_from(f'{order}H', block, start)[0]
    for entry in range(start + 2, start + 2 + 12 * min(count, _MOST_ENTRIES), 12):
        tag, kind = struct.unpack_from(f'{order}HH', block, entry)
        if tag not in _WANTED:
            continue
        if kind == 3:  # SHORT
            values[tag] = float(struct.unpack_from(f'{order}H', block, entry + 8)[0])
        elif kind == 4:  # LONG
            values[tag] = float(struct.unpack_from(f'{order}I', block, entry + 8)[0])
        elif kind == 5:  # RATIONAL
            offset = struct.unpack_from(f'{order}I', block, entry + 8)[0]
            numerator, denominator = struct.unpack_from(f'{order}II', block, offset)
            values[tag] = numerator / denominator if denominator else 0.0
    return values
