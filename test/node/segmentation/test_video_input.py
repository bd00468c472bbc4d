# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Cameras that send video."""

from __future__ import annotations

import importlib.util
from array import array
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
import recordings as rec
from builtin_interfaces.msg import Time
from node_rig import MASK, TYPES, MakeRig, Rig, image
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from segformer_ros.formats.video import UprightPixels, VideoDecoder, access_of
from segformer_ros.frame import FrameError, Stamp
from segformer_ros.node.messages import video_class
from segformer_ros.node.segmentation.video_input import VideoImage, VideoInput, message_class

pytestmark = pytest.mark.ros

COUNT = 12
FOXGLOVE = pytest.mark.skipif(
    importlib.util.find_spec('foxglove_msgs') is None, reason='foxglove_msgs is not installed'
)
FFMPEG = pytest.mark.skipif(
    importlib.util.find_spec('ffmpeg_image_transport_msgs') is None,
    reason='ffmpeg_image_transport_msgs is not installed',
)


def stamp(index: int) -> Time:
    """Stamp of a frame."""
    return Time(sec=1_700_000_000, nanosec=index * 100_000_000)


def message(packet: av.Packet, index: int, kind: str = 'h264') -> CompressedImage:
    """A packet as CompressedImage."""
    header = Header(stamp=stamp(index), frame_id='camera_optical')
    return CompressedImage(header=header, format=kind, data=array('B', bytes(packet)))


class Collected:
    """A video input, and what it gave."""

    def __init__(self, wanted: int) -> None:
        self.images: list[VideoImage] = []
        self.overtaken = 0
        self._wanted = wanted
        self._done = Event()
        self.input = VideoInput(lambda: 25.0, self._take, self._give_up)

    def _take(self, image: VideoImage) -> None:
        self.images.append(image)
        self._check()

    def _give_up(self, count: int) -> None:
        self.overtaken += count
        self._check()

    def _check(self) -> None:
        if len(self.images) + self.overtaken >= self._wanted:
            self._done.set()

    def shown(self) -> dict[int, int | None]:
        """Which frame each image shows, by its stamp; None where it is refused."""
        assert self._done.wait(60)
        self.input.close()
        found: dict[int, int | None] = {}
        for one in self.images:
            index = one.header.stamp.nanosec // 100_000_000 + 10 * (
                one.header.stamp.sec - 1_700_000_000
            )
            try:
                found[index] = rec.index_of(one.frame().pixels)
            except FrameError:
                found[index] = None
        return found


@pytest.mark.parametrize('codec', ['h264', 'h265', 'vp9', 'av1'])
def test_each_packet_gives_its_picture_under_its_header(codec: str) -> None:
    collected = Collected(9)
    for index, packet in enumerate(rec.packets(codec, 9)):
        collected.input.put(message(packet, index, codec), index + 1)
    assert collected.shown() == {index: index for index in range(9)}
    frame = collected.images[3].frame()
    assert frame.stamp == Stamp(1_700_000_000, 300_000_000)
    assert frame.frame_id == 'camera_optical'


@pytest.mark.parametrize('codec', ['h264', 'vp9'])
@pytest.mark.parametrize('numbered', [True, False])
def test_what_a_lost_packet_spoils_is_refused(codec: str, numbered: bool) -> None:
    """By the publisher's numbers, and where those are not known by the stamps."""
    collected = Collected(8)
    for index, packet in enumerate(rec.packets(codec, 9)):
        if index != 6:
            collected.input.put(message(packet, index, codec), index + 1 if numbered else None)
    wanted = {index: None if index in (7, 8) else index for index in range(9) if index != 6}
    assert collected.shown() == wanted
    words = '1 messages before it did not arrive' if numbered else 'some are missing'
    assert words in collected.images[-1].fault


def test_what_is_no_video_costs_what_refers_to_it_alone() -> None:
    packets = rec.packets('h264', 9)
    collected = Collected(9)
    for index, packet in enumerate(packets):
        kind = 'theora' if index == 2 else 'h264'
        collected.input.put(message(packet, index, kind), index + 1)
    assert collected.shown() == {i: None if i in (2, 3, 4) else i for i in range(9)}
    assert "'theora' is not supported" in collected.images[2].fault


