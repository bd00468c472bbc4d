"""Label maps and confidence from logits."""

import numpy as np

from segformer_ros.engines.labelling import confidence_map, label_map, resize_labels
from segformer_ros.engines.reference import resize_bilinear

LOGITS = np.random.default_rng(0).normal(size=(19, 16, 24)).astype(np.float32)


def test_fast_repeats_the_argmax() -> None:
    labels = label_map(LOGITS, (64, 96), 'fast')
    np.testing.assert_array_equal(labels, np.argmax(LOGITS, 0).repeat(4, 0).repeat(4, 1))


def test_labels_shrink_by_their_centres() -> None:
    labels = np.arange(81, dtype=np.uint8).reshape(9, 9)
    np.testing.assert_array_equal(resize_labels(labels, (3, 3)), labels[1::3, 1::3])


def test_confidence_is_the_greatest_probability() -> None:
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=0)
    wanted = probabilities.max(axis=0) * 255
    assert np.abs(confidence_map(LOGITS, (16, 24)) - wanted).max() <= 0.51


def test_confidence_is_upsampled() -> None:
    best = (np.exp(LOGITS) / np.exp(LOGITS).sum(axis=0)).max(axis=0)
    wanted = resize_bilinear(best[None], (50, 90))[0] * 255
    assert (
        np.abs(confidence_map(LOGITS, (50, 90)) - wanted).max() <= 1.5
    )  # bytes and their 11-bit weights
