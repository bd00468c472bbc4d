# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What Nav2 makes of a laser scan, written anew from its source (1.1.20, 1.3.13, 1.4.2, 1.5.1).

ObstacleLayer: nav2_costmap_2d's obstacle_layer.cpp, observation_buffer.cpp and laser_geometry's
projection. CollisionMonitor: nav2_collision_monitor's scan.cpp, source.cpp and
collision_monitor_node.cpp. Costmaps are square around the vehicle; speed is no aim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FREE, LETHAL, UNKNOWN = 0, 254, 255

SOURCE_DEFAULTS: dict[str, Any] = {
    'min_obstacle_height': 0.0,
    'max_obstacle_height': 0.0,
    'obstacle_min_range': 0.0,
    'obstacle_max_range': 2.5,
    'raytrace_max_range': 3.0,
    'inf_is_valid': False,
    'marking': True,
    'clearing': False,
    'expected_update_rate': 0.0,
}
LAYER_DEFAULTS: dict[str, Any] = {'min_obstacle_height': 0.0, 'max_obstacle_height': 2.0}


@dataclass(frozen=True)
class VehiclePose:
    """Of the scan's frame in the costmap's: height in m, angles in rad. It stands at x = y = 0."""

    z: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0

    def rotation(self) -> np.ndarray:
        """Turns points (3,) of the vehicle into the costmap's frame."""
        (sr, cr), (sp, cp), (sy, cy) = (
            (math.sin(angle), math.cos(angle)) for angle in (self.roll, self.pitch, self.yaw)
        )
        about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        return about_z @ about_y @ about_x


LEVEL = VehiclePose()


@dataclass
class ObstacleLayer:
    """One layer with one source; `costs` (N, N) by row y and column x from the lower corner."""

    layer: dict[str, Any]
    source: dict[str, Any]
    resolution: float = 0.1
    size: float = 40.0
    costs: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._layer = {**LAYER_DEFAULTS, **self.layer}
        self._source = {**SOURCE_DEFAULTS, **self.source}
        count = round(self.size / self.resolution)
        self.costs = np.full((count, count), UNKNOWN, np.uint8)
        self._updated = -math.inf

    def update(self, scan: Any, pose: VehiclePose = LEVEL, now: float = 0.0) -> None:
        """Take a sensor_msgs/LaserScan."""
        points = self._buffered(scan, pose)
        self._updated = now
        if self._source['clearing']:
            for point in points:
                self._clear(point)
        if self._source['marking']:
            for point in points:
                self._mark(point)

    def current(self, now: float) -> bool:
        """Whether the controller may use the costmap."""
        rate = self._source['expected_update_rate']
        return rate == 0 or now - self._updated <= rate

    def at(self, x: float, y: float) -> int:
        """Cost of the cell at a place in m."""
        column, row = self._cell(x, y)
        return int(self.costs[row, column])

    def around(self, x: float, y: float) -> set[int]:
        """Costs of the nine cells around a place in m."""
        column, row = self._cell(x, y)
        return set(self.costs[row - 1 : row + 2, column - 1 : column + 2].ravel().tolist())

    def _buffered(self, scan: Any, pose: VehiclePose) -> np.ndarray:
        ranges = np.array(scan.ranges, np.float32)
        if self._source['inf_is_valid']:
            ranges[~np.isfinite(ranges) & (ranges > 0)] = np.float32(scan.range_max - 0.0001)
        with np.errstate(invalid='ignore'):
            kept = (ranges < scan.range_max) & (ranges >= scan.range_min)
        angles = scan.angle_min + np.arange(len(ranges)) * scan.angle_increment
        ranges, angles = ranges[kept].astype(float), angles[kept]
        flat = np.stack([ranges * np.cos(angles), ranges * np.sin(angles), 0 * ranges], axis=1)
        points = flat @ pose.rotation().T + [0, 0, pose.z]
        low, high = self._source['min_obstacle_height'], self._source['max_obstacle_height']
        return points[(points[:, 2] >= low) & (points[:, 2] <= high)]

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        half = self.size / 2
        return (
            math.floor((x + half) / self.resolution),
            math.floor((y + half) / self.resolution),
        )

    def _inside(self, column: int, row: int) -> bool:
        return 0 <= column < len(self.costs) and 0 <= row < len(self.costs)

    def _cells(self, metres: float) -> int:
        return math.ceil(metres / self.resolution)

    def _clear(self, point: np.ndarray) -> None:
        """Free all cells on the way to a point, itself included, within raytrace_max_range."""
        column, row = self._cell(0, 0)
        end_column, end_row = self._cell(point[0], point[1])
        steps = max(abs(end_column - column), abs(end_row - row))
        length = math.hypot(end_column - column, end_row - row)
        share = min(1.0, self._cells(self._source['raytrace_max_range']) / max(length, 1e-9))
        for step in range(int(steps * share) + 1):
            part = step / max(steps, 1)
            at = (
                round(column + part * (end_column - column)),
                round(row + part * (end_row - row)),
            )
            if self._inside(*at):
                self.costs[at[1], at[0]] = FREE

    def _mark(self, point: np.ndarray) -> None:
        if not (
            self._layer['min_obstacle_height'] <= point[2] <= self._layer['max_obstacle_height']
        ):
            return
        column, row = self._cell(point[0], point[1])
        origin = self._cell(0, 0)
        # Humble compares whole cells, and is the only one that does not compare metres first.
        cells = int(math.hypot(column - origin[0], row - origin[1]))
        in_range = cells <= self._cells(self._source['obstacle_max_range'])
        if in_range and self._inside(column, row):
            self.costs[row, column] = LETHAL


@dataclass
class CollisionMonitor:
    """A monitor with one scan and one polygon, a rectangle before the vehicle.

    stops_without: whether a source that is missing or stale stops the vehicle (since Jazzy).
    """

    source_timeout: float = 2.0
    length: float = 3.0
    width: float = 2.0
    min_points: int = 4
    stops_without: bool = True

    def stops(self, scan: Any, stamp: float, now: float) -> bool:
        """Whether it stops the vehicle; scan: the last one, None where none came."""
        stale = self.source_timeout != 0 and now - stamp > self.source_timeout
        if scan is None or stale:
            return self.stops_without and self.source_timeout != 0
        inside = 0
        for number, distance in enumerate(scan.ranges):
            if scan.range_min <= distance <= scan.range_max:
                angle = scan.angle_min + number * scan.angle_increment
                x, y = distance * math.cos(angle), distance * math.sin(angle)
                inside += 0 <= x <= self.length and abs(y) <= self.width / 2
        return inside >= self.min_points
