# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Compressed video, packet by packet: its pictures, as far as they can be trusted.

Decoders conceal what is damaged or missing and go on from there as if nothing had been. A picture
is refused here where its data are damaged, and where it refers to one that is, or that is missing:
all up to the next key frame. A packet's first bytes tell its codec, and whether decoding may begin
at it.
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
"""What FFmpeg complains of in whole files, too (MPEG-4, its own among them)."""
_GAP = 'Frame num gap'

_MOST_DELAYED = 20
"""Pictures that a decoder may hold back to sort them: 16 in H.264 and HEVC."""
_STEPS, _FEWEST = 9, 4
"""Intervals from whose median the usual one is known, and how many are needed for it."""
_LONG = 1.7
"""Of the usual interval; from there on a message is thought to be missing."""

SURVEYED = _STEPS + 1
"""Messages before a packet by which a gap before it is known."""


class Gaps:
    """Finds missing messages of a video from the stamps of those that are there.

    An interval is compared with the intervals before it, so that after a few frames a camera that
    became slower is no longer taken for one that loses messages.

    usual_ns: the usual interval, where it is known; 0 for not.
    """

    def __init__(self, usual_ns: int = 0) -> None:
        self._steps: Deque[int] = deque([usual_ns] * _STEPS if usual_ns else [], maxlen=_STEPS)
        self._last: Optional[int] = None

    def before(self, stamp_ns: int) -> str:
        """Take the next stamp; what is missing before it, '' for nothing."""
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
    """What became of a packet: its picture (an av.VideoFrame), or why there is none."""

    place: int
    picture: Any = None
    fault: str = ''


class VideoDecoder:
    """Decodes the packets of one stream, each of which holds one picture.

    codec: of `find_codec`.
    """

    def __init__(self, codec: str, max_megapixels: float) -> None:
        self._codec = codec
        self._max_megapixels = max_megapixels
        self._trust = Trust()
        self._trust.lose('no key frame came before it')
        self._waiting: Dict[int, str] = {}
        self._context = self._opened()

    def push(self, place: int, data: bytes, flagged: bool = False, gap: str = '') -> List[Decoded]:
        """Take the next packet; what is known by now of it and of those before it.

        place: its number, rising. flagged: as of `access_of`. gap: why what it refers to may be
        missing.
        """
        given: List[Decoded] = []
        if gap:
            given += self.lose(gap)
        try:
            access = access_of(self._codec, data, flagged)
        except FrameError as error:
            return [*given, *self.lose(str(error)), Decoded(place, fault=str(error))]
        if access.empty:
            self._decode(place, data, access)
            return [*given, Decoded(place, fault='it holds no picture')]
        broken = self._trust.broken
        if broken and not access.key:
            return [*given, Decoded(place, fault=broken)]
        if broken:
            given += self.drain()  # nothing of what was decoded before is referred to again
        self._waiting[place] = ''
        return given + self._decode(place, data, access)

    def lose(self, reason: str) -> List[Decoded]:
        """Know that packets are missing here; what is left of those before."""
        given = self.drain()
        self._trust.lose(reason)
        return given

    def drain(self) -> List[Decoded]:
        """End the stream: what is left of it. Another one may follow."""
        if not self._context.is_open:
            return []
        pictures, _ = decode_packet(lambda: self._context.decode(None), self._codec)
        given = self._given(pictures)
        given += [Decoded(place, fault=_NONE) for place in self._waiting]
        self._waiting.clear()
        self._context.flush_buffers()
        return given

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
        given = self._given(pictures)
        if fault and place in self._waiting:
            del self._waiting[place]
            given.append(Decoded(place, fault=fault))
        while len(self._waiting) > _MOST_DELAYED:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            given.append(Decoded(oldest, fault=_NONE))
        return given

    def _given(self, pictures: Sequence[Any]) -> List[Decoded]:
        given = []
        for picture in pictures:
            if self._waiting.pop(picture.pts, None) is None:
                continue  # a second picture of one packet
            fault = self._trust.fault_of(picture) or self._refusal(picture)
            given.append(Decoded(picture.pts, None if fault else picture, fault))
        return given

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
        # With one thread a complaint belongs to its packet, and nothing is held back.
        context.thread_count = 1
        context.options = {'max_pixels': str(round(self._max_megapixels * 1e6))}
        return context


_NONE = 'the decoder gave no picture for it'


class Trust:
    """Which pictures can be trusted: none that refers to a damaged one, up to a key frame."""

    def __init__(self) -> None:
        self.broken = ''
        """Why what comes before the next key frame is not trusted; '' where it is."""
        self._broken_before_key = ''
        self._key_time = 0
        self._faults: Dict[int, str] = {}

    def lose(self, reason: str) -> None:
        """Know that something is missing here, so that what follows refers to it."""
        self.broken = self.broken or reason

    def note(self, packet: Any, fault: str) -> None:
        """Take in the next packet in the order of decoding, and what is wrong with it."""
        if packet.is_keyframe and packet.pts is not None:
            self._broken_before_key, self._key_time, self.broken = self.broken, packet.pts, ''
        # Pictures that are shown before a key frame may refer to what stands before it.
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
    """Pictures that `decode` gives, and what the decoder complains of, '' for nothing.

    FFmpeg says in its log alone that it conceals damage or lacks a reference: H.264 sets no flag,
    and a frame that is missing without a trace is only told to debuggers.
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
    """Makes pixels of one stream's pictures, turned and mirrored as the stream says (phones)."""

    def __init__(self) -> None:
        self._orientation: Optional[Orientation] = None

    def __call__(self, picture: Any) -> np.ndarray:
        """(H, W, 3) uint8 BGR of an av.VideoFrame."""
        if self._orientation is None:
            # Of the first only: a picture that was asked for it refers to itself, and its memory
            # comes back when Python looks for such, hundreds of pictures later.
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
