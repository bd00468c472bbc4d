# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The settings for Nav2 that come along, and what its readers make of the scan's values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drivable_rig import AREA, SCAN, area_of, start
from drivable_world import BUILDING, World
from nav2_readers import FREE, LETHAL, UNKNOWN, CollisionMonitor, ObstacleLayer, VehiclePose
from node_rig import CITYSCAPES, MakeRig, camera_info, street_image
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.drivable import DrivableAreaEstimator, DrivableConfig, ScanConfig
from segformer_ros.node.segmentation.drivable_output import scan_message
from segformer_ros.node.segmentation.parameters import Settings
from segformer_ros.topics import SCAN as SCAN_TOPIC

pytestmark = pytest.mark.ros

TILTED = [
    VehiclePose(),
    VehiclePose(z=0.1),
    VehiclePose(z=-0.1),
    VehiclePose(roll=math.radians(0.2)),
    VehiclePose(pitch=math.radians(-5), yaw=0.7),
    VehiclePose(z=312.5, roll=0.05),  # odometry in three dimensions, on a hill
]


@pytest.fixture(scope='module')
def settings(repo: Path) -> Any:
    return yaml.safe_load((repo / 'config/nav2.yaml').read_text())


@pytest.fixture(scope='module')
def road(settings: Any) -> Any:
    return settings['local_costmap']['local_costmap']['ros__parameters']['road']


def layer_of(road: Any, **size: float) -> ObstacleLayer:
    """The layer as the shipped settings make it."""
    return ObstacleLayer(road, road[road['observation_sources']], **size)


def wall(distance: float) -> LaserScan:
    """The scan of a street with a wall across it, as the bytes that are published."""
    world = World(Calibration.pinhole(640, 360, 90), CameraPose(1.5, pitch=0.02), width=80.0)
    world.panels.append((distance, -100.0, 100.0, 4.0, BUILDING))
    estimator = DrivableAreaEstimator(DrivableConfig(), CITYSCAPES)
    area = estimator.update(world.labels(), None, world.calibration, world.pose)
    numbers = estimator.scan(area)
    assert numbers is not None
    message = scan_message(Header(frame_id='base_link'), numbers)
    return deserialize_message(serialize_message(message), LaserScan)


def scan_of(value: float) -> LaserScan:
    """A scan in which each beam has the same value."""
    config = ScanConfig()
    message = LaserScan(range_min=config.range_min, range_max=config.range_max)
    message.angle_min, message.angle_increment = config.angle_min, config.angle_increment
    message.ranges = [value] * config.count
    return message


# --- Obstacle layer ---------------------------------------------------------------------------


@pytest.mark.parametrize('pose', TILTED)
@pytest.mark.parametrize('distance', [2.0, 12.0, 18.0])
def test_a_wall_is_marked_and_the_road_to_it_is_free(
    road: Any, distance: float, pose: VehiclePose
) -> None:
    scan = wall(distance)
    layer = layer_of(road)
    layer.update(scan, pose)
    beams = np.flatnonzero(np.isfinite(np.array(scan.ranges)))
    assert len(beams) > 100
    seen = missing = 0
    for beam in beams:
        angle = scan.angle_min + beam * scan.angle_increment
        flat = np.array([math.cos(angle), math.sin(angle), 0.0]) * scan.ranges[beam]
        x, y, _ = pose.rotation() @ flat
        if max(abs(x), abs(y)) < 19.5:
            seen += 1
            missing += layer.at(x, y) != LETHAL
            assert layer.around(0.5 * x, 0.5 * y) <= {FREE, UNKNOWN}
            assert FREE in layer.around(0.5 * x, 0.5 * y)
    assert seen > 50
    assert missing == 0


@pytest.mark.parametrize(
    ('distance', 'pose'), [(12.0, TILTED[0]), (2.0, TILTED[1]), (2.0, TILTED[3])]
)
def test_the_defaults_of_nav2_mark_no_wall(distance: float, pose: VehiclePose) -> None:
    """Why the settings are needed; also that this test's layer can leave a wall out."""
    layer = ObstacleLayer({}, {'marking': True, 'clearing': True, 'inf_is_valid': True})
    layer.update(wall(distance), pose)
    marked = (layer.costs == LETHAL).sum()
    assert marked == 0 if distance > 3 or pose.z else marked < 20


