# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The demo as it is typed: real nodes, real DDS, files as promised."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings as rec
from rosbags.highlevel import AnyReader

from segformer_ros.recordings import SourceOptions, open_source

pytestmark = pytest.mark.ros


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo with the fake engine."""
    command = [sys.executable, '-m', 'tools.demo', '--headless', '--out', str(out)]
    return subprocess.Popen(
        [*command, '--engine', 'fake', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(demo: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and what was printed."""
    out, err = demo.communicate(timeout=240)
    return demo.returncode, out, err


@pytest.mark.slow
def test_a_generated_drive_leaves_all_files(tmp_path: Path) -> None:
    code, out, err = finish(start(tmp_path / 'out', '--input', 'street::8'))
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'drive.mcap',
        'frames',
        'overlay.mp4',
        'summary.json',
    ]
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert summary['frames_in'] == summary['frames_segmented'] == 8
    assert summary['frames_dropped'] == 0
    assert summary['latency_ms']['p50'] > 0
    assert 0 <= summary['miou'] <= 1
    assert 'road' in summary['iou']
    assert len(open_source(tmp_path / 'out/overlay.mp4')) == 8
    video = SourceOptions(topic='/segmentation/overlay/video')
    overlays = open_source(tmp_path / 'out/drive.mcap', video)
    assert [entry.error for entry in overlays] == [None] * 8
    recorded, street = open_source(tmp_path / 'out/drive.mcap'), open_source('street::8')
    assert len(recorded) == 8
    assert recorded.pose is not None and street.pose is not None
    assert np.allclose(recorded.pose.position, street.pose.position)
    assert np.allclose(recorded.pose.rotation(), street.pose.rotation())
    with AnyReader([tmp_path / 'out/drive.mcap']) as reader:
        (maps,) = [entry for entry in reader.connections if entry.topic == '/drivable_area/map']
        raws = [raw for _, _, raw in reader.messages([maps])]
        grids: list[Any] = [reader.deserialize(raw, maps.msgtype) for raw in raws]
    assert [grid.header.frame_id for grid in grids] == ['odom'] * 8
    assert (grids[-1].data != -1).any()
    assert '8 in, 8 segmented, 0 dropped' in out
    assert '8/8' in err


@pytest.mark.slow
def test_labels_and_broken_frames_of_a_folder(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 5)
    (clip / 'frame2.png').write_bytes(b'')
    for index in range(5):
        rec.write_png(tmp_path / 'labels' / f'frame{index}.png', rec.labels(index))
    code, _, err = finish(
        start(
            tmp_path / 'out',
            '--input',
            str(clip),
            '--labels',
            str(tmp_path / 'labels'),
            '--param',
            'mask_width:=32',
        )
    )
    assert code == 0, err
    assert 'frame2.png' in err
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert (summary['frames_in'], summary['frames_broken']) == (4, 1)
    # The mask is smaller than the labels, and is scored all the same.
    assert set(summary['iou']) == {'road', 'sidewalk', 'wall', 'fence'}


@pytest.mark.slow
def test_a_mount_that_the_recording_lacks_can_be_given(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'bag', 3)
    mount = ['--param', 'mount.height:=1.5', '--param', 'mount.pitch:=0.1']
    code, _, err = finish(start(tmp_path / 'out', '--input', str(bag), *mount))
    assert code == 0, err
    assert 'without metres' not in err
    recorded = open_source(tmp_path / 'out/drive.mcap')
    assert recorded.pose is not None
    assert recorded.pose.height == pytest.approx(1.5)
    assert recorded.pose.pitch == pytest.approx(0.1)


@pytest.mark.slow
def test_an_interrupted_demo_leaves_whole_files(tmp_path: Path) -> None:
    demo = start(tmp_path / 'out', '--input', 'street::500', '--param', 'fake_delay:=0.05')
    assert demo.stderr is not None
    seen = ''
    # The bar skips counts that come too fast for it.
    while not any(int(count) >= 3 for count in re.findall(r' (\d+)/500', seen)):
        character = demo.stderr.read(1)
        assert character, seen
        seen += character
    demo.send_signal(signal.SIGINT)
    code, _, err = finish(demo)
    assert code == 130, err
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert 3 <= summary['frames_segmented'] < 500
    source = open_source(tmp_path / 'out/drive.mcap')
    assert source.notes == ()
    assert len(open_source(tmp_path / 'out/overlay.mp4')) == summary['frames_segmented']


@pytest.mark.slow
def test_a_node_that_cannot_start_ends_the_demo(tmp_path: Path) -> None:
    code, _, err = finish(
        start(
            tmp_path / 'out',
            '--input',
            'street::5',
            '--param',
            'precision:=int8',
        )
    )
    assert code == 2
    assert "engine 'fake' has no precision 'int8'" in err
    assert 'demo: the segmentation node ended with exit code 1' in err


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--rate', 'fast'], "./run demo: error: argument --rate: 'fast' is not a number"),
        (['--input', '/no/where'], 'demo: no such recording: /no/where'),
        (['--param', 'overlay_opacity'], 'demo: --param overlay_opacity: give NAME:=VALUE'),
        (['--param', 'fps:=[1'], 'demo: --param fps:=[1: give NAME:=VALUE'),
        (['--classes', '/no/map.yaml'], 'demo: cannot read class map /no/map.yaml: no such file'),
        (['--model', '/no/model.onnx'], 'demo: no model file /no/model.onnx'),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, _, err = finish(start(tmp_path / 'out', *arguments))
    assert code == 2
    assert err.startswith(words)
    assert err.count('\n') == 1
