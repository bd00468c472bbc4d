"""Label maps and confidence from logits."""

import cv2
import numpy as np
import pytest

from segformer_ros.engines.labelling import confidence_map, label_map, resize_labels
from segformer_ros.engines.reference import resize_bilinear


def smooth_logits(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(classes, height // 4, width // 4))
    planes = [cv2.resize(plane.astype(np.float32), (width, height)) for plane in noise]
    return np.stack(planes)


@pytest.mark.parametrize('size', [(128, 256), (101, 333), (20, 31), (1, 1)])
def test_exact_equals_the_argmax_of_upsampled_logits(size: tuple[int, int]) -> None:
    logits = smooth_logits(19, 32, 64)
    scores = resize_bilinear(logits, size)
    ranked = np.sort(scores, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5
    assert clear.mean() > 0.99
    labels = label_map(logits, size, 'exact')
    np.testing.assert_array_equal(labels[clear], scores.argmax(axis=0)[clear])


def test_the_lower_class_wins_a_tie() -> None:
    assert not label_map(np.zeros((4, 2, 2), np.float32), (8, 8), 'exact').any()


def test_a_class_that_wins_only_between_the_corners_is_found() -> None:
    """Class 1 is nowhere the best of a logit cell's corners, yet in its middle."""
    logits = np.array([[[10, -10]], [[1, 1]], [[-10, 10]]], np.float32)
    logits = np.repeat(logits, 2, axis=1)
    assert 1 not in np.argmax(logits, axis=0)
    assert 1 in label_map(logits, (8, 64), 'exact')


def test_fast_repeats_the_argmax() -> None:
    logits = smooth_logits(19, 16, 16)
    labels = label_map(logits, (64, 64), 'fast')
    np.testing.assert_array_equal(labels, np.argmax(logits, 0).repeat(4, 0).repeat(4, 1))


def test_labels_shrink_by_their_centres() -> None:
    labels = np.arange(81, dtype=np.uint8).reshape(9, 9)
    np.testing.assert_array_equal(resize_labels(labels, (3, 3)), labels[1::3, 1::3])


def test_confidence_is_the_greatest_probability() -> None:
    logits = smooth_logits(5, 16, 24)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    wanted = probabilities.max(axis=0) * 255
    assert np.abs(confidence_map(logits, (16, 24)) - wanted).max() <= 0.51
