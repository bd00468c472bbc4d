# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the drivable area's messages hold, for whoever fills them: rclpy's or a bag's.

Fields by the names of the message: numbers, texts, contiguous arrays of the field's own type, and
mappings for the messages within. All fields are there but `header`.
"""

from __future__ import annotations

import math
from typing import Any, Dict

import numpy as np

from segformer_ros.drivable.area import DrivableArea
from segformer_ros.drivable.grid import GridNumbers
from segformer_ros.drivable.odometry import PlanarPose
from segformer_ros.drivable.scan import ScanNumbers
from segformer_ros.frame import Stamp

Fields = Dict[str, Any]

_NANOSECONDS = 1_000_000_000
_SECONDS_MAX = 2**31 - 1  # of a Duration; a clock that is off by more is no clock


def area_fields(area: DrivableArea, age: float, vehicle_frame: str) -> Fields:
    """Fields of segformer_ros/DrivableArea; `age` in seconds."""
    return {
        'valid': area.valid,
        'reason': area.reason,
        'calibrated': area.calibrated,
        'pose_source': area.pose_source,
        'age': _duration(age),
        'image_height': area.image_height,
        'image_width': area.image_width,
        'road_fraction': float(area.road_fraction),
        'sidewalk_fraction': float(area.sidewalk_fraction),
        'column': _array(area.column, np.float32),
        'boundary_row': _array(area.boundary_row, np.int32),
        'blocking_class': _array(area.blocking_class, np.uint8),
        'confidence': _array(area.confidence, np.float32),
        'vehicle_frame': vehicle_frame,
        'bearing': _array(area.bearing, np.float32),
        'free_distance': _array(area.free_distance, np.float32),
        'distance_sigma': _array(area.distance_sigma, np.float32),
        'corridor_width': float(area.corridor.width),
        'corridor_distance': float(area.corridor.distance),
        'corridor_sigma': float(area.corridor.sigma),
        'corridor_blocking_class': int(area.corridor.blocking_class),
    }


def grid_fields(numbers: GridNumbers, stamp: Stamp) -> Fields:
    """Fields of nav_msgs/OccupancyGrid, its header being in the vehicle frame."""
    height, width = numbers.cells.shape
    position = {'x': float(numbers.origin_x), 'y': float(numbers.origin_y), 'z': 0.0}
    orientation = {'x': 0.0, 'y': 0.0, 'z': 0.0, 'w': 1.0}
    return {
        'info': {
            'map_load_time': stamp._asdict(),
            'resolution': float(numbers.resolution),
            'width': width,
            'height': height,
            'origin': {'position': position, 'orientation': orientation},
        },
        'data': _array(numbers.cells, np.int8).ravel(),
    }


def odometry_fields(place: PlanarPose, vehicle_frame: str) -> Fields:
    """Fields of nav_msgs/Odometry, its header being in the odometry frame; no speed is given."""
    zero = {'x': 0.0, 'y': 0.0, 'z': 0.0}
    half = place.yaw / 2
    orientation = {'x': 0.0, 'y': 0.0, 'z': math.sin(half), 'w': math.cos(half)}
    position = {'x': float(place.x), 'y': float(place.y), 'z': 0.0}
    unknown = np.zeros(36)
    return {
        'child_frame_id': vehicle_frame,
        'pose': {
            'pose': {'position': position, 'orientation': orientation},
            'covariance': unknown,
        },
        'twist': {'twist': {'linear': zero, 'angular': zero}, 'covariance': unknown},
    }


def scan_fields(numbers: ScanNumbers) -> Fields:
    """Fields of sensor_msgs/LaserScan, its header being in the vehicle frame."""
    return {
        'angle_min': float(numbers.angle_min),
        'angle_max': float(numbers.angle_max),
        'angle_increment': float(numbers.angle_increment),
        'time_increment': 0.0,
        'scan_time': 0.0,
        'range_min': float(numbers.range_min),
        'range_max': float(numbers.range_max),
        'ranges': _array(numbers.ranges, np.float32),
        'intensities': np.zeros(0, np.float32),
    }


def _array(values: np.ndarray, dtype: Any) -> np.ndarray:
    return np.ascontiguousarray(values, dtype)


def _duration(seconds: float) -> Fields:
    """Fields of builtin_interfaces/Duration."""
    limited = max(-_SECONDS_MAX, min(_SECONDS_MAX, seconds))
    sec, nanosec = divmod(round(limited * _NANOSECONDS), _NANOSECONDS)
    return {'sec': sec, 'nanosec': nanosec}
