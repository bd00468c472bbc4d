# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The gate: what is compared, what counts, and why a model does not pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segformer_ros.engines import fake_spec
from segformer_ros.frame import Frame
from segformer_ros.quantization.accuracy_gate import LEAST_SHARE, Gate, GateResult, Judge
from segformer_ros.quantization.samples import Sample

SIDE = 200
ROAD, POLE, TERRAIN, SKY = 0, 5, 9, 10


def test_where_truth_is_known_it_decides() -> None:
    verdict = GateResult(8, 0.97, 0.99, {}, miou_fp32=0.70, miou=0.697)
    assert verdict.failures(Gate()) == []
    assert verdict.failures(Gate(loss=0.002)) == [
        'mean IoU falls by 0.30 points (0.2 may be lost)'
    ]
    unknown = GateResult(8, 0.97, 0.99, {})
    assert unknown.failures(Gate()) == ['agreement with FP32 is 0.9700 (at least 0.99 asked)']


def test_the_classes_that_cost_most_are_named() -> None:
    ious = {'road': (0.95, 0.94), 'pole': (0.5, 0.3), 'sky': (0.9, 0.9), 'car': (0.8, 0.7)}
    lost = GateResult(8, 0.9, 0.99, {}, miou_fp32=0.79, miou=0.71, class_iou=ious)
    (failure,) = lost.failures(Gate())
    assert failure.endswith(', most of it in pole (20.0), car (10.0), road (1.0)')
    agreement = {'road': 0.99, 'pole': 0.8, 'terrain': 0.2, 'sky': 1.0, 'car': 0.9}
    differing = GateResult(8, 0.9, 0.99, agreement, rare={'terrain': 3})
    (failure,) = differing.failures(Gate())
    assert failure.endswith(' asked), least for pole (0.800), car (0.900), road (0.990)')


@pytest.fixture
def labels() -> np.ndarray:
    """Sky over road, a pole, and less terrain than counts."""
    labels = np.full((SIDE, SIDE), ROAD, np.uint8)
    labels[: SIDE // 2] = SKY
    labels[50:150, 20:22] = POLE
    labels[-1, :3] = TERRAIN
    assert 3 < LEAST_SHARE * labels.size < 200
    return labels


def painted(labels: np.ndarray) -> Any:
    """An engine with one answer."""
    answer = [SimpleNamespace(labels=labels)]
    return SimpleNamespace(spec=fake_spec(), segment=lambda frames: answer)


def judge(labels: np.ndarray, other: np.ndarray, truth: np.ndarray | None = None) -> GateResult:
    sample = Sample(Frame.from_array(np.zeros((SIDE, SIDE, 3), np.uint8)), truth)
    return Judge(painted(labels), [sample]).judge(painted(other))


def test_a_class_of_a_few_pixels_does_not_count_in_the_agreement(labels: np.ndarray) -> None:
    other = labels.copy()
    other[-1, :2] = ROAD
    verdict = judge(labels, other)
    assert verdict.rare == {'terrain': 3}
    assert verdict.class_agreement['terrain'] == pytest.approx(1 / 3)
    assert verdict.agreement > 0.999


def test_a_rare_class_with_pixels_enough_counts(labels: np.ndarray) -> None:
    other = labels.copy()
    other[50:150, 21] = labels[50:150, 23]
    verdict = judge(labels, other)
    assert verdict.class_agreement['pole'] == pytest.approx(0.5)
    assert verdict.agreement == pytest.approx((0.5 + 2 * 0.995) / 3, abs=0.002)


def test_against_the_truth_all_of_its_classes_count(labels: np.ndarray) -> None:
    other = labels.copy()
    other[-1, :3] = ROAD
    verdict = judge(labels, other, truth=labels)
    assert verdict.miou_fp32 == 1 and verdict.loss == pytest.approx(0.25, abs=0.001)
    assert verdict.class_iou is not None and verdict.class_iou['terrain'] == (1, 0)
