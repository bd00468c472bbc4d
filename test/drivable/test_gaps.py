from __future__ import annotations

import numpy as np
import pytest
from drivable_world import CAR, PERSON, World

from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    GroundConfig,
)


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
