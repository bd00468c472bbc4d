"""Label maps and confidence from logits."""

import numpy as np
import pytest

from segformer_ros.engines.labelling import (
    as_labels,
    confidence_map,
    label_map,
    resize_labels,
)
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


@pytest.mark.parametrize('upsampling', ['exact', 'fast'])
def test_where_scores_are_no_numbers_there_is_no_class(upsampling: str) -> None:
    logits = LOGITS.copy()
    logits[:, :8] = np.nan
    labels = label_map(logits, (64, 96), upsampling)
    assert np.all(labels[:32] == 255)
    np.testing.assert_array_equal(labels[36:], label_map(LOGITS, (64, 96), upsampling)[36:])
    assert np.all(confidence_map(logits, (64, 96))[:28] == 0)


def test_one_class_without_a_number_is_not_the_best() -> None:
    logits = LOGITS.copy()
    logits[0] = np.nan
    assert np.all(label_map(logits, (64, 96), 'fast') == 255)
    assert np.all(label_map(logits, (64, 96), 'exact') != 0)


@pytest.mark.parametrize('dtype', [np.int16, np.int64])
def test_labels_beyond_a_byte_are_no_class(dtype: type) -> None:
    values: np.ndarray = np.array([[0, 18, 255], [256, -1, 300]], dtype)
    assert as_labels(values).tolist() == [[0, 18, 255], [255, 255, 255]]
