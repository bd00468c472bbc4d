# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Videos as sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import recordings as rec

from segformer_ros.recordings import SourceError, SourceOptions, open_source
from segformer_ros.recordings.source import FIRST_STAMP_NS

COUNT = 23


def test_all_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    source = open_source(rec.write_video(tmp_path / 'drive.mp4', COUNT))
    entries = list(source)
    assert len(source) == len(entries) == COUNT
    for index, entry in enumerate(entries):
        assert entry.frame is not None
        assert rec.index_of(entry.frame.pixels) == index
        assert entry.frame.stamp.ns == FIRST_STAMP_NS + index * 100_000_000
        assert entry.key == f'{index:06d}'


@pytest.mark.parametrize(('start', 'stop'), [(0, 3), (4, 6), (13, 17), (22, 23), (5, None)])
def test_any_part_can_be_read_alone(tmp_path: Path, start: int, stop: int | None) -> None:
    source = open_source(rec.write_video(tmp_path / 'drive.mkv', COUNT))
    found = [
        rec.index_of(entry.frame.pixels)
        for entry in source.frames(start, stop)
        if entry.frame is not None
    ]
    assert found == list(range(start, COUNT if stop is None else stop))


@pytest.mark.parametrize(
    ('name', 'codec'),
    [('drive.ts', 'libx264'), ('drive.mpg', 'mpeg2video'), ('drive.avi', 'mpeg4')],
)
def test_containers_that_seek_by_the_times_of_decoding_lose_no_frame(
    tmp_path: Path, name: str, codec: str
) -> None:
    source = open_source(rec.write_video(tmp_path / name, COUNT, 25, codec))
    assert len(source) == COUNT
    for start in range(COUNT):
        entry = next(source.frames(start, start + 1))
        assert entry.frame is not None, f'{start}: {entry.error}'
    assert all(entry.frame is not None for entry in source)


def test_the_lead_of_a_cut_video_is_no_frame(tmp_path: Path) -> None:
    """Copied without decoding it begins at a key frame, and says what is not to be shown."""
    whole = rec.write_video(tmp_path / 'whole.mp4', COUNT)
    with av.open(str(whole)) as read, av.open(str(tmp_path / 'cut.mp4'), 'w') as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is None:
                continue
            step = packet.duration or 0
            packet.pts, packet.dts = packet.pts - 3 * step, packet.dts - 3 * step
            packet.stream = stream
            written.mux(packet)
    source = open_source(tmp_path / 'cut.mp4')
    entries = list(source)
    assert len(source) == COUNT - 3
    assert all(entry.frame is not None for entry in entries)
    assert entries[0].frame is not None and rec.index_of(entries[0].frame.pixels) == 3


def test_pictures_before_a_key_frame_of_an_open_gop_are_read_alone_too(tmp_path: Path) -> None:
    """HEVC's leading pictures need what stands before their key frame."""
    params = 'log-level=none:keyint=7:min-keyint=7:scenecut=0:open-gop=1:bframes=3'
    file = rec.write_video(tmp_path / 'drive.mp4', COUNT, 10, 'libx265', **{'x265-params': params})
    source = open_source(file)
    for start in range(COUNT):
        entry = next(source.frames(start, start + 1))
        assert entry.frame is not None, f'{start}: {entry.error}'
        assert rec.index_of(entry.frame.pixels) == start


def test_labels_are_found_by_the_frames_number(tmp_path: Path) -> None:
    rec.write_png(tmp_path / 'labels' / '000001.png', rec.labels(1))
    options = SourceOptions(labels=tmp_path / 'labels')
    entries = list(open_source(rec.write_video(tmp_path / 'drive.mp4', 3), options))
    rec.assert_labels(entries[1].labels, 1)
    assert 'no label image 000002.png' in (entries[2].error or '')


def test_a_damaged_frame_is_an_entry_of_its_own(tmp_path: Path) -> None:
    file = rec.write_video(tmp_path / 'drive.mp4', COUNT)
    with av.open(str(file)) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        middle, size = packets[COUNT // 2].pos, packets[COUNT // 2].size
    data = bytearray(file.read_bytes())
    data[middle : middle + size] = b'\xff' * size
    file.write_bytes(data)
    entries = list(open_source(file))
    broken = [entry for entry in entries if entry.frame is None]
    assert [entry.index for entry in entries] == list(range(COUNT))
    assert 1 <= len(broken) <= 5
    assert 'of drive.mp4 cannot be decoded' in (broken[0].error or '')


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('not a video')
    with pytest.raises(SourceError, match='neither a bag .* nor a video'):
        open_source(tmp_path / 'notes.txt')


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / 'sound.wav'), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), 's16', 'mono')
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
    with pytest.raises(SourceError, match='has no video stream'):
        open_source(tmp_path / 'sound.wav')


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    video = rec.write_video(tmp_path / 'drive.mp4', 2)
    data = video.read_bytes()
    with av.open(str(video)) as container:
        tag = container.streams.video[0].codec_context.codec_tag.encode()
    assert tag in data
    video.write_bytes(data.replace(tag, b'ZZZZ'))
    with pytest.raises(SourceError, match=r'drive\.mp4 is of a codec that FFmpeg does not decode'):
        open_source(video)


