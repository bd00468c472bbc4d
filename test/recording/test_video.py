"""Videos that a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import recordings as rec

from segformer_ros.recording import RecordingError, VideoWriter
from segformer_ros.sources import open_source


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


def test_a_smaller_frame_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'overlay.mp4') as video:
        video.write(np.zeros((48, 64, 3), np.uint8), 0)
        with pytest.raises(RecordingError, match='frame of 32x48 pixels .* had 64x48'):
            video.write(np.zeros((48, 32, 3), np.uint8), 1)
