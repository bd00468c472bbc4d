# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Video topics of bags."""

from __future__ import annotations

import gc
from pathlib import Path

import av
import numpy as np
import pytest
import recordings as rec

from segformer_ros.recordings import Source, SourceError, SourceOptions, open_source

COUNT = 23
CODECS = ('h264', 'h265', 'vp9', 'av1')


def shown(source: Source, start: int = 0, stop: int | None = None) -> dict[int, int]:
    """The stamps' numbers of the frames that can be read, and which frame each shows."""
    return {
        (entry.frame.stamp.ns - rec.START_NS) // rec.STEP_NS: rec.index_of(entry.frame.pixels)
        for entry in source.frames(start, stop)
        if entry.frame is not None
    }


def assert_right(found: dict[int, int], wanted: set[int]) -> None:
    """These frames are there, and each shows what was taken at its time."""
    assert found == {index: index for index in wanted}


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('msgtype', [rec.VIDEO, rec.FFMPEG, rec.COMPRESSED])
def test_each_message_gives_its_picture(tmp_path: Path, codec: str, msgtype: str) -> None:
    bag = rec.write_video_bag(tmp_path / 'drive', rec.packets(codec, COUNT), msgtype, codec)
    source = open_source(bag, SourceOptions(label_topic='/labels'))
    entries = list(source)
    assert [entry.error for entry in entries] == [None] * COUNT
    assert_right(shown(source), set(range(COUNT)))
    assert source.calibration is not None
    for index, entry in enumerate(entries):
        assert entry.frame is not None and entry.frame.frame_id == 'front_optical'
        rec.assert_labels(entry.labels, index)


@pytest.mark.parametrize('codec', CODECS)
def test_any_part_is_the_same_part_of_the_whole(tmp_path: Path, codec: str) -> None:
    source = open_source(
        rec.write_video_bag(tmp_path / 'drive', rec.packets(codec, COUNT), codec=codec)
    )
    for start in range(COUNT):
        assert_right(shown(source, start, start + 1), {start})
    whole = {entry.index: entry.frame for entry in source}
    for entry in source.frames(12, 14):
        before = whole[entry.index]
        assert entry.frame is not None and before is not None
        assert np.array_equal(entry.frame.pixels, before.pixels)


def test_decoding_begins_at_the_key_frame_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segformer_ros.formats.video import VideoDecoder

    pushed = []
    push = VideoDecoder.push

    def spy(self: VideoDecoder, place: int, *arguments: object) -> object:
        pushed.append(place)
        return push(self, place, *arguments)  # type: ignore[arg-type]

    source = open_source(rec.write_video_bag(tmp_path / 'drive', rec.packets('h264', 300, 10)))
    monkeypatch.setattr(VideoDecoder, 'push', spy)
    entry = next(source.frames(277, 278))
    assert entry.frame is not None
    assert pushed == list(range(270, 278))


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('lost', [(5,), (7,), (10, 11), (0,), (3, 12), (14, 15)])
def test_what_a_lost_message_spoils_is_refused(
    tmp_path: Path, codec: str, lost: tuple[int, ...]
) -> None:
    """Up to the next key frame, and wherever the reading begins."""
    bag = rec.write_video_bag(
        tmp_path / 'drive', rec.packets(codec, COUNT), codec=codec, lost=lost
    )
    source = open_source(bag)
    right = {
        index
        for index in range(COUNT)
        if not any(index - index % rec.KEYS <= gap <= index for gap in lost)
    }
    assert_right(shown(source), right)
    errors = [entry.error or '' for entry in source if entry.frame is None]
    assert len(errors) == COUNT - len(lost) - len(right)
    for start in range(len(source)):
        entry = next(source.frames(start, start + 1))
        assert entry.error == list(source)[start].error


