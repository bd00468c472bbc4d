# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The confusion matrix against a plain count and against its definition."""

import numpy as np
import pytest

from segformer_ros.metrics.metric import MetricError
from segformer_ros.metrics.pixel_metrics import (
    BINS,
    ConfusionMatrix,
    Flicker,
    Reliability,
    confusion_scores,
)


def naive_counts(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes + 1), np.int64)
    for true, guess in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if true < classes:
            counts[true, min(guess, classes)] += 1
    return counts


def random_labels(seed: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = [*range(classes), 255]
    truth, predicted = rng.choice(values, (2, 17, 23)).astype(np.uint8)
    return truth, predicted


def test_counts_every_pixel_once() -> None:
    truth, predicted = random_labels(1)
    matrix = ConfusionMatrix(5)
    frame = matrix.update(truth, predicted)
    np.testing.assert_array_equal(frame, naive_counts(truth, predicted, 5))
    assert matrix.compute().matrix.sum() == (truth != 255).sum()


def test_merging_parts_equals_counting_all() -> None:
    whole, first, second = (ConfusionMatrix(5) for _ in range(3))
    for seed, part in ((1, first), (2, second), (3, first)):
        whole.update(*random_labels(seed))
        part.update(*random_labels(seed))
    second.merge(first.counts)
    np.testing.assert_array_equal(second.counts, whole.counts)
    assert second.compute().miou == whole.compute().miou


def test_reset_forgets() -> None:
    matrix = ConfusionMatrix(5)
    matrix.update(*random_labels(1))
    matrix.reset()
    assert matrix.counts.sum() == 0
    assert np.isnan(matrix.compute().miou)


def test_merge_refuses_other_classes() -> None:
    with pytest.raises(MetricError, match=r'counts of shape \(4, 5\) do not fit \(5, 6\)'):
        ConfusionMatrix(5).merge(ConfusionMatrix(4).counts)


def test_scores_by_hand() -> None:
    # Class 0: 6 of 8 pixels found. Class 1: 3 of 4. Class 2 is only predicted, class 3 is nowhere.
    scores = confusion_scores(
        np.array([[6, 1, 1, 0, 0], [0, 3, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    )
    np.testing.assert_allclose(scores.iou[:3], [6 / 8, 3 / 5, 0.0])
    assert np.isnan(scores.iou[3])
    assert scores.miou == pytest.approx((6 / 8 + 3 / 5) / 2)
    assert scores.miou_union == pytest.approx((6 / 8 + 3 / 5 + 0) / 3)
    assert scores.pixel_accuracy == pytest.approx(9 / 12)
    assert scores.mean_accuracy == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert scores.fwiou == pytest.approx((8 * 6 / 8 + 4 * 3 / 5) / 12)


def test_more_pixels_than_32_bits_hold() -> None:
    matrix = ConfusionMatrix(2)
    matrix.merge(np.full((2, 3), 3 << 32, np.int64))
    assert matrix.compute().matrix.sum() == 18 << 32


def test_class_count_must_fit_a_mask() -> None:
    with pytest.raises(ValueError, match='256 classes; a uint8 label map holds 1 to 255'):
        ConfusionMatrix(256)


def test_a_calibrated_model_has_no_error() -> None:
    truth = np.zeros((1, 100), np.uint8)
    predicted = (np.arange(100) >= 60).astype(np.uint8)[None]  # 60 % right
    confidence = np.full((1, 100), 153, np.uint8)  # 153 / 255 = 0.6
    metric = Reliability()
    metric.update(truth, predicted, confidence)
    scores = metric.compute()
    assert scores.ece == 0.0
    filled = np.flatnonzero(scores.pixels)
    assert len(filled) == 1
    assert scores.accuracy[filled[0]] == pytest.approx(0.6)
    assert scores.confidence[filled[0]] == pytest.approx(0.6)


def test_error_is_weighted_by_pixels() -> None:
    truth = np.zeros((1, 4), np.uint8)
    predicted = np.array([[0, 1, 1, 1]], np.uint8)
    confidence = np.array([[255, 255, 255, 0]], np.uint8)
    metric = Reliability()
    metric.update(truth, predicted, confidence)
    # Top bin: 3 pixels, sure, a third right. Lowest bin: 1 pixel, 0 and wrong.
    assert metric.compute().ece == pytest.approx(3 / 4 * 2 / 3)


def test_ignored_pixels_do_not_count() -> None:
    metric = Reliability()
    ignored = np.full((2, 2), 255, np.uint8)
    metric.update(ignored, np.full((2, 2), 255, np.uint8), np.full((2, 2), 9, np.uint8))
    assert metric.counts.sum() == 0
    assert np.isnan(metric.compute().ece)


def test_every_level_has_a_bin() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    metric = Reliability()
    metric.update(np.zeros_like(levels), np.zeros_like(levels), levels)
    pixels = metric.compute().pixels
    assert len(pixels) == BINS
    assert pixels.sum() == 256
    assert pixels.min() >= 256 // BINS


def row(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def test_only_pixels_whose_truth_stays_count() -> None:
    metric = Flicker(3)
    metric.update(row(0, 0, 1, 1, 255), row(0, 0, 1, 1, 1))
    metric.update(row(0, 0, 1, 2, 255), row(0, 2, 0, 2, 2))
    np.testing.assert_array_equal(metric.counts, [[2, 1], [1, 1], [0, 0]])
    scores = metric.compute()
    assert scores.overall == 2 / 3
    np.testing.assert_array_equal(scores.by_class, [0.5, 1.0, np.nan])


def test_a_restart_begins_a_new_sequence() -> None:
    metric = Flicker(2)
    metric.update(row(0, 0), row(0, 0))
    metric.restart()
    metric.update(row(0, 0), row(1, 1))
    assert metric.counts.sum() == 0


def test_frames_of_another_size_are_not_compared() -> None:
    metric = Flicker(2)
    metric.update(row(0, 0), row(0, 0))
    metric.update(row(0, 0, 0), row(1, 1, 1))
    assert metric.counts.sum() == 0


def test_a_remembered_frame_is_compared_with_but_not_counted() -> None:
    whole, part = Flicker(2), Flicker(2)
    frames = [row(0, 0), row(0, 1), row(1, 1)]
    for frame in frames:
        whole.update(row(0, 0), frame)
    part.remember(row(0, 0), frames[1])
    part.update(row(0, 0), frames[2])
    first = Flicker(2)
    for frame in frames[:2]:
        first.update(row(0, 0), frame)
    part.merge(first.counts)
    np.testing.assert_array_equal(part.counts, whole.counts)
