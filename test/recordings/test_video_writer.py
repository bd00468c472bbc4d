# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Videos that a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as rec

from segformer_ros.formats.video import UprightPixels, VideoDecoder, access_of
from segformer_ros.recordings import VideoWriter, open_source
from segformer_ros.recordings.video_writer import VideoEncoder


def write(path: Path, stamps_ms: list[int], size: tuple[int, int] = rec.SIZE) -> None:
    """A video of frames at the given times."""
    with VideoWriter(path) as video:
        for index, stamp in enumerate(stamps_ms):
            video.write(rec.picture(index, size), stamp * 1_000_000)


def times_ms(path: Path) -> list[int]:
    """Times of a video's frames since the first."""
    stamps = [entry.frame.stamp.ns for entry in open_source(path) if entry.frame]
    return [round((stamp - stamps[0]) / 1e6) for stamp in stamps]


def test_frames_keep_the_times_of_their_stamps(tmp_path: Path) -> None:
    write(tmp_path / 'overlay.mp4', [5000, 5100, 5350, 5400])
    assert times_ms(tmp_path / 'overlay.mp4') == [0, 100, 350, 400]
    frames = [entry.frame for entry in open_source(tmp_path / 'overlay.mp4')]
    assert [rec.index_of(frame.pixels) for frame in frames if frame] == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ['overlay.mp4']


def test_stamps_that_do_not_grow_lose_no_frame(tmp_path: Path) -> None:
    write(tmp_path / 'overlay.mp4', [100, 100, 50, 200])
    assert times_ms(tmp_path / 'overlay.mp4') == [0, 0, 0, 100]


def test_odd_sizes_lose_their_last_line(tmp_path: Path) -> None:
    write(tmp_path / 'overlay.mp4', [0, 100], (47, 63))
    frame = next(iter(open_source(tmp_path / 'overlay.mp4'))).frame
    assert frame is not None
    assert (frame.height, frame.width) == (46, 62)


def test_an_interrupted_video_is_whole(tmp_path: Path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / 'overlay.mp4') as video:
            video.write(rec.picture(1), 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(open_source(tmp_path / 'overlay.mp4')) == 1


def test_without_a_frame_there_is_no_video(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'overlay.mp4'):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('size', [(48, 32), (24, 16), (96, 64), (200, 4000)])
def test_a_frame_of_another_size_is_fitted_in(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / 'overlay.mp4'
    with VideoWriter(path) as video:
        video.write(np.full((48, 64, 3), 90, np.uint8), 0)
        video.write(np.full((*size, 3), 200, np.uint8), 100_000_000)
    first, second = (entry.frame for entry in open_source(path).frames())
    assert first is not None and second is not None
    pixels = second.bgr()
    assert pixels.shape == first.bgr().shape == (48, 64, 3)
    assert pixels[24, 32].min() > 180
    assert pixels[0, 0].max() < 30  # none of these has the first one's shape


@pytest.mark.parametrize('size', [(1, 1), (8, 300), (301, 3)])
def test_a_picture_too_small_for_a_video_is_fitted_into_one(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    with VideoWriter(tmp_path / 'small.mp4') as writer:
        writer.write(np.full((*size, 3), 200, np.uint8), 0)
        writer.write(np.full((64, 64, 3), 100, np.uint8), 10**8)
    capture = cv2.VideoCapture(str(tmp_path / 'small.mp4'))
    read, picture = capture.read()
    assert read and picture.shape[:2] == tuple(max(16, side // 2 * 2) for side in size)
    assert picture.max() > 150
    assert capture.read()[0]


def test_packets_are_pictures_from_each_second_on() -> None:
    encoder, pictures = VideoEncoder(), []
    for index in range(25):
        data = encoder.encode(rec.picture(index), index * 100_000_000)
        access = access_of('h264', data)
        assert access.key == access.start == (index % 10 == 0)
        pictures.append(data)
    decoder = VideoDecoder('h264', 25.0)
    for index, data in enumerate(pictures[10:], 10):
        (decoded,) = decoder.push(index, data)
        assert rec.index_of(UprightPixels()(decoded.picture)) == index


@pytest.mark.parametrize('size', [(49, 65), (10, 200), (48, 64)])
def test_packets_of_any_size(size: tuple[int, int]) -> None:
    encoder = VideoEncoder()
    encoder.encode(rec.picture(1, (32, 32)), 0)
    (decoded,) = VideoDecoder('h264', 25.0).push(1, encoder.encode(rec.picture(7, size), 1))
    pixels = UprightPixels()(decoded.picture)
    assert pixels.shape[:2] == tuple(max(16, side // 2 * 2) for side in size)
    assert rec.index_of(pixels) == 7
