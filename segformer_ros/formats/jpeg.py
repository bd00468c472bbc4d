# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""JPEG files: whole ones are decoded, damaged ones refused.

JPEG has no checksum. A decoder that loses its place in the entropy-coded data goes on with
whatever the bits happen to mean, fills with grey what is missing, and gives a picture all the
same. Three things tell that from a whole image:

- libjpeg-turbo's warnings (data that end too early, bytes that are left over, codes that do not
  exist, restart markers out of order), which simplejpeg raises and OpenCV only prints;
- means of blocks that no 8-bit image has. Each block's mean is coded as a difference from the one
  before, so a code that was misread shifts all later blocks, most often to beyond black or white.
  Decoding clips that away; `_check_block_means` looks before it is clipped;
- a size that the data cannot hold.

What passes all three has lost few blocks or little brightness (figures: doc/damaged_images.md).
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import cv2
import numpy as np

from segformer_ros.formats.limits import FrameError, check_ratio, check_size

HEAD = b'\xff\xd8'
_END = b'\xff\xd9'

_QUANTIZATION, _SCAN = 0xDB, 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_PROGRESSIVE = (0xC2, 0xCA)
_NO_LENGTH = (0x01, *range(0xD0, 0xD8))
_DECODING = (*_FRAMES, 0xC4, 0xCC, 0xDD, _SCAN)
"""Segments without which a scan cannot be decoded, the quantization tables left out."""

# An Adobe segment that says: no colour transform. Y, Cb and Cr come out as they are coded.
_AS_CODED = b'\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00'

_SLACK = 6.0
"""Grey levels by which a block's mean may lie outside 0..255, beyond the rounding of its code."""


class _Segment(NamedTuple):
    marker: int
    begin: int
    end: int


class _Header(NamedTuple):
    """What stands before the entropy-coded data.

    tables: number of the quantization table of each plane. scan: where the data begin.
    """

    height: int
    width: int
    progressive: bool
    tables: List[int]
    segments: List[_Segment]
    scan: int


def decode_jpeg(data: bytes, max_megapixels: float) -> np.ndarray:
    """Decode to (H, W, 3) uint8 BGR, or (H, W) of one channel.

    Raises FrameError for what is damaged, or too large.

    A file that lacks its end marker alone is whole, and so is one with zeros before it.
    """
    library, header = _library(), _read_header(data)
    check_size(header.height, header.width, max_megapixels)
    pixels = header.height * header.width * len(header.tables)
    check_ratio(pixels, len(data) - header.scan, 'JPEG image')
    try:
        return _decode_whole(library, data, header)
    except ValueError as error:
        raise FrameError(f'damaged JPEG image of {len(data)} bytes: {_words(error)}') from error


def _decode_whole(library: Any, data: bytes, header: _Header) -> np.ndarray:
    end = data.rfind(_END, header.scan)
    body = data[: end if end >= 0 else len(data)]
    try:
        pixels = _decode_strictly(library, body + _END, header)
    except ValueError as error:
        unpadded = body.rstrip(b'\0')
        if 'extraneous bytes' not in str(error) or len(unpadded) == len(body):
            raise
        # Cameras fill their buffers up with zeros. Where those stand for lost data, the image
        # is too short without them.
        body = unpadded + b'\0' * unpadded.endswith(b'\xff')
        pixels = _decode_strictly(library, body + _END, header)
    if len(header.tables) in (1, 3):
        _check_block_means(library, body + _END, header)
    return pixels


