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
from drivable_world import CAR, SKY, World

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableAreaEstimator,
    DrivableConfig,
    DrivableError,
    ScanConfig,
    ScanNumbers,
)

_PLAIN = ScanConfig()


def scan_of(
    world: World,
    class_map: ClassMap,
    labels: np.ndarray | None = None,
    config: ScanConfig = _PLAIN,
) -> ScanNumbers:
    estimator = DrivableAreaEstimator(DrivableConfig(scan=config), class_map)
    area = estimator.update(
        world.labels() if labels is None else labels, None, world.calibration, world.pose
    )
    numbers = estimator.scan(area)
    assert numbers is not None
    return numbers


def at(scan: ScanNumbers, degrees: float) -> float:
    index = round((math.radians(degrees) - scan.angle_min) / scan.angle_increment)
    return float(scan.ranges[index])


def test_ranges_to_car_and_kerb(world: World, class_map: ClassMap) -> None:
    world.panels = [(12.0, -1.0, 1.0, 1.5, CAR)]
    scan = scan_of(world, class_map)
    assert at(scan, 0.0) == pytest.approx(12.0, rel=0.05)
    kerb = 4.0 / math.sin(math.radians(25))
    assert at(scan, 25.0) == pytest.approx(kerb, rel=0.05)
    assert at(scan, -25.0) == pytest.approx(kerb, rel=0.05)


def test_directions_outside_the_view_are_no_numbers(world: World, class_map: ClassMap) -> None:
    scan = scan_of(world, class_map)
    assert math.isnan(at(scan, 60.0))
    assert math.isnan(at(scan, -60.0))
    assert np.isfinite(scan.ranges).sum() > 60


def test_seen_to_the_horizon_is_infinite(world: World, class_map: ClassMap) -> None:
    scan = scan_of(world, class_map, np.zeros((180, 320), np.uint8))
    assert at(scan, 0.0) == math.inf
    assert not np.isfinite(scan.ranges).any()


def test_no_hole_between_contacts_in_fine_bins(world: World, class_map: ClassMap) -> None:
    config = ScanConfig(angle_increment=math.radians(0.05))
    world.panels = [(6.0, -20.0, 20.0, 2.0, CAR)]
    scan = scan_of(world, class_map, config=config)
    ahead = np.abs(scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment)
    # 320 columns over 70 degrees are 0.2 degrees apart; what lies between is seen, and joined.
    assert np.isfinite(scan.ranges[ahead < math.radians(30)]).mean() > 0.2
    assert not np.isnan(scan.ranges[ahead < math.radians(30)]).any()


@pytest.mark.parametrize('width', [16, 64, 256])
@pytest.mark.parametrize('hfov', [60.0, 120.0])
@pytest.mark.parametrize('increment', [0.05, 0.5, 5.0])
@pytest.mark.parametrize('x', [0.0, 2.0])
def test_no_beam_is_clear_through_a_closed_wall(
    class_map: ClassMap, width: int, hfov: float, increment: float, x: float
) -> None:
    """However wide the columns of a small mask are, and however fine the beams."""
    world = World(
        Calibration.pinhole(width, width // 2, hfov),
        CameraPose(1.4, pitch=0.1, x=x),
        panels=[(8.0, -60.0, 60.0, 60.0, CAR)],
        width=200.0,
    )
    scan = scan_of(world, class_map, config=ScanConfig(angle_increment=math.radians(increment)))
    assert not np.isposinf(scan.ranges).any()
    ahead = np.abs(scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment)
    within = ahead < math.radians(20)
    assert np.isfinite(scan.ranges[within]).all()
    row = 2 * (8.0 - x) ** 2 / 1.4 / world.calibration.fy
    wall = 8.0 / np.cos(ahead[within])
    assert (np.abs(scan.ranges[within] - wall) < row + 0.1 * wall).all()


def test_beam_beside_a_pole_is_clear(class_map: ClassMap) -> None:
    """A blocker is as wide as its column, and no wider."""
    lens = Calibration.pinhole(64, 32, 64.0)
    labels = np.zeros((32, 64), np.uint8)
    labels[:15] = SKY
    labels[:24, 32] = CAR
    world = World(lens, CameraPose(1.4))
    config = ScanConfig(angle_increment=math.radians(0.1))
    scan = scan_of(world, class_map, labels, config)
    blocked = np.flatnonzero(np.isfinite(scan.ranges))
    pixel = math.degrees(1 / lens.fx)
    assert len(blocked) == pytest.approx(pixel / 0.1, abs=2)
    assert np.isposinf(scan.ranges[[blocked[0] - 1, blocked[-1] + 1]]).all()


def test_beams_reach_no_further_than_the_image(world: World, class_map: ClassMap) -> None:
    """Of a view that ends 3.5 m away nothing is said, but to readers that look no further."""
    world.pose = CameraPose(1.4, pitch=0.8)
    road = np.zeros((180, 320), np.uint8)
    assert np.isnan(scan_of(world, class_map, road).ranges).all()
    near = scan_of(world, class_map, road, ScanConfig(range_max=2.5))
    assert at(near, 0.0) == math.inf


def test_beyond_the_longest_range_is_infinite(world: World, class_map: ClassMap) -> None:
    world.panels = [(12.0, -1.0, 1.0, 1.5, CAR)]
    scan = scan_of(world, class_map, config=ScanConfig(range_max=10.0))
    assert at(scan, 0.0) == math.inf


def test_blocker_that_hides_the_first_ground_is_put_there(
    world: World, class_map: ClassMap
) -> None:
    scan = scan_of(world, class_map, np.full((180, 320), SKY, np.uint8))
    assert np.isfinite(at(scan, 0.0))
    assert 1.0 < at(scan, 0.0) < 4.0


def test_rear_camera_fills_the_bins_behind(world: World, class_map: ClassMap) -> None:
    world.pose = CameraPose(1.4, pitch=0.05, yaw=math.pi)
    full = ScanConfig(angle_min=-math.pi, angle_max=math.pi - 0.01)
    scan = scan_of(world, class_map, np.zeros((180, 320), np.uint8), full)
    assert at(scan, 170.0) == at(scan, -170.0) == math.inf
    assert math.isnan(at(scan, 0.0))


def test_last_angle_is_that_of_the_last_range() -> None:
    config = ScanConfig(angle_min=-1.0, angle_max=1.0, angle_increment=0.3)
    assert config.count == 7


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'angle_min': 1.0, 'angle_max': -1.0}, 'smaller first'),
        ({'angle_max': 4.0}, 'within -pi..pi'),
        ({'angle_increment': 0.0}, 'angle_increment=0.0 rad'),
        ({'range_min': 60.0}, '0 <= range_min < range_max'),
    ],
)
def test_impossible_scans_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(DrivableError, match=words):
        ScanConfig(**settings)
