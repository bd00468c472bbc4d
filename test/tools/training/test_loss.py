# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The loss on CamVid's coarse labels and on exact ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tools.training.loss import (
    SegmentationLoss,
    class_weights,
    distillation,
    marginal_log_probabilities,
    soft_jaccard,
)
from tools.training.taxonomy import COARSE, TAXONOMIES, taxonomy

CAR, TRUCK, RIDER, BICYCLE, ROAD, BUILDING, PERSON = 13, 14, 12, 18, 0, 2, 11
SIDEWALK, WALL = 1, 3


def certain(train_id: int) -> torch.Tensor:
    """(1, 19, 4, 4) logits of a network that is sure."""
    logits = torch.zeros(1, 19, 4, 4)
    logits[:, train_id] = 20.0
    return logits


def loss_of(train_id: int, label: int, name: str) -> float:
    known = taxonomy(name)
    criterion = SegmentationLoss(known, np.ones(len(known.labels), np.float32), jaccard=0.0)
    return float(criterion(certain(train_id), torch.full((1, 4, 4), label, dtype=torch.uint8)))


def test_a_marginal_is_the_weighted_sum_of_its_classes() -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 19, 3, 5)
    camvid = taxonomy('camvid')
    p = logits.softmax(dim=1)
    marginal = marginal_log_probabilities(logits, camvid).exp()
    cyclist = camvid.labels.index(RIDER)
    expected = p[:, 12] + p[:, 18] + 0.4 * p[:, 17]
    torch.testing.assert_close(marginal[:, cyclist], expected)


def test_a_cycle_is_right_where_camvid_says_cyclist() -> None:
    assert loss_of(BICYCLE, RIDER, 'camvid') == pytest.approx(0.0, abs=1e-4)
    assert loss_of(BICYCLE, RIDER, 'cityscapes') > 10.0


def test_a_lorry_is_nearly_right_and_a_road_wrong_where_camvid_says_car() -> None:
    assert 0.0 < loss_of(TRUCK, CAR, 'camvid') < 1.0
    assert loss_of(ROAD, CAR, 'camvid') > 10.0
    assert loss_of(CAR, CAR, 'camvid') == pytest.approx(0.0, abs=1e-4)


def test_a_person_before_a_facade_is_nearly_right() -> None:
    assert 0.0 < loss_of(PERSON, BUILDING, 'facades') < 2.0
    assert loss_of(PERSON, BUILDING, 'cityscapes') > 10.0
    assert loss_of(ROAD, BUILDING, 'facades') > 10.0
    assert loss_of(PERSON, PERSON, 'facades') == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize('jaccard', [0.0, 1.0])
def test_any_class_of_a_coarse_group_is_right(jaccard: float) -> None:
    known = taxonomy('idd')
    criterion = SegmentationLoss(known, np.ones(len(known.labels), np.float32), jaccard)
    vehicles = torch.full((1, 4, 4), COARSE + 3, dtype=torch.uint8)
    for train_id in (CAR, TRUCK, BICYCLE):
        assert float(criterion(certain(train_id), vehicles)) == pytest.approx(0.0, abs=1e-4)
    assert float(criterion(certain(ROAD), vehicles)) > 10.0


def test_a_stray_of_a_group_is_half_as_likely() -> None:
    known = taxonomy('idd_kerbs')
    criterion = SegmentationLoss(known, np.ones(len(known.labels), np.float32), 0.0)
    kerb = torch.full((1, 4, 4), COARSE + 4, dtype=torch.uint8)
    assert float(criterion(certain(WALL), kerb)) == pytest.approx(0.0, abs=1e-4)
    assert float(criterion(certain(SIDEWALK), kerb)) == pytest.approx(math.log(2), abs=1e-4)
    assert float(criterion(certain(ROAD), kerb)) > 10.0


def test_camvid_groups_cover_each_class_once() -> None:
    members = [i for group in TAXONOMIES['camvid'].members for i, _ in group]
    assert sorted(members) == list(range(19))


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.zeros(1, 19, 4, 4, requires_grad=True)
    labels = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    labels[0, 0] = ROAD
    known = taxonomy('cityscapes')
    SegmentationLoss(known, np.ones(19, np.float32), jaccard=1.0)(logits, labels).backward()
    assert logits.grad[..., 1:, :].abs().max() == 0.0
    assert logits.grad[..., 0, :].abs().max() > 0.0


def test_a_batch_of_ignored_pixels_is_zero_and_finite() -> None:
    assert loss_of(ROAD, 255, 'camvid') == 0.0


def test_soft_jaccard_of_hard_predictions_is_one_minus_iou() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    predicted = torch.tensor([[[0, 1, 1, 1]]])
    p = torch.nn.functional.one_hot(predicted, 2).permute(0, 3, 1, 2).float()
    assert float(soft_jaccard(p, target)) == pytest.approx(1.0 - (1 / 2 + 2 / 3) / 2)


def test_rare_labels_weigh_more_within_the_limit() -> None:
    weights = class_weights(np.array([1_000_000, 10_000, 10, 0]), power=0.5, limit=3.0)
    assert weights == pytest.approx([1 / 3, 1.0, 3.0, 1.0])


def test_a_student_diverges_from_its_teacher_until_they_agree() -> None:
    teacher = certain(CAR)
    assert float(distillation(teacher + 3.0, teacher)) == pytest.approx(0.0, abs=1e-6)
    logits = torch.zeros(1, 19, 4, 4, requires_grad=True)
    apart = distillation(logits, teacher)
    assert float(apart.detach()) == pytest.approx(np.log(19), rel=1e-3)  # the teacher is sure
    apart.backward()
    assert logits.grad is not None
    assert (logits.grad[:, CAR] < 0).all()
    assert (logits.grad[:, ROAD] > 0).all()