def test_a_decoder_that_is_too_slow_gives_packets_up(monkeypatch: pytest.MonkeyPatch) -> None:
    go, push = Event(), VideoDecoder.push

    def slow(self: VideoDecoder, *arguments: Any) -> Any:
        assert go.wait(60)
        return push(self, *arguments)

    monkeypatch.setattr(VideoDecoder, 'push', slow)
    packets = rec.packets('h264', 45, 5)
    collected = Collected(45)
    for index, packet in enumerate(packets):
        collected.input.put(message(packet, index), index + 1)
    go.set()
    found = collected.shown()
    assert collected.overtaken >= 30
    assert len(found) + collected.overtaken == 45
    assert all(shown in (None, index % 32) for index, shown in found.items())
    assert found[44] == 44 % 32


def run(rig: Rig, messages: list[Any]) -> list[int]:
    """Send messages one by one; the numbers of the frames whose masks came."""
    for one in messages:
        rig.deliver(one)
        assert rig.spin_until(lambda: not rig.counts().pending)
    segmented = rig.counts().segmented
    assert rig.spin_until(lambda: len(rig.received[MASK]) == segmented)
    return [mask.header.stamp.nanosec // 100_000_000 for mask in rig.received[MASK]]


def test_a_compressed_image_may_be_video(make_rig: MakeRig) -> None:
    rig = make_rig(compressed=True)
    rig.start(MASK)
    packets = rec.packets('h264', 10)
    # The first one tells; what came before it is not known.
    assert run(rig, [message(packet, i) for i, packet in enumerate(packets)]) == list(range(10))
    counts = rig.counts()
    assert counts.segmented == counts.received == 10


def test_what_follows_a_lost_packet_gives_no_mask(make_rig: MakeRig) -> None:
    rig = make_rig(compressed=True)
    rig.start(MASK)
    packets = rec.packets('h264', 10)
    sent = [message(packet, i) for i, packet in enumerate(packets) if i != 7]
    assert run(rig, sent) == [0, 1, 2, 3, 4, 5, 6]
    assert rig.counts().rejected == 2
    assert rig.counts().segmented == 7


def test_a_type_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'foxglove_msgs.msg', None)
    with pytest.raises(ValueError, match=r'foxglove_msgs is not installed: sudo apt install ros-'):
        message_class('CompressedVideo')


@FOXGLOVE
def test_compressed_video_of_foxglove(make_rig: MakeRig) -> None:
    rig = make_rig(video='CompressedVideo')
    rig.start(MASK)
    sent = [
        video_class()(
            timestamp=stamp(i), frame_id='cam', data=array('B', bytes(packet)), format='h264'
        )
        for i, packet in enumerate(rec.packets('h264', 10))
    ]
    assert run(rig, sent) == list(range(10))
    assert rig.received[MASK][0].header.frame_id == 'cam'


@FFMPEG
def test_packets_of_ffmpeg_image_transport(make_rig: MakeRig) -> None:
    rig = make_rig(video='FFMPEGPacket')
    rig.start(MASK)
    make = message_class('FFMPEGPacket')
    sent = [
        make(
            header=Header(stamp=stamp(i), frame_id='cam'),
            encoding='libx264',
            flags=int(packet.is_keyframe),
            data=array('B', bytes(packet)),
        )
        for i, packet in enumerate(rec.packets('h264', 10))
    ]
    assert run(rig, sent) == list(range(10))


@FOXGLOVE
def test_the_overlay_is_published_as_video(make_rig: MakeRig) -> None:
    topic = 'segmentation/overlay/video'
    TYPES[topic] = video_class()
    rig = make_rig(overlay_opacity=0.0)
    rig.start(MASK, topic)
    decoder = VideoDecoder('h264', 25.0)
    for index in range(8):
        sent = image(rec.picture(index + 3, (96, 192)), stamp(index))
        video = rig.segment(sent, topic)
        assert video.timestamp == stamp(index)
        assert (video.frame_id, video.format) == ('camera_optical', 'h264')
        assert access_of('h264', bytes(video.data)).start == (index == 0)
        (decoded,) = decoder.push(index, bytes(video.data))
        assert rec.index_of(UprightPixels()(decoded.picture)) == index + 3


def test_ten_bits_in_sixteen_are_found(make_rig: MakeRig) -> None:
    rig = make_rig(overlay_opacity=0.0)
    rig.start('segmentation/overlay')
    for value, shown in ((200, 200), (1000, 250), (100, 25), (4000, 250)):
        pixels = np.full((96, 192), value, np.uint16)
        sent = image(pixels, stamp(value % 10), 'mono16')
        overlay = rig.segment(sent, 'segmentation/overlay')
        assert abs(int(np.frombuffer(overlay.data, np.uint8)[0]) - shown) <= 1
