"""Fills the messages of the drivable area."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from segformer_ros.drivable import DrivableArea, GridConfig, GridNumbers, ScanConfig, ScanNumbers
from segformer_ros.drivable.grid import UNKNOWN
from segformer_ros.msg import DrivableArea as DrivableAreaMessage
from segformer_ros.node.messages import byte_array

_NANOSECONDS = 1_000_000_000
_SECONDS_MAX = 2**31 - 1  # of a Duration; a clock that is off by more is no clock


def area_message(
    header: Header, area: DrivableArea, age: float, vehicle_frame: str
) -> DrivableAreaMessage:
    """Message of one summary; `age` in seconds."""
    message = DrivableAreaMessage()
    message.header = header
    message.valid = area.valid
    message.reason = area.reason
    message.calibrated = area.calibrated
    message.age = _duration(age)
    message.image_height = area.image_height
    message.image_width = area.image_width
    message.road_fraction = float(area.road_fraction)
    message.sidewalk_fraction = float(area.sidewalk_fraction)
    message.column = byte_array(area.column, 'f')
    message.boundary_row = byte_array(area.boundary_row, 'i')
    message.blocking_class = byte_array(area.blocking_class)
    message.confidence = byte_array(area.confidence, 'f')
    message.vehicle_frame = vehicle_frame
    message.bearing = byte_array(area.bearing, 'f')
    message.free_distance = byte_array(area.free_distance, 'f')
    message.distance_sigma = byte_array(area.distance_sigma, 'f')
    message.corridor_width = float(area.corridor.width)
    message.corridor_distance = float(area.corridor.distance)
    message.corridor_blocking_class = int(area.corridor.blocking_class)
    return message


def grid_message(header: Header, numbers: GridNumbers) -> OccupancyGrid:
    """Message of a grid; the header is in the vehicle frame."""
    message = OccupancyGrid()
    message.header = header
    message.info.map_load_time = header.stamp
    message.info.resolution = numbers.resolution
    message.info.height, message.info.width = numbers.cells.shape
    message.info.origin.position.x = numbers.origin_x
    message.info.origin.position.y = numbers.origin_y
    message.info.origin.orientation.w = 1.0
    message.data = byte_array(numbers.cells, 'b')
    return message


def scan_message(header: Header, numbers: ScanNumbers) -> LaserScan:
    """Message of a scan; the header is in the vehicle frame."""
    message = LaserScan()
    message.header = header
    message.angle_min = numbers.angle_min
    message.angle_max = numbers.angle_max
    message.angle_increment = numbers.angle_increment
    message.range_min = numbers.range_min
    message.range_max = numbers.range_max
    message.ranges = byte_array(numbers.ranges, 'f')
    return message


def blank_grid(config: GridConfig) -> GridNumbers:
    """Grid in which nothing is known: takes the place of a free one that no longer holds."""
    cells = np.full((config.height, config.width), UNKNOWN, np.int8)
    return GridNumbers(config.resolution, config.x_min, config.y_min, cells)


def blank_scan(config: ScanConfig) -> ScanNumbers:
    """Scan in which no direction is seen."""
    last = config.angle_min + (config.count - 1) * config.angle_increment
    ranges = np.full(config.count, np.nan, np.float32)
    return ScanNumbers(
        config.angle_min, last, config.angle_increment, config.range_min, config.range_max, ranges
    )


def _duration(seconds: float) -> Duration:
    limited = max(-_SECONDS_MAX, min(_SECONDS_MAX, seconds))
    sec, nanosec = divmod(round(limited * _NANOSECONDS), _NANOSECONDS)
    return Duration(sec=sec, nanosec=nanosec)
