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
from dataclasses import replace

import numpy as np
import pytest
from drivable_world import CAR, PERSON, SIDEWALK, SKY, World

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import CLASS_NONE, Corridor, DrivableAreaEstimator, DrivableConfig


def corridor_of(
    world: World, class_map: ClassMap, width: float = 2.0, labels: np.ndarray | None = None
) -> Corridor:
    estimator = DrivableAreaEstimator(DrivableConfig(corridor_width=width), class_map)
    return estimator.update(
        world.labels() if labels is None else labels, None, world.calibration, world.pose
    ).corridor


def test_nearest_blocker_in_the_corridor_ends_it(world: World, class_map: ClassMap) -> None:
    world.panels = [
        (14.0, -0.9, 0.9, 1.5, CAR),
        (9.0, 0.6, 1.1, 1.7, PERSON),
        (5.0, -2.5, -1.5, 1.0, CAR),
    ]
    corridor = corridor_of(world, class_map)
    assert corridor.width == 2.0
    assert corridor.distance == pytest.approx(9.0, rel=0.05)
    assert corridor.blocking_class == PERSON


def test_the_corridor_is_as_sure_as_the_column_that_ends_it(
    world: World, class_map: ClassMap
) -> None:
    world.panels = [(14.0, -0.9, 0.9, 1.5, CAR)]
    area = DrivableAreaEstimator(DrivableConfig(), class_map).update(
        world.labels(), None, world.calibration, world.pose, cell=3.0
    )
    at = area.free_distance <= 1.02 * area.corridor.distance
    sigmas = area.distance_sigma[at & (area.blocking_class == CAR)]
    assert 0.99 * sigmas.min() <= area.corridor.sigma <= 1.01 * sigmas.max()
    assert area.corridor.sigma > 1.0  # half a degree of pitch alone is 1.2 m here


def test_corridor_as_wide_as_the_vehicle(world: World, class_map: ClassMap) -> None:
    world.panels = [(14.0, -0.9, 0.9, 1.5, CAR), (9.0, 0.6, 1.1, 1.7, PERSON)]
    assert corridor_of(world, class_map, width=1.0).blocking_class == CAR
    wide = corridor_of(world, class_map, width=8.4)
    assert wide.blocking_class == SIDEWALK
    assert wide.distance < 9.0


def test_open_road_has_no_end(world: World, class_map: ClassMap) -> None:
    corridor = corridor_of(world, class_map, labels=np.zeros((180, 320), np.uint8))
    assert corridor == (2.0, math.inf, math.inf, CLASS_NONE)


def test_pure_sky_leaves_nothing_free(world: World, class_map: ClassMap) -> None:
    corridor = corridor_of(world, class_map, labels=np.full((180, 320), SKY, np.uint8))
    assert corridor == (2.0, 0.0, 0.0, SKY)


def test_corridor_is_that_of_the_vehicle_not_of_the_camera(
    world: World, class_map: ClassMap
) -> None:
    """A camera that looks 20 degrees to the left from 1.5 m before the vehicle's origin."""
    world.pose = replace(world.pose, yaw=math.radians(20.0), x=1.5)
    world.panels = [(10.0, -0.5, 0.5, 1.5, CAR)]
    corridor = corridor_of(world, class_map)
    assert corridor.blocking_class == CAR
    assert corridor.distance == pytest.approx(10.0, rel=0.05)


def test_camera_that_does_not_see_the_corridor_leaves_nothing_free(
    world: World, class_map: ClassMap
) -> None:
    world.pose = replace(world.pose, yaw=math.radians(90.0))
    assert corridor_of(world, class_map) == (2.0, 0.0, 0.0, CLASS_NONE)


def test_blocker_beside_the_corridor_that_hides_it_ends_it(
    world: World, class_map: ClassMap
) -> None:
    """A camera 3 m to the left sees the corridor over a car that stands between them."""
    world.pose = CameraPose(1.4, pitch=0.05, yaw=math.radians(-20.0), y=3.0)
    world.panels = [(8.0, 1.2, 2.2, 3.0, CAR)]
    corridor = corridor_of(world, class_map)
    # Sight line over the car's inner end, from (0, 3) through (8, 1.2), is at y = 1 from x = 8.9.
    assert corridor.blocking_class == CAR
    assert corridor.distance == pytest.approx(8.9, rel=0.07)


def test_wall_behind_columns_wider_than_the_corridor_ends_it(class_map: ClassMap) -> None:
    """At 60 m a column of this mask is 6 m wide: no contact lies within the corridor."""
    world = World(
        Calibration.pinhole(32, 64, 120.0),
        CameraPose(6.0, pitch=0.02),
        panels=[(60.0, -400.0, 400.0, 60.0, CAR)],
        width=900.0,
    )
    corridor = corridor_of(world, class_map)
    assert corridor.blocking_class == CAR
    assert corridor.distance < 120.0


def test_corridor_that_is_seen_through_the_side_only_from_behind_a_wall_is_not_free(
    class_map: ClassMap,
) -> None:
    """The middle of the corridor comes into view 30 m away, and a wall stands at 10 m."""
    world = World(
        Calibration.pinhole(160, 300, 40.0),
        CameraPose(3.0, pitch=0.2, yaw=math.radians(-18.8)),
        panels=[(10.0, -40.0, 40.0, 60.0, CAR)],
    )
    assert corridor_of(world, class_map).distance <= 10.5
