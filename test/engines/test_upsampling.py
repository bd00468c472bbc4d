# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Label maps and confidence from logits."""

import cv2
import numpy as np
import pytest

from segformer_ros.engines.upsampling import (
    as_labels,
    confidence_map,
    exact_labels,
    label_map,
    resize_labels,
)
from segformer_ros.verification.kernel_checks import resize_bilinear

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


def smooth_logits(classes: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(classes, height // 4, width // 4))
    planes = [cv2.resize(plane.astype(np.float32), (width, height)) for plane in noise]
    return np.stack(planes)


def assert_golden(logits: np.ndarray, size: tuple[int, int]) -> None:
    scores = resize_bilinear(logits, size)
    ranked = np.sort(scores, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5
    assert clear.mean() > 0.99
    labels = exact_labels(logits, size)
    assert labels.shape == size and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[clear], scores.argmax(axis=0)[clear])


@pytest.mark.parametrize('size', [(128, 256), (101, 333), (96, 192), (20, 31), (1, 1)])
def test_labels_are_the_argmax_of_upsampled_logits(size: tuple[int, int]) -> None:
    assert_golden(smooth_logits(19, 32, 64), size)


def test_labels_where_every_class_is_everywhere() -> None:
    noise = np.random.default_rng(0).normal(size=(19, 40, 50)).astype(np.float32)
    assert_golden(noise, (163, 211))


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (5, 1)])
def test_logits_of_one_cell_in_a_direction(shape: tuple[int, int]) -> None:
    logits = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    assert_golden(logits, (24, 40))


def test_one_class_is_everywhere() -> None:
    assert not exact_labels(np.ones((1, 4, 4), np.float32), (16, 16)).any()


def test_the_lower_class_wins_a_tie() -> None:
    assert not exact_labels(np.zeros((4, 2, 2), np.float32), (8, 8)).any()


def test_a_class_that_wins_only_between_the_corners_is_found() -> None:
    """Class 1 is nowhere the best of a logit cell's corners, yet in its middle."""
    logits = np.array([[[10, -10]], [[1, 1]], [[-10, 10]]], np.float32)
    logits = np.repeat(logits, 2, axis=1)
    assert 1 not in np.argmax(logits, axis=0)
    assert 1 in exact_labels(logits, (8, 64))


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
