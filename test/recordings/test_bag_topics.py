# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Where the vehicle stood, by a bag's odometry or transforms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from segformer_ros import topics
from segformer_ros.drivable import PlanarPose, odometry_fields
from segformer_ros.frame import Stamp
from segformer_ros.recordings import BagWriter, SourceOptions, open_source
from segformer_ros.recordings.bag_writer import header_fields, mono8_fields, recording_types

STEP = 100_000_000
TYPES = recording_types().types


def write(
    path: Path, frames: int = 4, odometry: str = '', child: str = 'base_link', tf: bool = False
) -> Path:
    """A bag of images at 10 Hz, with places between them: x = 10 t, at a yaw of t."""
    with BagWriter(path) as bag:
        bag.add_topic('/image', topics.IMAGE_TYPE)
        if odometry:
            bag.add_topic(odometry, topics.ODOMETRY_TYPE)
        if tf:
            bag.add_topic(topics.TF, topics.TF_TYPE)
        for index in range(frames + 1):
            for part in (0.5, 0.9):  # before each image, none after the last
                stamp = Stamp.from_ns(round((index + part) * STEP))
                t = stamp.ns / 1e9
                place = PlanarPose(10 * t, 0.0, t)
                if odometry:
                    fields = {'header': header_fields(stamp, 'odom')}
                    fields.update(odometry_fields(place, child))
                    bag.write_fields(odometry, fields, stamp.ns)
                if tf:
                    bag.write_message(topics.TF, transforms(stamp, place), stamp.ns)
            if index < frames:
                stamp = Stamp.from_ns((index + 1) * STEP)
                header = header_fields(stamp, 'camera')
                pixels = np.full((8, 8), index, np.uint8)
                bag.write_fields('/image', mono8_fields(header, pixels), stamp.ns)
    return path


def transforms(stamp: Stamp, place: PlanarPose) -> object:
    """odom to base_footprint, and that to base_link."""
    made = []
    for parent, child, x, yaw in (
        ('odom', 'base_footprint', place.x, place.yaw),
        ('base_footprint', 'base_link', 0.0, 0.0),
        ('base_link', 'wheel', 1.0, 7 * place.yaw),
    ):
        time = TYPES['builtin_interfaces/msg/Time'](*stamp)
        header = TYPES['std_msgs/msg/Header'](time, parent)
        offset = TYPES['geometry_msgs/msg/Vector3'](x, 0.0, 0.0)
        turn = TYPES['geometry_msgs/msg/Quaternion'](0, 0, math.sin(yaw / 2), math.cos(yaw / 2))
        transform = TYPES['geometry_msgs/msg/Transform'](offset, turn)
        made.append(TYPES['geometry_msgs/msg/TransformStamped'](header, child, transform))
    return TYPES[topics.TF_TYPE](made)


def places(path: Path, start: int = 0, **options: str) -> list[PlanarPose | None]:
    source = open_source(str(path), SourceOptions(vehicle_frame='base_link', **options))  # type: ignore[arg-type]
    return [entry.place for entry in source.frames(start)]


@pytest.mark.parametrize('written', [{'odometry': '/odom'}, {'odometry': '/wheels'}, {'tf': True}])
def test_places_at_the_stamps_of_the_frames(tmp_path: Path, written: dict[str, object]) -> None:
    path = write(tmp_path / 'bag.mcap', **written)  # type: ignore[arg-type]
    for start in (0, 2):
        found = places(path, start)
        assert len(found) == 4 - start
        for index, place in enumerate(found, start):
            t = (index + 1) * 0.1
            assert place is not None
            assert place == pytest.approx((10 * t, 0.0, t))


def test_a_bag_without_odometry_has_no_places(tmp_path: Path) -> None:
    assert places(write(tmp_path / 'bag.mcap')) == [None] * 4


def test_odometry_of_another_frame_is_not_the_vehicles(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag.mcap', odometry='/odom', child='trailer')
    assert places(path) == [None] * 4
