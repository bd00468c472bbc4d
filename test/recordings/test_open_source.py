"""Which kind of recording a path is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segformer_ros.recordings import SourceError, open_source


def test_a_missing_path_is_refused() -> None:
    with pytest.raises(SourceError, match=r'no such recording: /no/where\.mcap'):
        open_source('/no/where.mcap')


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('old.bag', 'is a ROS 1 bag; convert it'),
        ('part.mcap.zstd', 'cannot read bag .*: nothing of it can be unpacked'),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b'x')
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / name)


@pytest.mark.timeout(20)
def test_a_pipe_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'drive.mp4')
    with pytest.raises(SourceError, match='is a device or a pipe; give a file or a folder'):
        open_source(tmp_path / 'drive.mp4')
