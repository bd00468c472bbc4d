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

import dataclasses
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import painted
import pytest
from rosbags.highlevel import AnyReader

import segformer_ros
from segformer_ros import EvaluationOptions
from segformer_ros.cli.main import main
from segformer_ros.engines import EngineError
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.evaluation.api import (
    ACCURACY,
    ERRORS,
    IMAGE,
    MASK,
    MIOU,
    OVERLAY,
    annotate_run,
)
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.frame import Frame
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


def test_messages_carry_the_frames_stamps_and_the_scored_masks(tmp_path: Path) -> None:
    bag = painted.write_bag(tmp_path / 'drive', 4)
    job = dataclasses.replace(painted.bag_job(bag), predictions=str(tmp_path / 'out/predictions'))
    run = EvaluationRun(job, tmp_path / 'out')
    run.execute()
    counted: list[int] = []
    path = annotate_run(run, counted.append)
    masks = painted.predicted(4)
    with AnyReader([bag]) as recorded:
        topic = [c for c in recorded.connections if c.topic == '/image']
        frames = [
            Frame.from_image(recorded.deserialize(data, c.msgtype))
            for c, _, data in recorded.messages(topic)
        ]
    with AnyReader([path]) as reader:
        found: dict[str, list[tuple[int, Any]]] = {}
        for connection, time, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time, message))
    assert set(found) == {IMAGE, MASK, OVERLAY, ERRORS, MIOU, ACCURACY}
    assert all(len(messages) == 4 for messages in found.values())
    for index, (time, message) in enumerate(found[MASK]):
        mask = Frame.from_image(message)
        assert (mask.stamp, mask.frame_id) == (frames[index].stamp, frames[index].frame_id)
        assert time == mask.stamp.ns
        np.testing.assert_array_equal(mask.pixels, masks[index])
    wrong = Frame.from_compressed(found[ERRORS][0][1]).pixels
    truth = painted.truth(0)
    differs = (truth != masks[0]) & (truth != 255)
    redness = wrong[..., 2].astype(int) - wrong[..., 0]
    assert redness[differs].mean() > 60 > 20 > redness[~differs].mean()
    assert sum(counted) == 4


def test_a_frame_that_could_not_be_segmented_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, calls = FakeEngine._end, []

    def failing(engine: FakeEngine, slot: int) -> tuple[np.ndarray, float]:
        calls.append(1)
        if len(calls) == 3:
            raise EngineError('out of memory')
        return infer(engine, slot)

    monkeypatch.setattr(FakeEngine, '_end', failing)
    job = dataclasses.replace(
        painted.folder_job(tmp_path, 4), predictions=str(tmp_path / 'out/predictions')
    )
    run = EvaluationRun(job, tmp_path / 'out')
    assert run.execute().metrics['frames']['scored'] == 3
    with AnyReader([annotate_run(run)]) as reader:
        masks = [c for c in reader.connections if c.topic == MASK]
        assert sum(1 for _ in reader.messages(masks)) == 3
    (tmp_path / 'out/predictions/images/frame0000.png').unlink()
    with pytest.raises(EvaluationError, match=r'frame0000\.png is missing'):
        annotate_run(run)
