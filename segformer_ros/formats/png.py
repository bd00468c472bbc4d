# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""PNG files: checked and decompressed within limits, before a decoder sees them.

libpng and OpenCV allocate whatever a chunk's header claims, and print their complaints. Here they
are given a file rebuilt from checked parts, which gives them no reason for either.
"""

from __future__ import annotations

import struct
import zlib
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.formats.limits import FrameError, check_ratio, check_size

HEAD = b'\x89PNG\r\n\x1a\n'

_IMAGE_HEADER = struct.Struct('>IIBBBBB')

_CHANNELS: Dict[int, Tuple[int, Tuple[int, ...]]] = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
"""Channels of each colour type, and the depths in bits that it may have (PNG, 11.2.1)."""

_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_PICTURE = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_GREY, _PALETTE = 0, 3
_WHOLE = ((0, 0, 1, 1),)
_INTERLACED = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row of each pass, and its steps of columns and rows (PNG, 8.2)."""
_LAST_FILTER = 4


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlaced: int

    @property
    def passes(self) -> Iterator[_Pass]:
        """The passes that the image is stored in, in order; one unless it is interlaced."""
        bits = _CHANNELS[self.colour][0] * self.depth
        for left, top, across, down in _INTERLACED if self.interlaced else _WHOLE:
            columns = (self.width - left + across - 1) // across
            rows = (self.height - top + down - 1) // down
            if columns > 0 and rows > 0:
                places = (slice(top, None, down), slice(left, None, across))
                yield _Pass(rows, columns, 1 + (columns * bits + 7) // 8, places)


class _Pass(NamedTuple):
    """One pass over an image. row_bytes: with the filter's. places: its pixels in the image."""

    rows: int
    columns: int
    row_bytes: int
    places: Tuple[slice, slice]


class _Unpacked(NamedTuple):
    """The checked parts of a file. scanlines: decompressed, still filtered."""

    header: _Header
    palette: bytes
    transparency: bytes
    scanlines: bytes


def read_colours(data: bytes, max_megapixels: float) -> np.ndarray:
    """Pixels of a PNG file as colours, (H, W, 3) uint8 BGR; raises FrameError."""
    return _decoded(_plain(_unpacked(data, max_megapixels)), _COLOUR)


def read_picture(data: bytes, max_megapixels: float) -> np.ndarray:
    """Pixels of a PNG file as a picture: grey (H, W) or (H, W, 3) BGR, uint8 or uint16.

    Raises FrameError.
    """
    return _decoded(_plain(_unpacked(data, max_megapixels)), _PICTURE)


def read_stored(data: bytes, max_megapixels: float) -> np.ndarray:
    """Values of a PNG file as they are stored, without scaling; raises FrameError.

    (H, W) uint8 of one channel of 1 to 8 bits, or of indices into a palette; (H, W) uint16 of one
    channel of 16 bits; of colours (H, W, 3) BGR, with alpha (H, W, 4) BGRA, uint8 or uint16.
    """
    image = _unpacked(data, max_megapixels)
    header = image.header
    if header.colour not in (_GREY, _PALETTE) or header.depth > 8:
        # A pixel keeps its colour, even where the file declares that colour transparent.
        return _decoded(_plain(image._replace(transparency=b'')), cv2.IMREAD_UNCHANGED)
    values = np.empty((header.height, header.width), np.uint8)
    shifts = np.arange(8 - header.depth, -1, -header.depth, dtype=np.uint8)  # (8 / depth,)
    offset = 0
    for rows, columns, row_bytes, places in header.passes:
        scanlines = image.scanlines[offset : offset + rows * row_bytes]
        offset += len(scanlines)
        # Filters of pixels below 8 bits work on whole bytes, so the scanlines are also those of an
        # 8-bit grey image, one pixel for each byte; libpng unfilters that, unscaled.
        grey = _Header(row_bytes - 1, rows, 8, _GREY, 0, 0, 0)
        packed = _decoded(_plain(_Unpacked(grey, b'', b'', scanlines)), cv2.IMREAD_UNCHANGED)
        parts = packed[..., None] >> shifts & (1 << header.depth) - 1  # (rows, bytes, 8 / depth)
        values[places] = parts.reshape(rows, -1)[:, :columns]
    return values


def _unpacked(data: bytes, max_megapixels: float) -> _Unpacked:
    """The checked parts of a file; of an animation its first image.

    Raises FrameError where it is truncated, damaged (each chunk has a checksum) or too large.
    """
    chunks = _read_chunks(data)
    header = _read_header(chunks[b'IHDR'], len(data))
    check_size(header.height, header.width, max_megapixels)
    size = sum(part.rows * part.row_bytes for part in header.passes)
    packed = chunks[b'IDAT']
    check_ratio(size, len(packed), 'PNG image')
    scanlines = _unpack(packed, size)
    _check_filters(scanlines, header)
    palette, transparency = b'', chunks[b'tRNS']
    if header.colour == _PALETTE:
        palette = chunks[b'PLTE']
        if not palette or len(palette) % 3 or len(palette) > 3 << 8:
            raise FrameError(f'damaged PNG image: a palette of {len(palette)} bytes')
        palette = palette.ljust(3 << header.depth, b'\0')[: 3 << header.depth]
        transparency = transparency[: 1 << header.depth]
    elif len(transparency) != {0: 2, 2: 6}.get(header.colour):
        transparency = b''
    return _Unpacked(header, palette, transparency, scanlines)


def _plain(image: _Unpacked) -> bytes:
    """A PNG file of these parts, its pixels stored uncompressed."""
    parts: List[bytes] = [HEAD, *_chunk(b'IHDR', _IMAGE_HEADER.pack(*image.header))]
    for name, content in ((b'PLTE', image.palette), (b'tRNS', image.transparency)):
        if content:
            parts += _chunk(name, content)
    parts += _chunk(b'IDAT', zlib.compress(image.scanlines, 0))
    parts += _chunk(b'IEND', b'')
    return b''.join(parts)


def _decoded(plain: bytes, flags: int) -> np.ndarray:
    pixels: Optional[np.ndarray]
    try:
        pixels = cv2.imdecode(np.frombuffer(plain, np.uint8), flags)
    except cv2.error as error:
        raise FrameError(f'undecodable PNG image of {len(plain)} bytes: {error}') from error
    if pixels is None:
        raise FrameError(f'undecodable PNG image of {len(plain)} bytes')
    return np.asarray(pixels)


def _read_chunks(data: bytes) -> Dict[bytes, bytes]:
    """Contents of the chunks that the image needs by name, b'' for missing ones."""
    contents: Dict[bytes, bytes] = dict.fromkeys((b'IHDR', b'PLTE', b'tRNS'), b'')
    packed = []
    end = len(HEAD)
    while True:
        begin = end + 8
        if begin > len(data):
            raise FrameError(f'truncated PNG image: {len(data)} bytes without its end')
        length, name = struct.unpack_from('>I4s', data, end)
        end = begin + length + 4
        if end > len(data):
            raise FrameError(
                f'truncated PNG image: {len(data)} bytes, but a chunk claims {length} more'
            )
        if name == b'IEND':
            break
        if name != b'IDAT' and name not in contents:
            continue
        content = data[begin : begin + length]
        if zlib.crc32(content, zlib.crc32(name)) != struct.unpack_from('>I', data, end - 4)[0]:
            raise FrameError(
                f'damaged PNG image of {len(data)} bytes: the checksum of a chunk does not fit'
            )
        if name == b'IDAT':
            packed.append(content)
        elif not packed:
            contents[name] = content
    contents[b'IDAT'] = b''.join(packed)
    return contents


def _read_header(content: bytes, size: int) -> _Header:
    if len(content) != _IMAGE_HEADER.size:
        raise FrameError(f'undecodable PNG image of {size} bytes: it has no header')
    header = _Header(*_IMAGE_HEADER.unpack(content))
    depths = _CHANNELS.get(header.colour, (0, ()))[1]
    odd = header.compression or header.filtering or header.interlaced > 1
    if header.depth not in depths or odd:
        raise FrameError(f'undecodable PNG image of {size} bytes: header {tuple(header)}')
    return header


def _unpack(packed: bytes, size: int) -> bytes:
    """Decompress to exactly `size` bytes of scanlines; raises FrameError."""
    inflate = zlib.decompressobj()
    try:
        scanlines = inflate.decompress(packed, size + 1)
    except zlib.error as error:
        raise FrameError(f'damaged PNG image: {error}') from error
    if len(scanlines) != size or not inflate.eof:
        raise FrameError(
            f'damaged PNG image: {len(scanlines)} bytes of pixels or more, its header says {size}'
        )
    return scanlines


def _check_filters(scanlines: bytes, header: _Header) -> None:
    """Raise FrameError where a row begins with a filter that does not exist."""
    values, at = np.frombuffer(scanlines, np.uint8), 0
    for rows, _, row_bytes, _ in header.passes:
        if int(values[at : at + rows * row_bytes : row_bytes].max()) > _LAST_FILTER:
            raise FrameError('damaged PNG image: a row has a filter that does not exist')
        at += rows * row_bytes


def _chunk(name: bytes, content: bytes) -> Tuple[bytes, ...]:
    """A chunk in its parts."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack('>I', len(content)), name, content, struct.pack('>I', checksum)
