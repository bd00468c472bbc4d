# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Compressed video, packet by packet: its pictures, as far as they can be trusted.

Decoders conceal damaged or missing data and go on as if nothing had happened. Here a picture is
refused where its data are damaged, and where it refers to a picture that is damaged or missing:
that is, all up to the next key frame. A packet's first bytes tell whether decoding may begin at
it.
"""

from __future__ import annotations

import logging
from collections import deque
from statistics import median
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from segformer_ros.errors import one_line
from segformer_ros.formats.exif import Orientation, display_orientation
from segformer_ros.formats.jpeg import decode_jpeg
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError, check_size

_HARMLESS = ('slice end not reached',)
"""Complaints of FFmpeg about undamaged files, too (MPEG-4, even of its own)."""
_GAP = 'Frame num gap'

_MOST_DELAYED = 20
"""Most pictures that a decoder delays to reorder them: 16 in H.264 and HEVC, and some slack."""
_STEPS, _FEWEST = 9, 4
"""Intervals whose median is the usual one, and how many it needs at least."""
_LONG = 1.7
"""Times the usual interval, above which a message counts as missing."""

SURVEYED = _STEPS + 1
"""Messages before a packet that decide whether there is a gap before it."""


class Gaps:
    """Finds missing messages of a video from the stamps of those that are there.

    An interval is compared with the intervals before it, so that after a few frames a camera that
    became slower is no longer taken for one that loses messages.

    usual_ns: the usual interval; 0 where it is not known.
    """

    def __init__(self, usual_ns: int = 0) -> None:
        self._steps: Deque[int] = deque([usual_ns] * _STEPS if usual_ns else [], maxlen=_STEPS)
        self._last: Optional[int] = None

    def before(self, stamp_ns: int) -> str:
        """Take the next stamp; returns why some seem to be missing before it, '' for none."""
        steps, last, self._last = list(self._steps), self._last, stamp_ns
        if last is None:
            return ''
        step = stamp_ns - last
        self._steps.append(step)
        if len(steps) < _FEWEST or min(steps) <= 0 or step <= _LONG * median(steps):
            return ''
        return (
            f'{step / 1e9:.3f} s lie between it and the one before, where '
            f'{median(steps) / 1e9:.3f} s are usual: some are missing'
        )


class Decoded(NamedTuple):
    """The outcome of a packet: its picture (an av.VideoFrame), or why there is none."""

    place: int
    picture: Any = None
    fault: str = ''


class VideoDecoder:
    """Decodes the packets of one stream, each of which holds one picture.

    codec: as `find_codec` returns it.
    """

    def __init__(self, codec: str, max_megapixels: float) -> None:
        self._codec = codec
        self._max_megapixels = max_megapixels
        self._trust = Trust()
        self._trust.lose('no key frame came before it')
        self._waiting: Dict[int, str] = {}
        self._context = self._opened()

    def push(self, place: int, data: bytes, flagged: bool = False, gap: str = '') -> List[Decoded]:
        """Decode the next packet; the outcomes that it settles, its own and those of earlier ones.

        place: its number, rising. flagged: as of `access_of`. gap: why a picture that it refers to
        may be missing; '' for no gap.
        """
        outcomes: List[Decoded] = []
        if gap:
            outcomes += self.lose(gap)
        try:
            access = access_of(self._codec, data, flagged)
        except FrameError as error:
            return [*outcomes, *self.lose(str(error)), Decoded(place, fault=str(error))]
        if access.empty:
            self._decode(place, data, access)
            return [*outcomes, Decoded(place, fault='it holds no picture')]
        broken = self._trust.broken
        if broken and not access.key:
            return [*outcomes, Decoded(place, fault=broken)]
        if broken:
            outcomes += self.drain()  # nothing decoded before will be referred to again
        self._waiting[place] = ''
        return outcomes + self._decode(place, data, access)

    def lose(self, reason: str) -> List[Decoded]:
        """Note that packets are missing here; the outcomes that were left before."""
        outcomes = self.drain()
        self._trust.lose(reason)
        return outcomes

    def drain(self) -> List[Decoded]:
        """End the stream: the outcomes that were left. Another one may follow."""
        if not self._context.is_open:
            return []
        pictures, _ = decode_packet(lambda: self._context.decode(None), self._codec)
        outcomes = self._outcomes(pictures)
        outcomes += [Decoded(place, fault=_NONE) for place in self._waiting]
        self._waiting.clear()
        self._context.flush_buffers()
        return outcomes

    def _decode(self, place: int, data: bytes, access: Access) -> List[Decoded]:
        import av

        packet = av.Packet(data)
        packet.pts = packet.dts = place
        packet.is_keyframe = access.key
        pictures, fault = decode_packet(
            lambda: self._context.decode(packet), self._codec, data, access.key
        )
        if not access.empty:
            self._trust.note(packet, fault)
        outcomes = self._outcomes(pictures)
        if fault and place in self._waiting:
            del self._waiting[place]
            outcomes.append(Decoded(place, fault=fault))
        while len(self._waiting) > _MOST_DELAYED:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            outcomes.append(Decoded(oldest, fault=_NONE))
        return outcomes

    def _outcomes(self, pictures: Sequence[Any]) -> List[Decoded]:
        outcomes = []
        for picture in pictures:
            if self._waiting.pop(picture.pts, None) is None:
                continue  # a second picture of one packet
            fault = self._trust.fault_of(picture) or self._refusal(picture)
            outcomes.append(Decoded(picture.pts, None if fault else picture, fault))
        return outcomes

    def _refusal(self, picture: Any) -> str:
        try:
            check_size(picture.height, picture.width, self._max_megapixels)
        except FrameError as error:
            return str(error)
        return ''

    def _opened(self) -> Any:
        import av

        try:
            context = av.CodecContext.create(self._codec, 'r')
        except (ValueError, av.error.FFmpegError) as error:
            raise FrameError(f'this FFmpeg does not decode {self._codec}: {error}') from error
        # With one thread a logged complaint belongs to its packet, and no picture is delayed.
        context.thread_count = 1
        context.options = {'max_pixels': str(round(self._max_megapixels * 1e6))}
        return context


_NONE = 'the decoder gave no picture for it'


class Trust:
    """Which pictures can be trusted: none after a damaged one, up to the next key frame."""

    def __init__(self) -> None:
        self.broken = ''
        """Why pictures before the next key frame are not trusted; '' where they are."""
        self._broken_before_key = ''
        self._key_time = 0
        self._faults: Dict[int, str] = {}

    def lose(self, reason: str) -> None:
        """Note that data are missing here, which the following pictures refer to."""
        self.broken = self.broken or reason

    def note(self, packet: Any, fault: str) -> None:
        """Note the next packet in decoding order, and what is wrong with it."""
        if packet.is_keyframe and packet.pts is not None:
            self._broken_before_key, self._key_time, self.broken = self.broken, packet.pts, ''
        # Leading pictures (shown before the key frame) may refer to pictures before it.
        leads = packet.pts is not None and packet.pts < self._key_time
        before = self.broken or (leads and self._broken_before_key)
        if packet.pts is not None:
            self._faults[packet.pts] = fault or before or ''
        if fault:
            self.lose(f'it follows a damaged one: {fault}')

    def fault_of(self, picture: Any) -> str:
        """Why a picture is not to be trusted; '' where it is."""
        fault = self._faults.pop(picture.pts, self.broken)
        return fault or ('its data are damaged' if picture.is_corrupt else '')


def decode_packet(
    decode: Callable[[], Sequence[Any]], codec: str, data: bytes = b'', key: bool = False
) -> Tuple[Sequence[Any], str]:
    """The pictures that `decode` returns, and what the decoder complains of, '' for nothing.

    Only FFmpeg's log says that damage was concealed or a reference is missing: H.264 sets no flag,
    and a gap in the frame numbers is logged at the debug level.
    """
    import av

    logging.getLogger('libav').setLevel(
        logging.CRITICAL + 1
    )  # faults are reported with their frame
    av.logging.set_skip_repeated(False)  # else a repeated fault is logged with a later frame
    av.logging.set_level(av.logging.DEBUG if codec == 'h264' else av.logging.ERROR)
    pictures: Sequence[Any] = ()
    fault = ''
    with av.logging.Capture(local=True) as log:
        try:
            pictures = decode()
        except av.error.FFmpegError as error:
            fault = str(error)
    for level, _, text in log:
        gap = text.startswith(_GAP) and not key
        if gap or (level <= av.logging.ERROR and not text.startswith(_HARMLESS)):
            fault = one_line(text)
            break
    if codec == 'mjpeg' and data and not fault:
        try:
            decode_jpeg(data, MAX_MEGAPIXELS)
        except FrameError as error:
            fault = str(error)
    return pictures, fault


class UprightPixels:
    """Pixels of one stream's pictures, rotated and mirrored as the stream says (phones)."""

    def __init__(self) -> None:
        self._orientation: Optional[Orientation] = None

    def __call__(self, picture: Any) -> np.ndarray:
        """(H, W, 3) uint8 BGR of an av.VideoFrame."""
        if self._orientation is None:
            # Of the first only: reading side data gives the picture a reference to itself, so its
            # memory is freed by the cyclic garbage collector, hundreds of pictures later.
            self._orientation = display_orientation(picture)
        return self._orientation.applied(picture.to_ndarray(format='bgr24'))


