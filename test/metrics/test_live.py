# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The live path: who belongs to whom, and what the times say."""

import math
from typing import IO, Any, cast

import numpy as np
import pytest

from segformer_ros.metrics.live import DEPTH, LivePath, Pair, PairBacklog


def labels(value: int) -> np.ndarray:
    return np.full((4, 6), value, np.uint8)


def test_labels_and_masks_meet_in_any_order() -> None:
    path = LivePath()
    path.labels(10, labels(1))
    path.image(10, 0.0)
    (pair,) = path.mask(10, labels(2), 0.1)
    assert (pair.stamp_ns, pair.truth[0, 0], pair.mask[0, 0]) == (10, 1, 2)
    path.image(20, 1.0)
    assert path.mask(20, labels(3), 1.1) == []
    (late,) = path.labels(20, labels(4))
    assert (late.truth[0, 0], late.mask[0, 0]) == (4, 3)
    assert path.figures().pairs == 2


def test_tolerance_takes_the_nearest() -> None:
    path = LivePath(tolerance_ns=5)
    path.labels(100, labels(1))
    path.labels(108, labels(2))
    path.labels(112, labels(3))
    (near,) = path.mask(106, labels(0), 0.0)
    assert near.truth[0, 0] == 2
    assert path.mask(118, labels(0), 0.0) == []


def test_a_nearer_label_may_come_later() -> None:
    """Whether the mask came after the first labels within the tolerance or before them."""
    path = LivePath(tolerance_ns=50)
    path.labels(0, labels(1))
    assert path.mask(40, labels(9), 0.0) == []
    assert path.mask(140, labels(8), 0.1) == []
    assert [pair.truth[0, 0] for pair in path.labels(41, labels(2))] == []
    (pair,) = path.labels(100, labels(3))
    assert (pair.stamp_ns, pair.mask[0, 0], pair.truth[0, 0]) == (40, 9, 2)
    assert path.labels(150, labels(4)) == []
    (last,) = path.end()
    assert (last.stamp_ns, last.truth[0, 0]) == (140, 4)
    assert path.end() == []
    assert path.figures().pairs == 2


