# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Histograms against np.bincount, also where floats would no longer count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segformer_ros.classes import ClassMap, ClassMapError, SegClass, load_class_map
from segformer_ros.metrics import metric as module
from segformer_ros.metrics.metric import (
    MetricError,
    ScoredClasses,
    histogram,
    joint_histogram,
    truth_table,
)


@pytest.mark.parametrize('pixels', [1 << 24, 100, 7])
def test_equal_to_bincount_in_any_strips(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, '_EXACT', pixels)
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 256, (2, 33, 47)).astype(np.uint8)
    mask = rng.random(one.shape) < 0.5
    np.testing.assert_array_equal(histogram(one), np.bincount(one.ravel(), minlength=256))
    np.testing.assert_array_equal(histogram(one, mask), np.bincount(one[mask], minlength=256))
    pairs = one.astype(np.int64).ravel() * 256 + other.ravel()
    expected = np.bincount(pairs, minlength=1 << 16).reshape(256, 256)
    np.testing.assert_array_equal(joint_histogram(one, other), expected)


def test_more_pixels_of_one_value_than_floats_hold() -> None:
    labels = np.zeros((4100, 4100), np.uint8)
    assert histogram(labels)[0] == joint_histogram(labels, labels)[0, 0] == 4100 * 4100 > 1 << 24


CITYSCAPES = load_class_map('cityscapes')


def test_without_merging_ids_stay() -> None:
    classes = ScoredClasses(CITYSCAPES)
    assert classes.names == CITYSCAPES.names
    values = np.array([[0, 7, 18, 255]], np.uint8)
    prepared = classes.prepare(values, values)
    np.testing.assert_array_equal(prepared.truth, values)
    assert prepared.unknown.shape == (0, 2)


def test_merged_classes_are_one() -> None:
    classes = ScoredClasses(CITYSCAPES, [('bicycle', 'rider')])
    assert len(classes) == 18
    assert classes.names[12] == 'rider+bicycle'
    truth, predicted = np.array([[[12, 18, 13]], [[18, 12, 17]]], np.uint8)
    prepared = classes.prepare(truth, predicted)
    np.testing.assert_array_equal(prepared.truth, [[12, 12, 13]])
    np.testing.assert_array_equal(prepared.predicted, [[12, 12, 17]])
    assert classes.scored_ids(CITYSCAPES.ids('rider', 'bicycle', 'car')) == (12, 13)


def test_values_without_a_class_are_named_and_not_scored() -> None:
    classes = ScoredClasses(CITYSCAPES)
    truth = np.array([[33, 33, 19, 255, 0]], np.uint8)
    prepared = classes.prepare(truth, np.array([[18, 19, 254, 255, 0]], np.uint8))
    np.testing.assert_array_equal(prepared.truth, [[255, 255, 255, 255, 0]])
    np.testing.assert_array_equal(prepared.predicted, [[18, 255, 255, 255, 0]])
    np.testing.assert_array_equal(prepared.unknown, [[19, 1], [33, 2]])


def test_refusals() -> None:
    with pytest.raises(ClassMapError, match="no class 'tram'"):
        ScoredClasses(CITYSCAPES, [('tram', 'car')])
    with pytest.raises(MetricError, match="'rider' is merged twice"):
        ScoredClasses(CITYSCAPES, [('rider', 'bicycle'), ('rider', 'person')])
    classes = ScoredClasses(CITYSCAPES)
    with pytest.raises(MetricError, match='labels of 4x3 pixels do not fit the mask of 5x3'):
        classes.prepare(np.zeros((3, 4), np.uint8), np.zeros((3, 5), np.uint8))
    with pytest.raises(MetricError, match=r'truth of shape \(3, 4\) and type int64'):
        classes.prepare(np.zeros((3, 4), np.int64), np.zeros((3, 4), np.uint8))


def test_classes_are_matched_by_name(backwards: Path) -> None:
    assert truth_table(CITYSCAPES, CITYSCAPES, 'the truth') is None
    table = truth_table(CITYSCAPES, load_class_map(backwards), 'the truth')
    assert table is not None
    np.testing.assert_array_equal(table[:19], np.arange(18, -1, -1))
    np.testing.assert_array_equal(table[19:], np.arange(19, 256))


def test_a_reference_without_names_is_taken_as_of_the_models(backwards: Path) -> None:
    entries = tuple(SegClass(index, f'class {index}', (0, 0, 0)) for index in range(19))
    nameless = ClassMap('19 classes', entries)
    assert truth_table(nameless, load_class_map(backwards), 'the reference') is None
