# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fields of the drivable area's messages: all of them, of the types that the messages have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drivable_world import World

from segformer_ros.camera import camera_info_fields
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableAreaEstimator,
    DrivableConfig,
    area_fields,
    grid_fields,
    scan_fields,
)
from segformer_ros.frame import Stamp
from segformer_ros.recordings.bag_writer import recording_types

TYPES = recording_types()


def all_fields(world: World, class_map: ClassMap, calibrated: bool) -> dict[str, dict[str, Any]]:
    """Fields by the type of their message."""
    estimator = DrivableAreaEstimator(DrivableConfig(), class_map)
    camera = (world.calibration, world.pose) if calibrated else ()
    area = estimator.update(world.labels(), None, *camera)
    found = {'segformer_ros/msg/DrivableArea': area_fields(area, 1.25, 'base_link')}
    grid, scan = estimator.grid(area), estimator.scan(area)
    if grid and scan:
        found['nav_msgs/msg/OccupancyGrid'] = grid_fields(grid, Stamp(5, 7))
        found['sensor_msgs/msg/LaserScan'] = scan_fields(scan)
        found['sensor_msgs/msg/CameraInfo'] = camera_info_fields(world.calibration)
    return found


def assert_fits(msgtype: str, fields: dict[str, Any]) -> None:
    """Every field but the header is there, its array of the message's type."""
    for name, (kind, inner) in TYPES.fielddefs[msgtype][1]:
        if name == 'header':
            continue
        value = fields[name]
        if isinstance(value, dict):
            assert_fits(inner, value)
        elif isinstance(value, np.ndarray):
            assert value.dtype == np.dtype(inner[0][1][0]), name
            assert value.ndim == 1
        else:
            expected = {'bool': bool, 'string': str, 'float32': float, 'float64': float}
            assert type(value) is expected.get(inner[0], int), (name, kind)


@pytest.mark.parametrize('calibrated', [True, False])
def test_nothing_is_missing_and_all_is_of_its_type(
    world: World, class_map: ClassMap, calibrated: bool
) -> None:
    found = all_fields(world, class_map, calibrated)
    assert len(found) == (4 if calibrated else 1)
    for msgtype, fields in found.items():
        assert_fits(msgtype, fields)


def test_without_metres_the_pixels_are_there(world: World, class_map: ClassMap) -> None:
    (fields,) = all_fields(world, class_map, calibrated=False).values()
    assert len(fields['column']) == len(fields['boundary_row']) == 128
    assert len(fields['bearing']) == len(fields['free_distance']) == 0
    assert np.isnan(fields['corridor_distance'])
    assert fields['age'] == {'sec': 1, 'nanosec': 250_000_000}


def test_a_grid_is_one_row_after_another(world: World, class_map: ClassMap) -> None:
    fields = all_fields(world, class_map, calibrated=True)['nav_msgs/msg/OccupancyGrid']
    info = fields['info']
    assert len(fields['data']) == info['height'] * info['width']
    assert info['map_load_time'] == {'sec': 5, 'nanosec': 7}
    assert info['origin']['position']['y'] == -15.0
    assert info['origin']['orientation']['w'] == 1.0
