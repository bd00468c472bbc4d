"""Fills the messages of the drivable area."""

from __future__ import annotations

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from segformer_ros.drivable import (
    DrivableArea,
    GridConfig,
    GridNumbers,
    ScanNumbers,
    area_fields,
    grid_fields,
    scan_fields,
)
from segformer_ros.drivable.grid import UNKNOWN
from segformer_ros.frame import Stamp
from segformer_ros.msg import DrivableArea as DrivableAreaMessage
from segformer_ros.node.messages import fill


def area_message(
    header: Header, area: DrivableArea, age: float, vehicle_frame: str
) -> DrivableAreaMessage:
    """Message of one summary; `age` in seconds."""
    message = DrivableAreaMessage(header=header)
    fill(message, area_fields(area, age, vehicle_frame))
    return message


def grid_message(header: Header, numbers: GridNumbers) -> OccupancyGrid:
    """Message of a grid; the header is in the vehicle frame."""
    message = OccupancyGrid(header=header)
    fill(message, grid_fields(numbers, Stamp(header.stamp.sec, header.stamp.nanosec)))
    return message


def scan_message(header: Header, numbers: ScanNumbers) -> LaserScan:
    """Message of a scan; the header is in the vehicle frame."""
    message = LaserScan(header=header)
    fill(message, scan_fields(numbers))
    return message


def blank_grid(config: GridConfig) -> GridNumbers:
    """Grid in which nothing is known: takes the place of a free one that no longer holds."""
    cells = np.full((config.height, config.width), UNKNOWN, np.int8)
    return GridNumbers(config.resolution, config.x_min, config.y_min, cells)
