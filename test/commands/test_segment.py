"""segformer segment, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import recordings as rec

from segformer_ros import cli


def test_a_video_by_its_url_as_deepstream_applications_take_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = rec.write_video(tmp_path / 'my drive.mp4', 4)
    url = f'file://{str(video).replace(" ", "%20")}'
    out = str(tmp_path / 'out')
    assert cli.main(['segment', '-i', url, '--out', out, '--engine', 'fake']) == 0
    found = json.loads((tmp_path / 'out/summary.json').read_text())
    assert (found['frames_in'], found['engine'], found['source']) == (4, 'fake', 'my drive')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'frames',
        'masks',
        'overlay.mp4',
        'summary.json',
    ]
    assert '4 in, 4 segmented' in capsys.readouterr().out


def test_a_described_camera_gives_the_drivable_area(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    out = tmp_path / 'out'
    camera = ['--height', '1.4', '--pitch', '3', '--hfov', '60']
    assert cli.main(['segment', str(clip), '--out', str(out), '--engine', 'fake', *camera]) == 0
    assert len((out / 'drivable.jsonl').read_text().splitlines()) == 2


def test_broken_frames_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    (clip / 'frame1.png').write_bytes(b'')
    out = str(tmp_path / 'out')
    assert cli.main(['segment', str(clip), '--out', out, '--engine', 'fake']) == 0
    captured = capsys.readouterr()
    assert 'frame1.png' in captured.err
    assert '1 broken' in captured.out


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], 'no recording is given'),
        (['street:x'], 'is named street:'),
        (['street::1', '--model', '/no/model.onnx'], 'no model file /no/model.onnx'),
        (['street::1', '--engine', 'fake', '--precision', 'int8'], "has no precision 'int8'"),
        (['street::1', '--engine', 'fake', '--classes', 'mars'], "no class map 'mars'"),
        (['street::1', '--engine', 'fake', '--fps', '0'], '0.0 frames per second'),
        (['street::1', '--engine', 'fake', '--height', '-1'], 'camera height -1.0 m'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['segment', *arguments, '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count('\n') == 1
