# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Boundary F-score against a plain distance transform and by hand."""

import cv2
import numpy as np
import pytest

from segformer_ros.metrics.shape_metrics import BoundaryFScore


def contour_mask(labels: np.ndarray, class_id: int) -> np.ndarray:
    """Pixels of the class that touch another class, pixel by pixel."""
    height, width = labels.shape
    mask = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(labels == class_id).tolist():
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            v, u = y + dy, x + dx
            if 0 <= v < height and 0 <= u < width and labels[v, u] not in (class_id, 255):
                mask[y, x] = True
    return mask


def naive_counts(
    truth: np.ndarray, predicted: np.ndarray, classes: int, radius: int
) -> np.ndarray:
    predicted = np.where(truth == 255, np.uint8(255), predicted)
    counts = np.zeros((classes, 4), np.int64)
    for class_id in range(classes):
        masks = [contour_mask(labels, class_id) for labels in (predicted, truth)]
        for column, (mine, other) in enumerate((masks, masks[::-1])):
            counts[class_id, 2 * column] = mine.sum()
            if other.any():
                free = (~other).astype(np.uint8)
                distance = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                counts[class_id, 2 * column + 1] = (mine & (distance <= radius + 1e-4)).sum()
    return counts


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_equals_the_distance_transform(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = (
        cv2.resize(
            rng.choice([0, 1, 2, 3, 255], (8, 11)).astype(np.uint8), (110, 80),
            interpolation=cv2.INTER_NEAREST,
        )
        for _ in range(2)
    )  # fmt: skip
    metric = BoundaryFScore(4, tolerance=0.03)
    metric.update(truth, predicted)
    np.testing.assert_array_equal(metric.counts, naive_counts(truth, predicted, 4, 4))


def halves(edge: int) -> np.ndarray:
    labels = np.zeros((60, 80), np.uint8)
    labels[:, edge:] = 1
    return labels


@pytest.mark.parametrize(('shift', 'expected'), [(0, 1.0), (2, 1.0), (4, 0.0)])
def test_a_shifted_edge_counts_up_to_the_tolerance(shift: int, expected: float) -> None:
    metric = BoundaryFScore(2, tolerance=0.02)  # 2 pixels of a diagonal of 100
    metric.update(halves(40), halves(40 + shift))
    assert metric.compute().mean == expected


def test_the_border_of_ignored_pixels_is_no_contour() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[10:20, 10:20] = 255
    metric = BoundaryFScore(2)
    metric.update(truth, np.zeros_like(truth))
    assert metric.counts.sum() == 0
    assert np.isnan(metric.compute().mean)


def test_a_missed_class_is_zero_and_an_invented_one_does_not_enter_the_mean() -> None:
    metric = BoundaryFScore(3)
    metric.update(halves(40), np.zeros((60, 80), np.uint8))
    assert metric.compute().mean == 0.0
    metric.reset()
    predicted = halves(40)
    predicted[:10, :10] = 2
    metric.update(halves(40), predicted)
    scores = metric.compute()
    assert scores.f[2] == 0.0
    assert scores.mean == pytest.approx((scores.f[0] + scores.f[1]) / 2)


def test_without_contours_in_the_truth_no_class_has_a_score() -> None:
    """Labels that are void along every contour; the prediction's contour is beside the void."""
    truth = halves(40)
    truth[:, 38:42] = 255
    metric = BoundaryFScore(3)
    metric.update(truth, halves(45))
    scores = metric.compute()
    assert metric.counts[:2, 0].all()
    assert np.isnan([*scores.f, scores.mean]).all()
    metric.update(halves(40), np.zeros((60, 80), np.uint8))  # now the truth has some
    np.testing.assert_array_equal(metric.compute().f, [0.0, 0.0, np.nan])