def test_masks_that_wait_for_long_take_the_nearest_that_came() -> None:
    """30 masks a second, a label each second, a tolerance in which more than DEPTH masks lie."""
    path, pairs = LivePath(tolerance_ns=5_000), []
    for stamp in range(0, 20_000, 33):
        pairs += path.mask(stamp, labels(0), 0.0)
        if stamp % 1_000 < 33:
            pairs += path.labels(stamp, labels(stamp // 1_000))
    pairs += path.end()
    assert sorted(pair.stamp_ns for pair in pairs) == list(range(0, 20_000, 33))
    far = max(abs(int(pair.truth[0, 0]) * 1_000 - pair.stamp_ns) for pair in pairs)
    assert far <= 1_000


def test_labels_are_not_forgotten_before_their_masks_are_paired() -> None:
    path = LivePath(tolerance_ns=10**6)
    path.mask(0, labels(9), 0.0)
    pairs = [pair for stamp in range(DEPTH + 1) for pair in path.labels(stamp + 5, labels(1))]
    assert [pair.stamp_ns for pair in pairs] == [0]


def test_drops_and_masks_of_no_image() -> None:
    path = LivePath()
    for stamp in (1, 2, 3, 3, 4):
        path.image(stamp, 0.1 * stamp)
    for stamp in (1, 3, 9):
        path.mask(stamp, labels(0), 0.1 * stamp + 0.05)
    figures = path.figures()
    assert (figures.images, figures.masks, figures.dropped, figures.unasked) == (4, 3, 2, 1)


def test_an_image_after_its_mask_is_not_dropped() -> None:
    """Topics have no common order. How long that mask took is not known."""
    path = LivePath()
    path.mask(10, labels(0), 0.5)
    path.image(10, 0.6)
    path.image(20, 1.0)
    path.mask(20, labels(0), 1.2)
    path.mask(10, labels(0), 1.3)  # a second one
    figures = path.figures()
    assert (figures.images, figures.masks, figures.dropped, figures.unasked) == (2, 3, 0, 1)
    assert figures.latency_ms.p50 == pytest.approx(200)


def test_times() -> None:
    path = LivePath()
    for index, latency in enumerate((0.010, 0.030, 0.020)):
        path.image(index, 0.1 * index)
        path.mask(index, labels(0), 0.1 * index + latency, age=latency + 0.001)
    figures = path.figures()
    assert figures.latency_ms.p50 == pytest.approx(20)
    assert figures.age_ms is not None
    assert figures.age_ms.p50 == pytest.approx(21)
    assert figures.interval_ms.mean == pytest.approx(105)
    assert figures.jitter_ms == pytest.approx((20 + 10) / 2)


def test_ages_of_another_clock_are_none() -> None:
    path = LivePath()
    path.mask(0, labels(0), 5.0, age=1.7e9)
    assert path.figures().age_ms is None


def test_a_dropped_frame_breaks_the_sequence() -> None:
    path = LivePath()
    follows = []
    for stamp in range(5):
        path.image(stamp, float(stamp))
        path.labels(stamp, labels(0))
        if stamp != 2:
            (pair,) = path.mask(stamp, labels(0), float(stamp))
            follows.append(pair.follows)
    assert follows == [True, True, False, True]


def test_nothing_piles_up() -> None:
    path = LivePath()
    for stamp in range(3 * DEPTH):
        path.image(stamp, 0.0)
        path.mask(stamp + 10**6, labels(0), 0.0)
        path.labels(stamp + 10**9, labels(0))
    kept = (path._images, path._numbers, path._labels, path._waiting)
    assert max(len(part) for part in kept) == DEPTH


def test_of_nothing_there_are_no_figures() -> None:
    found = LivePath().figures().as_json()
    assert found['images'] == 0
    assert found['latency_ms'] == {'p50': None, 'p99': None, 'mean': None}
    assert found['jitter_ms'] is None
    assert math.isnan(LivePath().figures().jitter_ms)


def test_the_backlog_gives_back_what_was_put_in() -> None:
    rng = np.random.default_rng(1)
    maps = rng.integers(0, 256, (3, 2, 5, 7)).astype(np.uint8)
    pairs = [Pair(2**60 + n, maps[n, 0], maps[n, 1], n % 2 == 0) for n in range(3)]
    with PairBacklog() as backlog:
        for pair in pairs:
            backlog.append(pair)
        assert len(backlog) == 3
        for _ in range(2):  # any number of times
            for found, expected in zip(backlog, pairs, strict=True):
                assert (found.stamp_ns, found.follows) == (expected.stamp_ns, expected.follows)
                np.testing.assert_array_equal(found.truth, expected.truth)
                np.testing.assert_array_equal(found.mask, expected.mask)


def test_what_cannot_be_written_costs_no_other_pair() -> None:
    pairs = [Pair(stamp, labels(stamp), labels(stamp + 1), True) for stamp in range(4)]

    class Full:
        """A file that takes half of its third piece."""

        def __init__(self, file: IO[bytes]) -> None:
            self._file, self._writes = file, 0

        def write(self, data: bytes) -> int:
            self._writes += 1
            return self._file.write(data[: len(data) // 2] if self._writes == 3 else data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    with PairBacklog() as backlog:
        backlog._file = cast(IO[bytes], Full(backlog._file))
        for pair in pairs[:2]:
            backlog.append(pair)
        with pytest.raises(OSError, match='No space left'):
            backlog.append(pairs[2])
        backlog.append(pairs[3])
        kept = list(backlog)
    assert [pair.stamp_ns for pair in kept] == [0, 1, 3]
    for pair in kept:
        np.testing.assert_array_equal(pair.truth, labels(pair.stamp_ns))
        np.testing.assert_array_equal(pair.mask, labels(pair.stamp_ns + 1))