def test_a_lost_key_frame_that_h264_cannot_know_of_is_told_by_the_stamps(tmp_path: Path) -> None:
    """Its numbers of frames begin anew after 16."""
    packets = rec.packets('h264', 40, 17)
    source = open_source(rec.write_video_bag(tmp_path / 'drive', packets, lost=(17,)))
    refused = [entry.index for entry in source if entry.frame is None]
    assert refused == list(range(17, 33))


def test_a_damaged_packet_is_refused_with_what_follows(tmp_path: Path) -> None:
    packets = rec.packets('h264', COUNT)
    noise = np.random.default_rng(3).bytes(40)
    packets[7] = av.Packet(bytes(packets[7])[:8] + noise)
    source = open_source(rec.write_video_bag(tmp_path / 'drive', packets))
    assert_right(shown(source), set(range(COUNT)) - {7, 8, 9})
    entries = list(source)
    assert '/front/video message 7' in (entries[7].error or '')
    assert 'it follows a damaged one' in (entries[8].error or '')


def test_a_slower_camera_is_no_loss(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/front/video', rec.VIDEO)
        time = rec.START_NS
        for index, packet in enumerate(rec.packets('vp9', 60, 10)):
            time += rec.STEP_NS * (1 if index < 20 else 2)
            bag.write(camera, rec.video_message(rec.VIDEO, 'vp9', packet, time), time)
    missing = [entry.index for entry in open_source(tmp_path / 'drive') if entry.frame is None]
    assert all(20 < index < 30 for index in missing)


def test_pictures_that_are_shown_later_than_they_are_decoded(tmp_path: Path) -> None:
    """Packets of FFmpeg may refer to what comes later; each has its own picture's stamp."""
    packets = rec.packets('h264', COUNT, 10, tune='film', bf='2', preset='medium')
    assert [packet.pts for packet in packets] != list(range(COUNT))
    source = open_source(rec.write_video_bag(tmp_path / 'drive', packets, rec.FFMPEG))
    assert_right(shown(source), set(range(COUNT)))


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    packets = rec.packets('h264', 2)
    source = open_source(rec.write_video_bag(tmp_path / 'drive', packets, codec='theora'))
    assert [entry.frame for entry in source] == [None, None]
    assert "format 'theora' is not supported" in (next(iter(source)).error or '')


def test_what_is_no_annex_b_is_named(tmp_path: Path) -> None:
    packets = [av.Packet(b'\x00\x00\x00\x05' + bytes(5))]
    source = open_source(rec.write_video_bag(tmp_path / 'drive', packets))
    assert 'does not begin with a start code' in (next(iter(source)).error or '')


def test_too_large_pictures_are_refused(tmp_path: Path) -> None:
    bag = rec.write_video_bag(tmp_path / 'drive', rec.packets('h264', 3))
    entries = list(open_source(bag, SourceOptions(max_megapixels=0.002)))
    assert [entry.frame for entry in entries] == [None] * 3


def test_a_type_that_the_bag_defines_otherwise_is_refused(tmp_path: Path) -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg('string nothing', rec.VIDEO))
    with rec.open_bag(tmp_path / 'drive') as writer:
        camera = writer.add_connection('/video', rec.VIDEO, typestore=types)
        writer.write(camera, 7, types.serialize_cdr(types.types[rec.VIDEO]('x'), rec.VIDEO))
    with pytest.raises(SourceError, match=r'CompressedVideo with the fields nothing'):
        open_source(tmp_path / 'drive')


@pytest.mark.parametrize('kind', ['bag', 'file'])
def test_pictures_are_given_back_at_once(tmp_path: Path, kind: str) -> None:
    """What refers to itself would stay until Python looks for it, hundreds of pictures later."""
    if kind == 'bag':
        path = rec.write_video_bag(tmp_path / 'drive', rec.packets('h264', 30))
    else:
        path = rec.write_video(tmp_path / 'drive.mp4', 30)
    source = open_source(path)
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for entry in source if entry.frame is not None) == 30
        alive = sum(issubclass(type(one), av.VideoFrame) for one in gc.get_objects())
    finally:
        gc.enable()
    assert alive < 10