def _decode_strictly(library: Any, data: bytes, header: _Header) -> np.ndarray:
    """(H, W, 3) uint8 BGR, or (H, W), with libjpeg's warnings raised as ValueError."""
    if len(header.tables) == 1:
        return np.asarray(library.decode_jpeg(data, 'GRAY'))[..., 0]
    if len(header.tables) < 4:
        return np.asarray(library.decode_jpeg(data, 'BGR'))
    library.decode_jpeg(data, 'CMYK')  # for the warnings
    packed = np.frombuffer(data, np.uint8)
    pixels = cv2.imdecode(packed, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError('its colours cannot be converted')
    return np.asarray(pixels)


def _check_block_means(library: Any, data: bytes, header: _Header) -> None:
    """Raise ValueError where the mean of a block of 8x8 lies outside what 8 bits can hold.

    The file is decoded again at an eighth of its size, which is one pixel for each block, with
    quantization tables that halve the means and leave everything else out.
    """
    narrowed, steps = _narrowed(data, header)
    colours = 'RGB' if len(header.tables) == 3 else 'GRAY'
    means = np.asarray(library.decode_jpeg(narrowed, colours, min_height=1, min_width=1))
    for plane, table in enumerate(header.tables):  # (H/8, W/8, planes)
        step, narrowed_step = steps.get(table, (0, 0))
        if step < 2:
            continue  # cannot be halved: what is outside is clipped here, too
        factor = step / narrowed_step
        slack = _SLACK + step / 16 + factor / 2  # the codes' rounding, and that of the means
        low = 128 + (float(means[..., plane].min()) - 128) * factor
        high = 128 + (float(means[..., plane].max()) - 128) * factor
        if low < -slack or high > 255 + slack:
            raise ValueError(
                f'blocks of {low:.0f} to {high:.0f}, where 0 to 255 are possible: a part of the '
                'data is missing or wrong'
            )


def _narrowed(data: bytes, header: _Header) -> Tuple[bytes, Dict[int, Tuple[int, int]]]:
    """The file with halved means and no detail, and each table's step for means: old and new.

    Of a progressive file only the first scan, which has the means.
    """
    parts = [HEAD, _AS_CODED]
    steps: Dict[int, Tuple[int, int]] = {}
    for segment in header.segments:
        content = data[segment.begin : segment.end]
        if segment.marker == _QUANTIZATION:
            parts.append(_narrow_tables(content, steps))
        elif segment.marker in _DECODING:
            parts.append(content)
    if header.progressive:
        parts += [data[header.scan : _scan_end(data, header.scan)], _END]
    else:
        parts.append(data[header.scan :])
    return b''.join(parts), steps


def _narrow_tables(content: bytes, steps: Dict[int, Tuple[int, int]]) -> bytes:
    """A segment of quantization tables with half the step for means, and zeros elsewhere.

    Zeros also keep libjpeg from guessing detail into a progressive file of one scan.
    """
    result, at = bytearray(content), 4
    while at < len(content):
        kind = np.dtype('>u2' if content[at] >> 4 else 'u1')
        table, begin, at = content[at] & 15, at + 1, at + 1 + 64 * kind.itemsize
        if at > len(content):
            raise ValueError('a quantization table is cut')
        step = int(np.frombuffer(content, kind, 1, begin)[0])
        values = np.zeros(64, kind)
        values[0] = max(step // 2, 1)
        steps[table] = (step, int(values[0]))
        result[begin:at] = values.tobytes()
    return bytes(result)


def _scan_end(data: bytes, at: int) -> int:
    """Where the entropy-coded data that begin at `at` end: at a marker that is no restart."""
    while True:
        at = data.find(b'\xff', at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] != 0 and data[at + 1] not in _NO_LENGTH:
            return at
        at += 2


def _read_header(data: bytes) -> _Header:
    """Raise FrameError where the header is no JPEG's."""
    segments = list(_segments(data))
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if not frames or segments[-1].marker != _SCAN:
        raise FrameError(f'undecodable JPEG image of {len(data)} bytes: its header is not whole')
    marker, begin, end = frames[0]
    head = data[begin + 4 : end]
    count = head[5] if len(head) > 5 else 0
    if not 1 <= count <= 4 or len(head) < 6 + 3 * count:
        raise FrameError(f'undecodable JPEG image of {len(data)} bytes: its frame header is cut')
    tables = [head[at + 2] for at in range(6, 6 + 3 * count, 3)]
    height, width = head[1] << 8 | head[2], head[3] << 8 | head[4]
    progressive = marker in _PROGRESSIVE
    return _Header(height, width, progressive, tables, segments, segments[-1].end)


def _segments(data: bytes) -> Iterator[_Segment]:
    """Segments up to that which begins the first scan, or as far as they make sense."""
    at = len(HEAD)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in _NO_LENGTH:
            at += 2
            continue
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if end < at + 4 or end > len(data):
            return
        yield _Segment(marker, at, end)
        if marker == _SCAN:
            return
        at = end


def _words(error: ValueError) -> str:
    return str(error).replace('Corrupt JPEG data: ', '')


def _library() -> Any:
    try:
        import simplejpeg
    except ImportError as error:
        raise FrameError(
            'JPEG images need simplejpeg, which tells damaged ones from whole ones: '
            'pip install simplejpeg'
        ) from error
    return simplejpeg
