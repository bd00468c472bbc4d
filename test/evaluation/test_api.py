# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Evaluation as one call."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import painted
import pytest

import segformer_ros
from segformer_ros import EvaluationOptions
from segformer_ros.cli.main import main
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.recordings import SourceOptions

FAKE = EvaluationOptions(engine='fake')


def test_a_call_writes_what_the_command_writes(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 4)
    told: list[int] = []
    report = segformer_ros.evaluate(
        images, out=tmp_path / 'called', options=FAKE, labels=labels, progress=told.append
    )
    command = ['evaluate', str(images), '--labels', str(labels), '--engine', 'fake']
    assert main([*command, '--out', str(tmp_path / 'typed')]) == 0
    typed = json.loads((tmp_path / 'typed/metrics.json').read_text())
    assert report.metrics == typed
    assert json.loads((tmp_path / 'called/metrics.json').read_text()) == typed
    assert report.page == tmp_path / 'called/report.html'
    assert {path.name for path in (tmp_path / 'called').iterdir()} == {
        path.name for path in (tmp_path / 'typed').iterdir()
    }
    assert sum(told) == 4
    assert 0 < report.metrics['miou'] < 1
    assert report.broken == ()


def test_gates_and_several_recordings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = painted.write_bag(tmp_path / 'drive', 3)
    options = replace(FAKE, sources=SourceOptions(label_topic='/labels'))
    first = segformer_ros.evaluate([bag, bag], out=tmp_path / 'a', options=options)
    assert first.metrics['frames']['scored'] == 6
    with caplog.at_level(logging.WARNING):
        second = segformer_ros.evaluate(
            bag,
            out=str(tmp_path / 'b'),
            options=replace(
                options,
                fail_under='miou=0.999',
                max_drop='iou.road=0.5',
                baseline=tmp_path / 'a/metrics.json',
                write_mcap=True,
            ),
        )
    assert len(second.broken) == 1 and 'miou' in second.broken[0]
    assert (tmp_path / 'b/annotated.mcap').is_file()


def test_wrong_gates_end_before_the_work(tmp_path: Path) -> None:
    images, labels = painted.write_folders(tmp_path, 1)
    drop = EvaluationOptions(max_drop='miou=0.1')
    gate = replace(FAKE, fail_under='nosuch=1')
    with pytest.raises(EvaluationError, match='--max-drop needs --baseline'):
        segformer_ros.evaluate(images, labels=labels, out=tmp_path / 'a', options=drop)
    with pytest.raises(segformer_ros.SegformerError, match='nosuch'):
        segformer_ros.evaluate(images, labels=labels, out=tmp_path / 'b', options=gate)
    assert not (tmp_path / 'b/metrics.json').exists()
