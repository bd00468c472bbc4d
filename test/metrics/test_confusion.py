"""The confusion matrix against a plain count and against its definition."""

import numpy as np
import pytest

from segformer_ros.metrics import ConfusionMatrix, MetricError, confusion_scores


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