@pytest.mark.parametrize('resolution', [0.1, 0.25])
@pytest.mark.parametrize('pose', TILTED[:4])
def test_a_free_road_is_cleared_and_not_marked_at_its_end(
    road: Any, pose: VehiclePose, resolution: float
) -> None:
    layer = layer_of(road, size=110.0, resolution=resolution)
    layer.update(scan_of(math.inf), pose)
    assert not (layer.costs == LETHAL).any()
    assert layer.at(45.0, 0.0) == FREE
    # What range_max as obstacle_max_range would do.
    source = {**road[road['observation_sources']], 'obstacle_max_range': 50.0}
    marking = ObstacleLayer(road, source, size=110.0, resolution=resolution)
    marking.update(scan_of(math.inf), pose)
    assert (marking.costs == LETHAL).any()


@pytest.mark.parametrize('value', [math.nan, -1.0, -math.inf, 0.0])
def test_values_that_say_nothing_change_nothing(road: Any, value: float) -> None:
    layer = layer_of(road)
    layer.update(wall(12.0))
    before = layer.costs.copy()
    layer.update(scan_of(value))
    np.testing.assert_array_equal(layer.costs, before)
    assert set(np.unique(before)) == {FREE, LETHAL, UNKNOWN}


def test_a_costmap_without_scans_is_out_of_date(road: Any) -> None:
    layer, careless = layer_of(road), ObstacleLayer({}, {})
    for one in (layer, careless):
        one.update(wall(12.0), now=10.0)
        assert one.current(10.4)
    assert not layer.current(10.6)
    assert careless.current(1000.0)


def test_the_settings_fit_the_node(settings: Any, road: Any) -> None:
    node, source = Settings().drivable, road[road['observation_sources']]
    monitor = settings['collision_monitor']['ros__parameters']
    assert source['topic'] == monitor['camera']['topic'] == f'/{SCAN_TOPIC}'
    assert source['obstacle_max_range'] < node.scan.range_max <= source['raytrace_max_range']
    assert source['expected_update_rate'] >= node.max_age
    assert node.max_age + source['expected_update_rate'] <= monitor['source_timeout'] < 2.0


# --- Collision monitor ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('scan', 'age', 'jazzy', 'humble'),
    [
        (scan_of(2.0), 0.1, True, True),
        (scan_of(20.0), 0.1, False, False),
        (scan_of(math.inf), 0.1, False, False),
        (scan_of(math.nan), 0.1, False, False),  # taken for a free road
        (scan_of(-1.0), 0.1, False, False),
        (scan_of(2.0), 1.5, True, False),
        (None, 0.0, True, False),
    ],
)
def test_what_a_collision_monitor_does(
    settings: Any, scan: LaserScan | None, age: float, jazzy: bool, humble: bool
) -> None:
    timeout = settings['collision_monitor']['ros__parameters']['source_timeout']
    for stops_without, expected in ((True, jazzy), (False, humble)):
        monitor = CollisionMonitor(timeout, stops_without=stops_without)
        assert monitor.stops(scan, 10.0 - age, 10.0) is expected


WITHOUT_METRES: dict[str, dict[str, Any]] = {
    'no mount': {'mount__height': 0.0},
    'upwards': {'mount__pitch': -1.2},
    'too old': {'fake_delay': 0.4, 'drivable__max_age': 0.1},
    'off to the side': {'drivable__scan__angle_min': 3.0, 'drivable__scan__angle_max': 3.1},
}


@pytest.mark.parametrize('parameters', list(WITHOUT_METRES.values()), ids=list(WITHOUT_METRES))
def test_nothing_is_said_where_nothing_is_known(
    make_rig: MakeRig, parameters: dict[str, Any]
) -> None:
    rig = start(make_rig, **parameters)
    for _ in range(3):
        area_of(rig)
    rig.spin(0.3)
    assert rig.received[AREA]
    assert rig.received[SCAN] == []


def test_no_camera_info_and_no_camera_say_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(mount__height=1.5, drivable__max_age=0.3)
    rig.start(AREA, SCAN)
    assert rig.spin_until(lambda: len(rig.received[AREA]) > 1)
    area_of(rig)
    assert rig.received[SCAN] == []


@pytest.mark.parametrize('fault', ['deactivated', 'silent', 'no calibration'])
def test_the_last_scan_is_not_replaced_by_an_empty_one(make_rig: MakeRig, fault: str) -> None:
    rig = start(make_rig, drivable__max_age=60.0)
    area_of(rig)
    assert rig.spin_until(lambda: bool(rig.received[SCAN]))
    rig.set(drivable__max_age=0.3)
    areas, scans = len(rig.received[AREA]), len(rig.received[SCAN])
    if fault == 'deactivated':
        rig.node.trigger_deactivate()
    elif fault == 'no calibration':
        rig.calibrate(camera_info(height=7))
        rig.send(street_image(rig.now()))
    assert rig.spin_until(lambda: len(rig.received[AREA]) > areas)
    rig.spin(0.5)
    assert len(rig.received[SCAN]) == scans
