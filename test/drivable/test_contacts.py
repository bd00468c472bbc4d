# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

from __future__ import annotations

import math

import numpy as np
import pytest
from drivable_world import CAR, PERSON, World

from segformer_ros.camera import Calibration, CameraPose, RayTable
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GroundConfig,
    GroundProjection,
)
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
        99,
        np.arange(count, dtype=np.uint8),
        np.zeros(count, np.float32),
    )
    reach = distance or [math.hypot(*point) for point in points]
    ranges = ColumnRanges(
        columns, np.zeros(count, np.intp), np.array(points), np.array(reach), np.isfinite(reach)
    )
    camera = Calibration(count, 100, 1000.0, 1000.0, 0.0, 50.0)
    ground = GroundProjection(RayTable(camera), CameraPose(1.0), GroundConfig())
    return sorted(blocker_contacts(ground, profile, ranges, step).points.tolist())


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


def area_of(world: World, class_map: ClassMap, min_gap: float) -> DrivableArea:
    estimator = DrivableAreaEstimator(
        DrivableConfig(ground=GroundConfig(min_gap=min_gap)), class_map
    )
    return estimator.update(world.labels(), None, world.calibration, world.pose)


@pytest.fixture
def gate(world: World) -> World:
    """Two cars at 8 and 9 m with 1.5 m between them, and the open road behind."""
    world.panels = [(8.0, -3.0, -0.75, 1.5, CAR), (9.0, 0.75, 3.0, 1.5, PERSON)]
    return world


def ahead(area: DrivableArea) -> float:
    return float(area.free_distance[np.abs(area.bearing).argmin()])


def test_wide_gap_stays_open(gate: World, class_map: ClassMap) -> None:
    assert ahead(area_of(gate, class_map, 0.0)) > 30
    assert ahead(area_of(gate, class_map, 1.2)) > 30


def test_narrow_gap_is_closed_at_its_farther_side(gate: World, class_map: ClassMap) -> None:
    area = area_of(gate, class_map, 2.5)
    at = int(np.abs(area.bearing).argmin())
    assert area.free_distance[at] == pytest.approx(9.0, rel=0.05)
    assert area.blocking_class[at] == PERSON


def test_closing_gaps_never_frees_a_column(gate: World, class_map: ClassMap) -> None:
    for min_gap in (0.5, 1.0, 3.0, 6.0):
        before, after = area_of(gate, class_map, 0.0), area_of(gate, class_map, min_gap)
        assert (after.free_distance <= before.free_distance * 1.001).all()
