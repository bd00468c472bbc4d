from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.drivable.region import reachable_columns

FREE = IdSet((0,))
WALL = 3


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
    road[:, barrier] = WALL
    found = reached(road)
    assert found[: barrier.start].all()
    assert not found[barrier.start :].any()


def test_region_that_goes_around_a_blocker_is_reached(road: np.ndarray) -> None:
    width = road.shape[1]
    blocker = slice(int(width * 0.75), int(width * 0.8))
    road[70:, blocker] = WALL  # road is seen above it
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
    road[74:82, int(width * 0.75) : int(width * 0.8)] = WALL
    found = reached(road, hood=8)
    assert found[: int(width * 0.4)].all()
    assert found[int(width * 0.85) :].all()


def test_hood_that_looks_like_road_is_no_way_around(road: np.ndarray) -> None:
    width = road.shape[1]
    road[:, int(width * 0.75) : int(width * 0.8)] = WALL
    road[82:] = 0
    found = reached(road, hood=8)
    assert found[: int(width * 0.7)].all()
    assert not found[int(width * 0.8) :].any()


def test_row_that_is_blocked_from_side_to_side_ends_the_region(road: np.ndarray) -> None:
    """Two parts that only meet beyond it do not meet."""
    width = road.shape[1]
    road[60:64] = WALL
    road[64:, int(width * 0.75) : int(width * 0.8)] = WALL
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
