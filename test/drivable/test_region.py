# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The free region of a mask, and specks in it."""

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.drivable.region import SpeckRule, look_past_specks, reachable_columns

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


BARRIER = 3


def reached(
    labels: np.ndarray, front: tuple[float, float] = (0.3, 0.7), hood: int = 0
) -> np.ndarray:
    start = labels.shape[0] - 1 - hood
    rows = first_blocked_rows(labels, FREE, np.full(labels.shape[1], start, np.int32))
    return reachable_columns(labels, rows, start, FREE, front)


@pytest.fixture(params=[100, 700, 1400])
def road(request: pytest.FixtureRequest) -> np.ndarray:
    """Road up to half of the height, at a width for each size of the cells that are looked at."""
    labels = np.zeros((90, request.param), np.uint8)
    labels[:45] = 10
    return labels


def test_open_road_is_reached_everywhere(road: np.ndarray) -> None:
    assert reached(road).all()


def test_what_lies_behind_a_barrier_is_not_reached(road: np.ndarray) -> None:
    width = road.shape[1]
    barrier = slice(int(width * 0.75), int(width * 0.8))
    road[:, barrier] = BARRIER
    found = reached(road)
    assert found[: barrier.start].all()
    assert not found[barrier.start :].any()


def test_region_that_goes_around_a_blocker_is_reached(road: np.ndarray) -> None:
    width = road.shape[1]
    blocker = slice(int(width * 0.75), int(width * 0.8))
    road[70:, blocker] = BARRIER  # road is seen above it
    found = reached(road)
    assert not found[blocker].any()
    assert found[: blocker.start].all()
    assert found[blocker.stop :].all()


def test_both_sides_of_a_post_before_the_vehicle_are_reached(road: np.ndarray) -> None:
    width = road.shape[1]
    road[:, int(width * 0.5)] = 5
    found = reached(road)
    assert np.count_nonzero(found) == width - 1


def test_way_around_is_found_above_a_hood(road: np.ndarray) -> None:
    """The hood's own rows are blocked from side to side, and do not count."""
    width = road.shape[1]
    road[82:] = 13
    road[:, int(width * 0.5)] = 5
    road[74:82, int(width * 0.75) : int(width * 0.8)] = BARRIER
    found = reached(road, hood=8)
    assert found[: int(width * 0.4)].all()
    assert found[int(width * 0.85) :].all()


def test_hood_that_looks_like_road_is_no_way_around(road: np.ndarray) -> None:
    width = road.shape[1]
    road[:, int(width * 0.75) : int(width * 0.8)] = BARRIER
    road[82:] = 0
    found = reached(road, hood=8)
    assert found[: int(width * 0.7)].all()
    assert not found[int(width * 0.8) :].any()


def test_row_that_is_blocked_from_side_to_side_ends_the_region(road: np.ndarray) -> None:
    """Two parts that only meet beyond it do not meet."""
    width = road.shape[1]
    road[60:64] = BARRIER
    road[64:, int(width * 0.75) : int(width * 0.8)] = BARRIER
    found = reached(road)
    assert found[: int(width * 0.75)].all()
    assert not found[int(width * 0.75) :].any()


def test_nothing_is_reached_when_the_whole_front_is_blocked(road: np.ndarray) -> None:
    width = road.shape[1]
    road[:, int(width * 0.2) : int(width * 0.8)] = 13
    assert not reached(road).any()
    assert reached(road, front=(0.0, 1.0)).any()


@pytest.mark.parametrize('height', [1, 2, 3])
def test_masks_lower_than_a_cell(height: int) -> None:
    """A mask may be made as low as one row."""
    labels = np.zeros((height, 2000), np.uint8)
    labels[:, 500:600] = 1
    assert reached(labels).tolist() == [column >= 600 for column in range(2000)]
