from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.drivable.speckle import SpeckRule, look_past_specks

FREE = IdSet((0,))
WALL, PERSON = 2, 11


def street() -> np.ndarray:
    labels = np.zeros((100, 80), np.uint8)
    labels[:20] = WALL
    return labels


def rows_past(
    labels: np.ndarray,
    rule: SpeckRule,
    pixels_per_metre: float | None = None,
) -> np.ndarray:
    starts = np.full(labels.shape[1], labels.shape[0] - 1, np.int32)
    rows = first_blocked_rows(labels, FREE, starts)
    scale = (
        None
        if pixels_per_metre is None
        else (lambda rows, columns: np.full(len(rows), pixels_per_metre))
    )
    return look_past_specks(labels, rows, FREE, rule, scale, np.empty_like(labels))[1]


def test_speck_by_area_is_looked_past() -> None:
    labels = street()
    labels[60:63, 30:33] = WALL
    assert (rows_past(labels, SpeckRule(0.0, 10, ())) == 19).all()
    assert (rows_past(labels, SpeckRule(0.0, 9, ()))[30:33] == 62).all()


def test_small_island_of_a_kept_class_stays() -> None:
    labels = street()
    labels[60:63, 30:33] = WALL
    labels[61, 31] = PERSON
    assert (rows_past(labels, SpeckRule(0.0, 50, (PERSON,)))[30:33] == 62).all()


def test_speck_by_size_on_the_ground() -> None:
    labels = street()
    labels[60:63, 30:35] = PERSON  # 5 pixels: 0.05 m near by, 0.5 m far away
    assert (rows_past(labels, SpeckRule(0.1, 0, ()), pixels_per_metre=100.0) == 19).all()
    assert (rows_past(labels, SpeckRule(0.1, 0, ()), pixels_per_metre=10.0)[30:35] == 62).all()


def test_thin_pole_is_no_speck() -> None:
    labels = street()
    labels[40:70, 30:32] = 5  # narrower than the size, but taller
    assert (rows_past(labels, SpeckRule(0.1, 0, ()), pixels_per_metre=100.0)[30:32] == 69).all()


def test_leaning_pole_so_near_that_it_leaves_the_window_is_no_speck() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[:20] = WALL
    for step in range(200):  # 200 pixels high and wide, where 0.1 m spans 100
        labels[350 - step, 100 + step : 103 + step] = 5
    rows = rows_past(labels, SpeckRule(0.1, 0, ()), pixels_per_metre=1000.0)
    assert rows[101] > 300


def test_size_without_a_scale_does_nothing() -> None:
    labels = street()
    labels[60, 30] = WALL
    assert rows_past(labels, SpeckRule(0.1, 0, ()))[30] == 60


def test_touching_pixels_belong_to_what_they_touch() -> None:
    labels = street()
    for step in range(45):  # a diagonal line, one pixel wide, down from the wall
        labels[19 + step, 10 + step] = WALL
    rows = rows_past(labels, SpeckRule(0.0, 20, ()))
    assert rows[54] == 63


def test_specks_side_by_side_and_behind_each_other() -> None:
    labels = street()
    labels[80:82, 30:32] = WALL
    labels[75:77, 32:34] = WALL  # beside the first
    labels[50:52, 30:32] = WALL  # behind the first
    assert (rows_past(labels, SpeckRule(0.0, 8, ())) == 19).all()


def test_input_is_not_changed() -> None:
    labels = street()
    labels[60, 30] = WALL
    before = labels.copy()
    rows_past(labels, SpeckRule(0.0, 8, ()))
    assert np.array_equal(labels, before)


def test_storm_of_specks_blocks_in_the_end() -> None:
    """Beyond the number that is looked past noise blocks, and takes no time without bound."""
    labels = np.zeros((100, 400), np.uint8)
    labels[90, ::2] = WALL
    rows = rows_past(labels, SpeckRule(0.0, 4, ()))
    assert 100 < np.count_nonzero(rows == 90) < 200


@pytest.mark.parametrize('column', [0, 79])
def test_speck_at_the_image_border(column: int) -> None:
    labels = street()
    labels[99, column] = WALL
    assert (rows_past(labels, SpeckRule(0.0, 4, ())) == 19).all()
