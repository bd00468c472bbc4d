# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Summaries of runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segformer_ros.classes import load_class_map
from segformer_ros.metrics.metric import MetricError
from segformer_ros.segmenter.run_summary import RunScore, RunSummary, Score

NAN = float('nan')
SCORED = Score(frames=9, miou=0.5, iou={'road': 0.9})


def summary(**changes: object) -> RunSummary:
    """A run of ten frames of which nine have a mask."""
    values = {
        'source': 'drive',
        'frames_in': 10,
        'frames_segmented': 9,
        'frames_broken': 2,
        'latency_ms': {'p50': 12.5, 'p99': 20.0},
        'fps': 31.26,
        'model': 'b0.onnx',
        'engine': {'engine': 'openvino', 'device': 'CPU'},
    }
    return RunSummary(**{**values, **changes})  # type: ignore[arg-type]


def test_the_file_has_the_promised_fields(tmp_path: Path) -> None:
    summary(score=SCORED).write(tmp_path / 'summary.json')
    found = json.loads((tmp_path / 'summary.json').read_text())
    assert (found['frames_in'], found['frames_segmented'], found['frames_dropped']) == (10, 9, 1)
    assert found['latency_ms'] == {'p50': 12.5, 'p99': 20.0}
    assert (found['fps'], found['engine'], found['model']) == (31.26, 'openvino', 'b0.onnx')
    assert (found['miou'], found['iou']) == (0.5, {'road': 0.9})
    assert found['frames_scored'] == 9


def test_without_labels_there_is_no_score() -> None:
    assert 'miou' not in summary().as_json()
    assert 'IoU' not in summary().as_table()


def test_what_is_not_known_is_null() -> None:
    found = summary(latency_ms={'p50': NAN}, fps=NAN).as_json()
    assert found['latency_ms'] == {'p50': None}
    assert found['fps'] is None


def test_a_run_without_a_mask_has_no_latency() -> None:
    text = summary(frames_segmented=0, latency_ms={'p50': NAN}, fps=0.0).as_table()
    assert '10 in, 0 segmented, 10 dropped' in text
    assert 'latency' not in text and 'nan' not in text


def test_the_table_says_how_it_went() -> None:
    text = summary(score=SCORED).as_table()
    assert '10 in, 9 segmented, 1 dropped, 2 broken' in text
    assert 'p50 12.5 ms, p99 20.0 ms' in text
    assert 'openvino, CPU' in text
    assert ['road', '0.900'] in [line.split() for line in text.splitlines()]
    assert ['mean', '0.500'] in [line.split() for line in text.splitlines()]


def test_scores_are_of_the_classes_that_the_labels_have() -> None:
    score = RunScore(load_class_map('cityscapes'))
    assert score.result().miou is None
    truth = np.array([[0, 0, 13, 255]], np.uint8)
    score.update(truth, np.array([[0, 0, 0, 5]], np.uint8))
    assert score.result().iou == pytest.approx({'road': 2 / 3, 'car': 0.0})
    assert score.result().miou == pytest.approx(1 / 3)


def test_classes_may_be_scored_as_one() -> None:
    score = RunScore(load_class_map('cityscapes'), [('rider', 'bicycle')])
    score.update(np.full((2, 2), 12, np.uint8), np.full((2, 2), 18, np.uint8))
    assert score.result().iou == {'rider+bicycle': 1.0}


def test_labels_of_another_size_are_refused() -> None:
    score = RunScore(load_class_map('cityscapes'))
    with pytest.raises(MetricError, match='labels of 4x4 pixels'):
        score.update(np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8))


def test_the_iou_of_a_short_run_comes_with_a_caution() -> None:
    words = 'the IoU of rare classes says little'
    assert summary(score=SCORED).as_table().splitlines()[-1] == f'9 frames scored: {words}'
    long = summary(score=SCORED._replace(frames=5000)).as_table()
    assert long.splitlines()[-1] == '5000 frames scored'
    assert words not in summary().as_table()


def test_labels_that_the_class_map_has_not_are_noted() -> None:
    score = RunScore(load_class_map('cityscapes'))
    assert score.result().note == ''
    for _ in range(2):
        score.update(np.array([[0, 42, 42, 255]], np.uint8), np.zeros((1, 4), np.uint8))
    result = score.result()
    assert result.frames == 2
    assert result.note.endswith('not scored: 42 (4 pixels)')
    found = summary(score=result)
    assert found.as_json()['note'] == result.note
    assert found.as_table().endswith(result.note)


@pytest.mark.parametrize(
    ('changes', 'labelled', 'words'),
    [
        ({}, False, ''),
        ({'score': SCORED}, True, ''),
        ({}, True, 'none of the labels could be scored'),
        ({'frames_segmented': 0}, False, 'no frame was segmented'),
    ],
)
def test_a_run_that_gave_less_than_was_asked_for(
    changes: dict[str, object], labelled: bool, words: str
) -> None:
    fault = summary(**changes).fault(labelled)
    assert words in fault
    assert bool(fault) == bool(words)


def test_truth_of_other_classes_is_not_scored_and_no_fault() -> None:
    score = RunScore(load_class_map('ade20k'), truth='cityscapes')
    score.update(np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8))
    result = score.result()
    assert result.other_classes and result.miou is None
    assert result.note.startswith("nothing is scored: the truth has the classes of 'cityscapes'")
    told = summary(score=result)
    assert result.note in told.as_table()
    assert told.fault(labelled=True) == ''
    assert summary(score=Score(note=result.note)).fault(labelled=True)


def test_truth_in_another_order_is_brought_into_the_model_s(tmp_path: Path) -> None:
    names = load_class_map('cityscapes').names
    backwards = tmp_path / 'backwards.txt'
    backwards.write_text('\n'.join(reversed(names)))
    score = RunScore(load_class_map(backwards), truth='cityscapes')
    score.update(np.zeros((4, 6), np.uint8), np.full((4, 6), 18, np.uint8))
    assert score.result().iou == {'road': 1.0}
