from __future__ import annotations

import numpy as np

from segformer_ros.drivable.spans import nearest_in_spans


def test_nearest_in_spans_takes_the_smallest_and_of_equals_the_middle_one() -> None:
    distances = np.array([5.0, 5, 5, 9, 2, 7, np.inf, np.inf, np.inf])
    assert nearest_in_spans(distances, 3).tolist() == [1, 4, 7]


def test_nearest_in_spans_of_uneven_spans_covers_all_columns() -> None:
    width, columns = 101, 7
    for low in range(width):
        distances = np.ones(width)
        distances[low] = 0.5
        assert low in nearest_in_spans(distances, columns).tolist()
    assert len(nearest_in_spans(np.ones(5), 128)) == 5


def test_of_columns_that_see_nothing_the_middle_one_stands_for_a_span() -> None:
    far, equal = (nearest_in_spans(np.full(1280, value), 128) for value in (np.inf, 5.0))
    assert far.tolist() == equal.tolist()
