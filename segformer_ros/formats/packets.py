# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Packets of compressed video: of which codec they are, and at which decoding may begin."""

from __future__ import annotations

from typing import Callable, Dict, Iterator, NamedTuple, Tuple

from segformer_ros.formats.limits import FrameError

_CODECS: Dict[str, Tuple[str, ...]] = {
    'h264': ('h264', 'x264', 'avc', 'h.264'),
    'hevc': ('h265', 'x265', 'hevc', 'h.265'),
    'vp9': ('vp9',),
    'libdav1d': ('av1',),
    'vp8': ('vp8', 'libvpx'),
    'mjpeg': ('mjpeg',),
    'mpeg4': ('mpeg4',),
}
"""FFmpeg's decoders, and what is in the names of messages' formats and encoders."""


def find_codec(name: str) -> str:
    """The decoder for a message's format, such as 'h264' or 'hevc_nvenc'; '' for no video."""
    words = name.lower()
    return next((codec for codec, parts in _CODECS.items() if any(p in words for p in parts)), '')


class Access(NamedTuple):
    """What a packet is to a decoder.

    key: it refers to nothing before it. start: decoding may begin at it. leading: it refers to
    what stands before the key frame that it follows. empty: it holds no picture.
    """

    key: bool
    start: bool
    leading: bool = False
    empty: bool = False


def access_of(codec: str, data: bytes, flagged: bool = False) -> Access:
    """Read a packet's first bits; raises FrameError where it is not of the codec.

    flagged: whether its message calls it a key frame; used for codecs that are not parsed here.
    """
    if not data:
        raise FrameError('a video packet without data')
    read = _ACCESS.get(codec)
    if read is not None:
        return read(data)
    return Access(flagged, flagged)


def _h264(data: bytes) -> Access:
    kinds = {data[at] & 31 for at in _units(data)}  # Recommendation H.264, table 7-1
    key, slices = 5 in kinds, kinds & {1, 2, 5}
    return Access(key, 7 in kinds and (key or not slices), empty=not slices)


def _hevc(data: bytes) -> Access:
    kinds = {data[at] >> 1 & 63 for at in _units(data)}  # Recommendation H.265, table 7-1
    slices = {kind for kind in kinds if kind < 32}
    key = any(16 <= kind <= 21 for kind in slices)
    leading = bool(slices & {8, 9})
    return Access(key, 33 in kinds and (key or not slices), leading, not slices)


def _vp9(data: bytes) -> Access:
    if data[0] >> 6 != 2:
        raise FrameError(f'a packet that begins with {data[0]:#04x} is no VP9')
    shown_again, frame_type = (2, 1) if data[0] >> 4 & 3 == 3 else (3, 2)  # profile 3: one bit on
    key = not (data[0] >> shown_again & 1 or data[0] >> frame_type & 1)
    return Access(key, key)


def _vp8(data: bytes) -> Access:
    key = not data[0] & 1  # RFC 6386, 9.1
    return Access(key, key)


def _av1(data: bytes) -> Access:
    kinds, key, at = set(), False, 0
    while at < len(data):  # AV1 Bitstream & Decoding Process Specification, 5.3
        head = data[at]
        kind, at = head >> 3 & 15, at + (2 if head & 4 else 1)
        size = len(data) - at
        if head & 2:
            size, at = _leb128(data, at)
        kinds.add(kind)
        if head & 0x80 or at + size > len(data):
            raise FrameError(f'a packet of {len(data)} bytes is no AV1, or cut')
        if kind in (3, 6) and size:
            key = key or data[at] & 0xE0 == 0  # not an existing frame, of the type KEY_FRAME
        at += size
    return Access(key, key and 1 in kinds, empty=not kinds & {3, 6})


def _leb128(data: bytes, at: int) -> Tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 8]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise FrameError(f'a packet of {len(data)} bytes is no AV1, or cut')


_ACCESS: Dict[str, Callable[[bytes], Access]] = {
    'h264': _h264,
    'hevc': _hevc,
    'vp9': _vp9,
    'libdav1d': _av1,
    'vp8': _vp8,
    'mjpeg': lambda data: Access(True, True),
}


def _units(data: bytes) -> Iterator[int]:
    """Where the NAL units of a packet begin, behind their start codes (annex B)."""
    at = data.find(b'\0\0\1')
    if not 0 <= at <= 1:
        raise FrameError(
            f'a packet of {len(data)} bytes does not begin with a start code (00 00 01): H.264 '
            'and H.265 are read as Annex B has them'
        )
    while 0 <= at < len(data) - 3:
        yield at + 3
        at = data.find(b'\0\0\1', at + 3)
