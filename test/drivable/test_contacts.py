from __future__ import annotations

import math

import numpy as np

from segformer_ros.drivable.contacts import blocker_contacts
from segformer_ros.drivable.ground import ColumnRanges
from segformer_ros.drivable.profile import ColumnProfile


def contacts_of(
    points: list[tuple[float, float]], step: float, distance: list[float] | None = None
) -> list[list[float]]:
    count = len(points)
    columns = np.arange(count, dtype=np.int32)
    profile = ColumnProfile(
        100,
        count,
        columns,
        np.zeros(count, np.int32),
        np.full(count, 99, np.int32),
        np.arange(count, dtype=np.uint8),
        np.zeros(count, np.float32),
    )
    reach = distance or [math.hypot(*point) for point in points]
    ranges = ColumnRanges(columns, np.zeros(count, np.intp), np.array(points), np.array(reach))
    return sorted(blocker_contacts(profile, ranges, step).points.tolist())


def test_neighbours_on_one_edge_are_joined() -> None:
    assert contacts_of([(10.0, 0.0), (10.0, 0.5)], 0.2) == [
        [10.0, 0.0],
        [10.0, 0.5 / 3],
        [10.0, 1.0 / 3],
        [10.0, 0.5],
    ]


def test_different_blockers_are_not_joined() -> None:
    assert contacts_of([(10.0, 0.0), (14.0, 0.5)], 0.2) == [[10.0, 0.0], [14.0, 0.5]]


def test_columns_without_a_blocker_part_their_neighbours() -> None:
    points = [(10.0, 0.0), (math.nan, math.nan), (10.0, 0.5)]
    assert contacts_of(points, 0.2, [10.0, math.inf, 10.0]) == [[10.0, 0.0], [10.0, 0.5]]


def test_no_blocker_no_contact() -> None:
    assert contacts_of([(1.0, 0.0)], 0.2, [math.inf]) == []
