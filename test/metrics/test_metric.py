# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Histograms against np.bincount, also where floats would no longer count."""

import numpy as np
import pytest

from segformer_ros.metrics import metric as module
from segformer_ros.metrics.metric import histogram, joint_histogram


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