_CODECS: Dict[str, Tuple[str, ...]] = {
    'h264': ('h264', 'x264', 'avc', 'h.264'),
    'hevc': ('h265', 'x265', 'hevc', 'h.265'),
    'vp9': ('vp9',),
    'libdav1d': ('av1',),
    'vp8': ('vp8', 'libvpx'),
    'mjpeg': ('mjpeg',),
    'mpeg4': ('mpeg4',),
}
"""FFmpeg's decoders, and the parts of messages' formats and encoders' names that mean them."""


def find_codec(name: str) -> str:
    """The decoder for a message's format, such as 'h264' or 'hevc_nvenc'; '' for no known one."""
    words = name.lower()
    return next((codec for codec, parts in _CODECS.items() if any(p in words for p in parts)), '')


class Access(NamedTuple):
    """How a packet can be decoded.

    key: it is a key frame, which refers to nothing before it. start: decoding may begin at it.
    leading: it refers to pictures before the key frame that it follows. empty: it has no picture.
    """

    key: bool
    start: bool
    leading: bool = False
    empty: bool = False


def access_of(codec: str, data: bytes, flagged: bool = False) -> Access:
    """Read it from a packet's headers; raises FrameError where it is not of the codec.

    flagged: whether its message calls it a key frame; used for codecs that are not parsed here.
    """
    if not data:
        raise FrameError('a video packet without data')
    read = _ACCESS.get(codec)
    if read is not None:
        return read(data)
    return Access(flagged, flagged)


