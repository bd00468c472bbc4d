# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Topics with compressed video: reading their messages, and decoding those of a bag."""

from __future__ import annotations

from itertools import islice
from statistics import median
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

from segformer_ros.formats.limits import FrameError
from segformer_ros.formats.video import (
    SURVEYED,
    Access,
    Decoded,
    Gaps,
    UprightPixels,
    VideoDecoder,
    access_of,
    find_codec,
)
from segformer_ros.frame import Frame, Stamp
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import VIDEO_DEFINITIONS, Bytes, Entry, Lost
from segformer_ros.topics import COMPRESSED_TYPE

_KEY_FLAG = 1
"""AV_PKT_FLAG_KEY of FFmpeg."""
_FIRST_LOOK = 64
"""Messages that are first searched for a key frame; further back ever more at once."""
_USUAL = 50
"""Messages from whose stamps the usual interval is taken."""


class Packet(NamedTuple):
    """The content of a video message.

    flagged: whether it says that it is a key frame; few message types can.
    """

    codec: str
    data: bytes
    stamp: Stamp
    frame_id: str
    flagged: bool = False


def read_packet(message: Any) -> Packet:
    """The content of a message of rclpy or rosbags; raises FrameError for an unknown codec."""
    header = getattr(message, 'header', None)
    time = message.timestamp if header is None else header.stamp
    frame_id = message.frame_id if header is None else header.frame_id
    name = str(message.encoding if hasattr(message, 'encoding') else message.format)
    codec = find_codec(name)
    if not codec:
        raise FrameError(
            f'video of format {name[:80]!r} is not supported; use H.264, H.265, VP9 or AV1'
        )
    return Packet(
        codec,
        bytes(message.data),
        Stamp(time.sec, time.nanosec),
        frame_id,
        bool(getattr(message, 'flags', 0) & _KEY_FLAG),
    )


def is_video(msgtype: str, message: Any = None) -> bool:
    """Whether messages of a type hold video; for CompressedImage a message decides."""
    if msgtype == COMPRESSED_TYPE:
        # MJPEG packets are JPEG images.
        return message is not None and find_codec(message.format) not in ('', 'mjpeg')
    return msgtype in VIDEO_DEFINITIONS


class VideoTopic:
    """The pictures of one topic of a bag, the same wherever reading begins.

    Decoding begins at the key frame before the first picture wanted.

    read: deserializes a message's CDR bytes; raises SourceError.
    """

    def __init__(self, topic: str, read: Callable[[Bytes], Any], max_megapixels: float) -> None:
        self._topic = topic
        self._read = read
        self._max_megapixels = max_megapixels
        self._usual_ns: Optional[int] = None

    def frames(
        self, bag: BagReader, start: int = 0
    ) -> Iterator[Tuple[int, Entry, Union[Frame, str]]]:
        """Index and message of each picture from `start` on, and the frame or why there is none.

        A frame has the stamp of its message.
        """
        begin = self._begin(bag, start)
        if self._usual_ns is None:
            self._usual_ns = self._usual_step(bag)
        # The decoder reorders pictures: messages wait for theirs, to be returned in their order.
        waiting: Dict[int, Tuple[Entry, Optional[Packet]]] = {}
        known: Dict[int, Decoded] = {}
        pixels = UprightPixels()
        for index, entry, packet, decoded in self._decoded(bag, begin, self._usual_ns):
            if entry is not None:
                waiting[index] = entry, packet
            known.update((one.place, one) for one in decoded)
            while waiting and next(iter(waiting)) in known:
                place = next(iter(waiting))
                shown, its_packet = waiting.pop(place)
                one = known.pop(place)
                if place >= start:
                    yield place, shown, _frame(one, its_packet, pixels)

    def _decoded(
        self, bag: BagReader, begin: int, usual_ns: int
    ) -> Iterator[Tuple[int, Optional[Entry], Optional[Packet], List[Decoded]]]:
        """Each message from `begin` on, and the decoder's outcomes for it and earlier ones."""
        decoder: Optional[VideoDecoder] = None
        codec, lost, index = '', '', 0
        gaps = Gaps(usual_ns)
        for index, entry in bag.entries(self._topic, max(0, begin - SURVEYED)):
            packet = self._packet(entry)
            gap = lost
            if isinstance(packet, Packet):
                gap = lost or gaps.before(packet.stamp.ns or getattr(entry, 'time', 0))
            if index < begin:
                continue
            if not isinstance(packet, Packet):
                lost = f'the one before it is lost: {packet}'
                yield index, entry, None, [Decoded(index, fault=packet)]
                continue
            lost, outcomes = '', []
            try:
                if decoder is None or packet.codec != codec:
                    outcomes = decoder.drain() if decoder else []
                    decoder, codec = VideoDecoder(packet.codec, self._max_megapixels), packet.codec
                outcomes += decoder.push(index, packet.data, packet.flagged, gap)
            except FrameError as error:
                outcomes.append(Decoded(index, fault=str(error)))
            yield index, entry, packet, outcomes
        if decoder is not None:
            yield index, None, None, decoder.drain()

    def _begin(self, bag: BagReader, start: int) -> int:
        """The last message, up to `start`, at which decoding can begin; 0 where there is none."""
        end, reach = start + 2, _FIRST_LOOK  # with the message after it, which may be leading
        while end > 2 and start > 0:
            low = max(0, end - 2 - reach)
            packets = [
                (index, self._access(entry))
                for index, entry in islice(bag.entries(self._topic, low), end - low)
            ]
            # Leading pictures need what comes before the key frame that they follow.
            open_gops = {index - 1 for index, access in packets if access.leading}
            starts = [
                index
                for index, access in packets
                if access.start and index <= start and index not in open_gops
            ]
            if starts:
                return starts[-1]
            end, reach = low + 2, 2 * reach
        return 0

    def _access(self, entry: Entry) -> Access:
        packet = self._packet(entry)
        if isinstance(packet, Packet):
            try:
                return access_of(packet.codec, packet.data, packet.flagged)
            except FrameError:
                pass
        return Access(False, False)

    def _packet(self, entry: Entry) -> Union[Packet, str]:
        """The packet of a message, or why it has none."""
        if isinstance(entry, Lost):
            return entry.reason
        try:
            return read_packet(self._read(entry.data))
        except ValueError as error:
            return str(error)

    def _usual_step(self, bag: BagReader) -> int:
        """The usual interval in ns between two messages; 0 where the stamps do not show one."""
        packets = (self._packet(entry) for _, entry in islice(bag.entries(self._topic), _USUAL))
        stamps = [packet.stamp.ns for packet in packets if isinstance(packet, Packet)]
        steps = [after - before for before, after in zip(stamps, stamps[1:])]
        return round(median(steps)) if steps and min(steps) > 0 else 0


def _frame(decoded: Decoded, packet: Optional[Packet], pixels: UprightPixels) -> Union[Frame, str]:
    if decoded.picture is None or packet is None:
        return decoded.fault
    return Frame.from_array(pixels(decoded.picture), 'bgr8', packet.stamp, packet.frame_id)
