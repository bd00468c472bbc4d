# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""JPEG files: whole ones are decoded, damaged ones refused.

JPEG has no checksum. A decoder that loses synchronisation in the entropy-coded data goes on with
whatever the bits happen to mean, fills what is missing with grey, and returns a picture all the
same. Three things give a damaged image away:

- libjpeg-turbo's warnings (premature end of data, extraneous bytes, invalid codes, restart markers
  out of order), which simplejpeg raises and OpenCV only prints;
- block means (DC coefficients) that no 8-bit image has. Each is coded as the difference from the
  one before, so a misread code shifts all later blocks, most often beyond black or white. Decoding
  clips that away; `_check_block_means` looks before it is clipped;
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
"""Segments that decoding a scan needs, besides the quantization tables."""

# An Adobe segment that says "no colour transform": Y, Cb and Cr are returned as they are coded.
_AS_CODED = b'\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00'

_SLACK = 6.0
"""Grey levels that a block's mean may lie outside 0..255, besides its quantization error."""


class _Segment(NamedTuple):
    marker: int
    begin: int
    end: int


class _Header(NamedTuple):
    """Everything before the entropy-coded data.

    tables: number of the quantization table of each plane. scan: offset of the entropy-coded data.
    """

    height: int
    width: int
    progressive: bool
    tables: List[int]
    segments: List[_Segment]
    scan: int


def decode_jpeg(data: bytes, max_megapixels: float) -> np.ndarray:
    """Decode to (H, W, 3) uint8 BGR, or (H, W) of one channel.

    Raises FrameError for a damaged image, or one that is too large.

    A file that only lacks its end marker counts as whole, and so does one with zeros before it.
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
        # Cameras pad their buffers with zeros. Where the zeros are in place of lost data, decoding
        # without them still fails, since the data end too early.
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
    """Raise ValueError where the mean of an 8x8 block lies outside what 8 bits can hold.

    The file is decoded again at an eighth of its size, one pixel for each block, with quantization
    tables that halve the DC coefficients (about mid-grey) and zero all others. Means of twice the
    8-bit range are then decoded without clipping.
    """
    narrowed, steps = _narrowed(data, header)
    colours = 'RGB' if len(header.tables) == 3 else 'GRAY'
    means = np.asarray(library.decode_jpeg(narrowed, colours, min_height=1, min_width=1))
    for plane, table in enumerate(header.tables):  # of means (H/8, W/8, planes)
        step, narrowed_step = steps.get(table, (0, 0))
        if step < 2:
            continue  # cannot be halved, so an outlier is clipped here, too
        factor = step / narrowed_step
        # A coefficient of n is a mean of n / 8, rounded to half a step; means are whole numbers.
        slack = _SLACK + step / 16 + factor / 2
        low = 128 + (float(means[..., plane].min()) - 128) * factor
        high = 128 + (float(means[..., plane].max()) - 128) * factor
        if low < -slack or high > 255 + slack:
            raise ValueError(
                f'blocks of {low:.0f} to {high:.0f}, where 0 to 255 are possible: a part of the '
                'data is missing or wrong'
            )


def _narrowed(data: bytes, header: _Header) -> Tuple[bytes, Dict[int, Tuple[int, int]]]:
    """The file with halved DC and no AC coefficients, and each table's DC step: old and new.

    Of a progressive file only the first scan, which has the DC coefficients.
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
    """A segment of quantization tables with half the DC step, and zeros for AC.

    Zeros also keep libjpeg from smoothing the blocks of a progressive file of one scan.
    """
    result, offset = bytearray(content), 4
    while offset < len(content):
        kind = np.dtype('>u2' if content[offset] >> 4 else 'u1')
        table, begin = content[offset] & 15, offset + 1
        offset = begin + 64 * kind.itemsize
        if offset > len(content):
            raise ValueError('a quantization table is cut off')
        step = int(np.frombuffer(content, kind, 1, begin)[0])
        values = np.zeros(64, kind)
        values[0] = max(step // 2, 1)
        steps[table] = (step, int(values[0]))
        result[begin:offset] = values.tobytes()
    return bytes(result)


def _scan_end(data: bytes, start: int) -> int:
    """Where the entropy-coded data from `start` on end: at the first marker but restarts."""
    while True:
        start = data.find(b'\xff', start)
        if start < 0 or start + 1 >= len(data):
            return len(data)
        if data[start + 1] != 0 and data[start + 1] not in _NO_LENGTH:
            return start
        start += 2


def _read_header(data: bytes) -> _Header:
    """Read the header; raises FrameError where it is not that of a whole JPEG."""
    segments = list(_segments(data))
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if not frames or segments[-1].marker != _SCAN:
        raise FrameError(f'undecodable JPEG image of {len(data)} bytes: its header is incomplete')
    marker, begin, end = frames[0]
    head = data[begin + 4 : end]
    count = head[5] if len(head) > 5 else 0
    if not 1 <= count <= 4 or len(head) < 6 + 3 * count:
        raise FrameError(f'undecodable JPEG image of {len(data)} bytes: its frame header is cut')
    tables = [head[component + 2] for component in range(6, 6 + 3 * count, 3)]
    height, width = head[1] << 8 | head[2], head[3] << 8 | head[4]
    progressive = marker in _PROGRESSIVE
    return _Header(height, width, progressive, tables, segments, segments[-1].end)


def _segments(data: bytes) -> Iterator[_Segment]:
    """Segments up to and including the first scan's header, or as far as they are valid."""
    start = len(HEAD)
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:  # fill byte
            start += 1
            continue
        if marker in _NO_LENGTH:
            start += 2
            continue
        end = start + 2 + (data[start + 2] << 8 | data[start + 3])
        if end < start + 4 or end > len(data):
            return
        yield _Segment(marker, start, end)
        if marker == _SCAN:
            return
        start = end


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