def _h264(data: bytes) -> Access:
    kinds = {data[unit] & 31 for unit in _units(data)}  # Recommendation H.264, table 7-1
    key, slices = 5 in kinds, kinds & {1, 2, 5}  # 5: IDR slice, 7: sequence parameter set
    return Access(key, 7 in kinds and (key or not slices), empty=not slices)


def _hevc(data: bytes) -> Access:
    kinds = {data[unit] >> 1 & 63 for unit in _units(data)}  # Recommendation H.265, table 7-1
    slices = {kind for kind in kinds if kind < 32}
    key = any(16 <= kind <= 21 for kind in slices)  # BLA, IDR, CRA; 33: sequence parameter set
    leading = bool(slices & {8, 9})  # RASL
    return Access(key, 33 in kinds and (key or not slices), leading, not slices)


def _vp9(data: bytes) -> Access:
    if data[0] >> 6 != 2:
        raise FrameError(f'a packet that begins with {data[0]:#04x} is not VP9')
    shown_again, frame_type = (2, 1) if data[0] >> 4 & 3 == 3 else (3, 2)  # profile 3: one bit on
    key = not (data[0] >> shown_again & 1 or data[0] >> frame_type & 1)
    return Access(key, key)


def _vp8(data: bytes) -> Access:
    key = not data[0] & 1  # RFC 6386, 9.1
    return Access(key, key)


def _av1(data: bytes) -> Access:
    kinds, key, offset = set(), False, 0
    while offset < len(data):  # OBUs: AV1 Bitstream & Decoding Process Specification, 5.3
        head = data[offset]
        kind, offset = head >> 3 & 15, offset + (2 if head & 4 else 1)
        size = len(data) - offset
        if head & 2:
            size, offset = _leb128(data, offset)
        kinds.add(kind)
        if head & 0x80 or offset + size > len(data):
            raise FrameError(f'a packet of {len(data)} bytes is not AV1, or cut')
        if kind in (3, 6) and size:  # OBU_FRAME_HEADER, OBU_FRAME
            key = key or data[offset] & 0xE0 == 0  # no show_existing_frame, type KEY_FRAME
        offset += size
    return Access(key, key and 1 in kinds, empty=not kinds & {3, 6})  # 1: OBU_SEQUENCE_HEADER


def _leb128(data: bytes, start: int) -> Tuple[int, int]:
    """The number at an offset, 7 bits a byte, and the offset behind it."""
    value = 0
    for place, byte in enumerate(data[start : start + 8]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, start + place + 1
    raise FrameError(f'a packet of {len(data)} bytes is not AV1, or cut')


_ACCESS: Dict[str, Callable[[bytes], Access]] = {
    'h264': _h264,
    'hevc': _hevc,
    'vp9': _vp9,
    'libdav1d': _av1,
    'vp8': _vp8,
    'mjpeg': lambda data: Access(True, True),
}


def _units(data: bytes) -> Iterator[int]:
    """Offsets of the NAL units of a packet, behind their start codes (Annex B)."""
    code = data.find(b'\0\0\1')
    if not 0 <= code <= 1:
        raise FrameError(
            f'a packet of {len(data)} bytes does not begin with a start code (00 00 01); publish '
            'H.264 and H.265 in the Annex B format'
        )
    while 0 <= code < len(data) - 3:
        yield code + 3
        code = data.find(b'\0\0\1', code + 3)