def spoiled(whole: Path, number: int, spoil: Callable[[bytes], bytes]) -> Path:
    """The video with other bytes in one packet, in the order of decoding; without it for none."""
    target = whole.with_name(f'spoiled{whole.suffix}')
    with av.open(str(whole)) as read, av.open(str(target), 'w') as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.size]
        for index, packet in enumerate(packets):
            data = spoil(bytes(packet)) if index == number else bytes(packet)
            if data:
                made = av.Packet(data)
                made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
                made.is_keyframe, made.stream = packet.is_keyframe, stream
                written.mux(made)
    return target


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


@pytest.mark.parametrize('spoil', [cut, lambda _: b''], ids=['cut', 'lost'])
def test_what_follows_a_damaged_or_a_lost_frame_is_refused_up_to_the_next_key_frame(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """H.264's decoder conceals both without a trace in its pictures."""
    whole = rec.write_video(tmp_path / 'drive.mkv', COUNT, bf='0')
    entries = list(open_source(spoiled(whole, 7, spoil)))
    shown = [rec.index_of(entry.frame.pixels) for entry in entries if entry.frame is not None]
    assert shown == [*range(7), *range(10, COUNT)]
    errors = [entry.error or '' for entry in entries if entry.frame is None]
    assert all('cannot be decoded' in error for error in errors)
    assert 'it follows a damaged one: ' in errors[-1]


def test_a_damaged_jpeg_of_a_video_is_refused_alone(tmp_path: Path) -> None:
    whole = rec.write_video(
        tmp_path / 'drive.mkv', COUNT, codec='mjpeg', pix_fmt='yuvj420p', bf='0'
    )
    assert all(entry.frame is not None for entry in open_source(whole))
    entries = list(open_source(spoiled(whole, 7, cut)))
    assert [entry.index for entry in entries if entry.frame is None] == [7]


def test_damaged_videos_write_nothing_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = spoiled(rec.write_video(tmp_path / 'drive.mkv', COUNT), 7, cut)
    capfd.readouterr()
    list(open_source(file))
    assert capfd.readouterr() == ('', '')


def test_a_video_above_the_limit_is_refused(tmp_path: Path) -> None:
    file = rec.write_video(tmp_path / 'drive.mp4', 2)
    with pytest.raises(SourceError, match=r'drive.mp4: image of .* above the limit of 0.001'):
        open_source(file, SourceOptions(max_megapixels=0.001))


@pytest.mark.parametrize('turns', [(0, True, False), (90, False, False), (180, False, True)])
def test_videos_are_turned_and_mirrored_as_they_say(
    tmp_path: Path, turns: tuple[int, bool, bool]
) -> None:
    """A display matrix may mirror, as those of front cameras do."""
    degrees, across, down = turns
    pixels = np.zeros((*rec.SIZE, 3), np.uint8)
    pixels[:24, :32] = 240
    stored = rec.write_video(tmp_path / 'stored.mp4', 1)
    shown = tmp_path / 'shown.mp4'
    with av.open(str(stored)) as read, av.open(str(shown), 'w') as written:
        stream = written.add_stream('libx264', rate=10)
        stream.height, stream.width, stream.pix_fmt = *rec.SIZE, 'yuv420p'
        stream.set_display_rotation(degrees, hflip=across, vflip=down)
        written.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, 'bgr24')))
        written.mux(stream.encode())
        del read
    (entry,) = open_source(shown)
    wanted = np.rot90(pixels, degrees // 90)
    wanted = wanted[:, ::-1] if across else wanted
    wanted = wanted[::-1] if down else wanted
    assert entry.frame is not None
    assert np.abs(entry.frame.pixels.astype(int) - wanted).mean() < 4


def test_an_avi_that_does_not_say_when_pictures_are_shown_is_refused(tmp_path: Path) -> None:
    """Its pictures would come under the numbers of others, with their labels."""
    with pytest.raises(SourceError, match='B-frames, .*AVI does not say when; make an mp4'):
        open_source(rec.write_video(tmp_path / 'drive.avi', COUNT))
    plain = open_source(rec.write_video(tmp_path / 'plain.avi', COUNT, bf='0'))
    found = [rec.index_of(entry.frame.pixels) for entry in plain if entry.frame]
    assert found == list(range(COUNT))
