# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which kind of recording a path is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import recordings as rec

from segformer_ros.recordings import SourceError, SourceOptions, open_source


def test_a_missing_path_is_refused() -> None:
    with pytest.raises(SourceError, match=r'no such recording: /no/where\.mcap'):
        open_source('/no/where.mcap')


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('old.bag', 'is a ROS 1 bag; convert it'),
        ('camera.h264', 'is a raw stream without timestamps; add them: ffmpeg -r RATE'),
        ('part.mcap.zstd', 'cannot read bag .*: nothing of it can be decompressed'),
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


def test_a_calibration_file_gives_metres_to_what_has_none(tmp_path: Path) -> None:
    file = tmp_path / 'camera.yaml'
    text = (
        'image_width: 64\nimage_height: 48\ndistortion_model: plumb_bob\n'
        'camera_matrix: {data: [70, 0, 32, 0, 70, 24, 0, 0, 1]}\n'
        'distortion_coefficients: {data: [0, 0, 0, 0, 0]}\n'
    )
    file.write_text(text)
    options = SourceOptions(camera_info=file)
    for path in (
        rec.write_video(tmp_path / 'drive.mp4', 2),
        rec.write_folder(tmp_path / 'folder', 2),
        rec.write_bag(tmp_path / 'bag', 2),
    ):
        source = open_source(path, options)
        assert source.calibration is not None and source.calibration.fx == 70
    assert any("replaces the recording's own" in note for note in source.notes)
    file.write_text(text.replace('64', '640').replace('32', '320'))
    with pytest.raises(SourceError, match='for 640x48 images, but the image is 64x48'):
        open_source(tmp_path / 'folder', options)
    file.unlink()
    with pytest.raises(SourceError, match='calibration .*: no such file'):
        open_source(tmp_path / 'folder', options)


@pytest.mark.parametrize('kind', ['rtsp', 'rtmp', 'http', 'https', 'srt', 'udp'])
def test_a_stream_is_refused_as_what_it_is(kind: str) -> None:
    with pytest.raises(SourceError, match='is a stream, not a recording: record') as found:
        open_source(f'{kind}://user:secret@camera.local:554/live?token=x')
    assert f'{kind}://camera.local:554/live' in str(found.value)
    assert 'secret' not in str(found.value) and 'token' not in str(found.value)


def test_the_metadata_of_a_bag_stand_for_it(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'drive', 2)
    source = open_source(bag / 'metadata.yaml')
    assert (source.name, len(source)) == ('drive', 2)
