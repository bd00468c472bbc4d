# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer compare, as it is typed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import painted
import pytest

from segformer_ros.cli import main as cli
from segformer_ros.evaluation.runner import EvaluationRun


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same frames, in folders `exact` and `fast`."""
    root = tmp_path_factory.mktemp('runs')
    job = painted.folder_job(root, 12)
    for name in ('exact', 'fast'):
        EvaluationRun(dataclasses.replace(job, upsampling=name), root / name).execute()
    return root


def test_classes_and_frames_that_changed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['compare', str(root / 'exact'), str(root / 'fast/metrics.json')]) == 0
    output = capsys.readouterr().out
    assert output.startswith('12 frames in common; only before: 0, only after: 0')
    assert 'mIoU' in output
    assert 'images/frame00' in output
    assert 'too few frames to tell' in output
    assert (
        'no intervals: to tell a change from noise takes 8 blocks of frames, and there are 2'
        in output
    )


def test_unrelated_images_are_judged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(root / name) for name in ('exact', 'fast')]
    assert cli.main(['compare', *runs, '--block', '1']) == 0
    output = capsys.readouterr().out
    assert ('better' in output) or ('worse' in output) or ('within noise' in output)
    assert 'no intervals' not in output


def test_a_run_against_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['compare', str(root / 'exact'), str(root / 'exact')]) == 0
    output = capsys.readouterr().out
    assert 'no frame changed' in output
    assert not any(word in output for word in ('better', 'worse', 'noise'))


def test_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['compare', str(tmp_path), str(tmp_path)]) == 2
    assert 'metrics.json cannot be read: no such file' in capsys.readouterr().err
