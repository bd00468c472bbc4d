# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The live evaluation as it is typed: real nodes, real DDS, the scores of `segformer evaluate`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import recordings as rec

from segformer_ros.cli import main as cli

pytestmark = pytest.mark.ros


def evaluate_live(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with the fake engine to its end."""
    command = [sys.executable, '-m', 'tools.demo.evaluate_live', '--out', str(out)]
    return subprocess.run(
        [*command, '--engine', 'fake', *arguments], capture_output=True, text=True, timeout=240
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding='utf-8'))


@pytest.mark.slow
def test_the_scores_are_those_of_evaluate(tmp_path: Path) -> None:
    drive = 'street:1:6'
    ended = evaluate_live(tmp_path / 'live', '--input', drive, '--rate', '0')
    assert ended.returncode == 0, ended.stderr
    assert cli.main(['evaluate', drive, '--out', str(tmp_path / 'run'), '--engine', 'fake']) == 0
    metrics, offline = (read(tmp_path / name / 'metrics.json') for name in ('live', 'run'))
    assert metrics['frames'] == offline['frames'] == {'total': 6, 'scored': 6, 'noted': 0}
    assert metrics['iou'] == offline['iou']
    live = read(tmp_path / 'live/live.json')
    assert (live['published'], live['masks'], live['dropped'], live['pairs']) == (6, 6, 0, 6)
    assert 'images without a mask' in ended.stdout


@pytest.mark.slow
def test_a_given_mount_gives_metres(tmp_path: Path) -> None:
    bag = rec.write_bag(tmp_path / 'bag', 3)
    labels = ['--label-topic', '/front/labels', '--rate', '0']
    mount = ['--param', 'mount.height:=1.5', '--param', 'mount.pitch:=0.1']
    mount += ['--param', 'drivable.max_age:=60.0']  # on a busy machine frames grow old
    for name, more in (('without', []), ('given', mount)):
        ended = evaluate_live(tmp_path / name, '--input', str(bag), *labels, *more)
        assert ended.returncode == 0, ended.stderr
    without, given = (
        read(tmp_path / name / 'metrics.json')['drivable'] for name in ('without', 'given')
    )
    assert without['metres'] is None
    assert given['metres']['unit'] == 'm'


def test_a_recording_without_truth_is_refused(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 1)
    ended = evaluate_live(tmp_path / 'out', '--input', str(clip))
    assert ended.returncode == 2
    assert ended.stderr == (
        f'evaluate-live: {clip} has no truth; give --labels FOLDER or --label-topic TOPIC\n'
    )
