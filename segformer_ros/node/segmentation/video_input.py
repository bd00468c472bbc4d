# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Video input: decodes the packets of a camera's video into images for the worker."""

from __future__ import annotations

from collections import deque
from importlib import import_module
from threading import Condition, Thread
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Tuple

from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.formats.video import Decoded, Gaps, UprightPixels, VideoDecoder
from segformer_ros.frame import Frame, FrameError, Stamp
from segformer_ros.node.parameter import ParameterError
from segformer_ros.recordings.video_topic import read_packet

_MOST_WAITING = 30
"""Packets that may wait for the decoder, a second of them; beyond that they are dropped."""


def message_class(video: str) -> Any:
    """The class of one of topics.VIDEO_TYPES; raises ParameterError where it is not installed."""
    package = topics.VIDEO_TYPES[video].partition('/')[0]
    try:
        return getattr(import_module(f'{package}.msg'), video)
    except ImportError as error:
        raise ParameterError(
            f'video is {video!r}, but {package} is not installed: '
            f'sudo apt install ros-$ROS_DISTRO-{package.replace("_", "-")}'
        ) from error


def header_of(message: Any) -> Header:
    """Header of an image or video message; CompressedVideo has its fields, but no header."""
    if hasattr(message, 'header'):
        return message.header
    return Header(stamp=message.timestamp, frame_id=message.frame_id)


class VideoImage(NamedTuple):
    """Result of one packet: a picture (an av.VideoFrame), or why there is none."""

    header: Header
    picture: Any
    fault: str
    pixels: UprightPixels

    def frame(self) -> Frame:
        """The picture as a frame; raises FrameError where there is none."""
        if self.picture is None:
            raise FrameError(self.fault)
        stamp = Stamp(self.header.stamp.sec, self.header.stamp.nanosec)
        pixels = self.pixels(self.picture)
        return Frame.from_array(pixels, 'bgr8', stamp, self.header.frame_id)


class VideoInput:
    """Decodes all packets of one camera in a thread of its own, from the first key frame on.

    Later frames may refer to any frame, so all are decoded, wanted or not; they are converted to
    pixels (`VideoImage.frame`) only when the worker takes them.

    deliver: called with each image. overtaken: called with how many packets were dropped because
    they come faster than they are decoded.
    """

    def __init__(
        self,
        max_megapixels: Callable[[], float],
        deliver: Callable[[VideoImage], None],
        overtaken: Callable[[int], None],
    ) -> None:
        self._max_megapixels = max_megapixels
        self._deliver = deliver
        self._overtaken = overtaken
        self._changed = Condition()
        self._waiting: Deque[Tuple[Any, str]] = deque()
        self._open = True
        self._gaps = Gaps()
        self._last_number: Optional[int] = None
        self._lost = ''
        self._decoder: Optional[VideoDecoder] = None
        self._codec = ''
        self._pixels = UprightPixels()
        self._place = 0
        self._headers: Dict[int, Header] = {}
        self._thread = Thread(target=self._run, name='video', daemon=True)
        self._thread.start()

    def put(self, message: Any, number: Optional[int]) -> None:
        """Queue a message, with its publisher's sequence number if that is known."""
        gap = self._gap(message, number)
        with self._changed:
            given_up = len(self._waiting) if len(self._waiting) >= _MOST_WAITING else 0
            if given_up:
                self._waiting.clear()
                gap = f'{given_up} before it were given up: they come faster than they are decoded'
            self._waiting.append((message, gap))
            self._changed.notify()
        if given_up:
            self._overtaken(given_up)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _gap(self, message: Any, number: Optional[int]) -> str:
        """What is missing before a message, in words; '' for nothing."""
        stamp = header_of(message).stamp
        by_stamps = self._gaps.before(stamp.sec * 1_000_000_000 + stamp.nanosec)
        if number is None:
            return by_stamps
        last, self._last_number = self._last_number, number
        if last is None or number == last + 1:
            return ''
        return f'{number - last - 1} messages before it did not arrive'

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._open:
                    return
                message, gap = self._waiting.popleft()
            for decoded in self._decoded(message, gap):
                header = self._headers.pop(decoded.place)
                self._deliver(VideoImage(header, decoded.picture, decoded.fault, self._pixels))

    def _decoded(self, message: Any, gap: str) -> List[Decoded]:
        """Decode a message; returns results, which may be of earlier messages, too."""
        self._place += 1
        self._headers[self._place] = header_of(message)
        try:
            return self._decode(message, gap)
        except Exception as error:  # of whatever kind: it must not end the thread
            self._decoder = None
            fault = f'{type(error).__name__}: {error}'
            return [Decoded(place, fault=fault) for place in self._headers]

    def _decode(self, message: Any, gap: str) -> List[Decoded]:
        earlier: List[Decoded] = []
        try:
            packet = read_packet(message)
        except FrameError as error:
            earlier = (
                self._decoder.lose(f'it follows a damaged one: {error}') if self._decoder else []
            )
            return [*earlier, Decoded(self._place, fault=str(error))]
        if self._decoder is None or packet.codec != self._codec:
            earlier = self._decoder.drain() if self._decoder else []
            self._decoder = VideoDecoder(packet.codec, self._max_megapixels())
            self._codec = packet.codec
        return earlier + self._decoder.push(self._place, packet.data, packet.flagged, gap)
