# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Laser scan of the boundary: ranges over equal angles about the vehicle's origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.ground_points import sides
from segformer_ros.drivable.profile import DrivableError

_MUCH_FINER = 0.5  # of a beam's width


@dataclass(frozen=True)
class ScanConfig:
    """Angles in radians about the vehicle's x axis, ranges in metres."""

    angle_min: float = math.radians(-90.0)
    angle_max: float = math.radians(90.0)
    angle_increment: float = math.radians(0.5)
    range_min: float = 0.1
    range_max: float = 50.0

    def __post_init__(self) -> None:
        if not -math.pi <= self.angle_min < self.angle_max <= math.pi:
            raise DrivableError(
                f'scan angles {self.angle_min}..{self.angle_max} rad: give a '
                'range within -pi..pi, smaller first'
            )
        if not 1e-4 <= self.angle_increment <= self.angle_max - self.angle_min:
            raise DrivableError(
                f'scan angle_increment={self.angle_increment} rad does not divide '
                'the range of angles into at least one step'
            )
        if not 0 <= self.range_min < self.range_max:
            raise DrivableError(
                f'scan ranges {self.range_min}..{self.range_max} m: give '
                '0 <= range_min < range_max'
            )

    @property
    def count(self) -> int:
        """Number of ranges."""
        return math.floor((self.angle_max - self.angle_min) / self.angle_increment + 1e-6) + 1


class ScanNumbers(NamedTuple):
    """What sensor_msgs/LaserScan holds (REP-117).

    ranges: (count,) float32: metres to the nearest blocker; +inf: seen free as far as range_max;
    NaN: not seen by this camera, or not that far.
    """

    angle_min: float
    angle_max: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: np.ndarray


class _Arcs(NamedTuple):
    """Arcs about the vehicle's origin.

    low, high: (n,) float64 bearings, rad, low <= high. ranges: (n,) float64 m, what blocks there.
    """

    low: np.ndarray
    high: np.ndarray
    ranges: np.ndarray


def laser_scan(config: ScanConfig, ground: GroundProjection, ranges: ColumnRanges) -> ScanNumbers:
    """Scan of one frame: each beam has the nearest blocker within the angle that it covers.

    A blocker is as wide as its strip in the image, and no beam passes between two blocked
    neighbours, however much finer the beams are than the mask's columns.
    """
    count = config.count
    scan = np.full(count, np.nan)
    strips = np.flatnonzero(~np.isnan(ranges.distance))
    if len(strips) > 0:
        beams, distance = _beams(config, _strip_arcs(config, ground, ranges, strips))
        scan[beams[distance == np.inf]] = np.inf
        nearest = np.full(count, np.inf)
        np.minimum.at(nearest, beams, distance)
        hit = nearest <= config.range_max
        # Readers drop ranges below range_min: a blocker that close is moved out to the limit.
        scan[hit] = np.maximum(nearest[hit], config.range_min)
    return ScanNumbers(
        config.angle_min,
        config.angle_min + (count - 1) * config.angle_increment,
        config.angle_increment,
        config.range_min,
        config.range_max,
        scan.astype(np.float32),
    )


def _strip_arcs(
    config: ScanConfig, ground: GroundProjection, ranges: ColumnRanges, strips: np.ndarray
) -> _Arcs:
    """Arcs that strips (n,), ascending, block; with range inf, those seen free to range_max.

    A beam counts as blocked within half its own width of an arc, and as free only if all of it is:
    free arcs are narrowed by as much.
    """
    points, distance = ranges.points[strips], ranges.distance[strips]  # (n, 2), (n,)
    # Not `distance`, which is 0 for a blocker nearer than what the image shows.
    away = np.sqrt(np.square(points).sum(axis=1))  # (n,) m
    away[distance == np.inf] = np.inf
    hits = ranges.blocked[strips]  # (n,) bool
    beyond = np.where(hits, away > config.range_max, away >= config.range_max)
    # A strip that is blocked from its first visible row on is not known to be free before it.
    clear = beyond & (distance > 0)  # (n,) bool
    endless = np.flatnonzero(np.isinf(away))
    endless_strips = strips[endless]
    points[endless] = ground.directions(
        ranges.edges[endless_strips], ranges.columns[endless_strips]
    )[:, :2]
    middle = np.arctan2(points[:, 1], points[:, 0])  # (n,) bearings
    if middle.max() - middle.min() > math.pi:
        middle = np.unwrap(middle)
    low, high = _widened(config, ground, ranges, strips, middle, endless)
    # Two blocked neighbours may see one blocker or two. Between them the farther range counts: the
    # nearer blocker is only as wide as its own strip. Needed only if beams fit in between.
    apart = np.abs(np.diff(middle)) > 0.9 * config.angle_increment  # (n - 1,) bool
    pairs = np.flatnonzero(apart & (np.diff(strips) == 1) & hits[:-1] & hits[1:])
    between = _Arcs(
        np.minimum(middle[pairs], middle[pairs + 1]),
        np.maximum(middle[pairs], middle[pairs + 1]),
        np.maximum(away[pairs], away[pairs + 1]),
    )
    own = _Arcs(low[hits], high[hits], away[hits])
    free = _runs(strips, clear, low, high)
    half = config.angle_increment / 2
    free = free._replace(low=free.low + half, high=free.high - half)
    return _Arcs(*(np.concatenate(parts) for parts in zip(own, between, free)))


def _widened(
    config: ScanConfig,
    ground: GroundProjection,
    ranges: ColumnRanges,
    strips: np.ndarray,
    middle: np.ndarray,
    endless: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Lowest and highest bearings (n,) of strips (n,): halfway to their neighbours on both sides.

    middle: (n,) bearings of the strips. endless: (k,) int, which of them have only a direction.
    Both are `middle` itself if beams are so much wider than strips that it makes no difference.
    """
    spacing = ranges.columns[-1] / max(len(ranges.columns) - 1, 1) / ground.rays.focal_across
    if spacing < _MUCH_FINER * config.angle_increment:
        return middle, middle
    low, high = middle.copy(), middle.copy()
    last = len(ranges.columns) - 1
    for points, step in zip(sides(ground, ranges, strips), (-1, 1)):  # (n, 2) each
        # A neighbour above the horizon has only a direction, too.
        no_point = np.append(endless, np.flatnonzero(np.isnan(points[:, 0])))
        neighbours = ranges.columns[np.clip(strips[no_point] + step, 0, last)]
        points[no_point] = ground.directions(ranges.edges[strips[no_point]], neighbours)[:, :2]
        turn = np.arctan2(points[:, 1], points[:, 0]) - middle  # (n,)
        turn = np.nan_to_num(turn)  # a lens may have no ray there
        end = middle + ((turn + math.pi) % (2 * math.pi) - math.pi) / 2
        low, high = np.minimum(low, end), np.maximum(high, end)
    return low, high


def _runs(strips: np.ndarray, which: np.ndarray, low: np.ndarray, high: np.ndarray) -> _Arcs:
    """One arc, with range inf, for each run of consecutive strips with `which` (n,) bool true."""
    index = np.flatnonzero(which)
    if len(index) == 0:
        return _Arcs(low[:0], high[:0], high[:0])
    first = np.append(0, np.flatnonzero(np.diff(strips[index]) > 1) + 1)
    ends = np.maximum.reduceat(high[index], first)
    return _Arcs(np.minimum.reduceat(low[index], first), ends, np.full(len(ends), np.inf))


def _beams(config: ScanConfig, arcs: _Arcs) -> Tuple[np.ndarray, np.ndarray]:
    """Beams (n,) int within half their width of an arc, and the arc's range (n,); may repeat."""
    reach = config.angle_increment / 2
    # Whole turns are taken off, so that only arcs that cross -pi or pi have beams at both ends.
    back = np.floor((arcs.low + math.pi) / (2 * math.pi)) * (2 * math.pi)
    low = (arcs.low - back - (reach + config.angle_min)) / config.angle_increment
    high = (arcs.high - back + (reach - config.angle_min)) / config.angle_increment
    ranges, turn = arcs.ranges, 2 * math.pi / config.angle_increment
    around = np.flatnonzero((high > turn) | (low < 0))
    if len(around) > 0:
        low = np.concatenate([low, low[around] - turn, low[around] + turn])
        high = np.concatenate([high, high[around] - turn, high[around] + turn])
        ranges = np.concatenate([ranges, ranges[around], ranges[around]])
    last = config.count - 1
    first = np.minimum(np.maximum(np.ceil(low), 0), last + 1).astype(np.intp)
    count = np.minimum(np.maximum(np.floor(high), -1), last).astype(np.intp) + 1 - first
    some = np.flatnonzero(count > 0)
    first, count = first[some], count[some]
    # Each arc's beams: first, first + 1, ...; `offset` counts from 0 within each arc.
    offset = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + offset, np.repeat(ranges[some], count)


def scan_fields(numbers: ScanNumbers) -> Dict[str, Any]:
    """Fields of sensor_msgs/LaserScan, its header being in the vehicle frame."""
    return {
        'angle_min': float(numbers.angle_min),
        'angle_max': float(numbers.angle_max),
        'angle_increment': float(numbers.angle_increment),
        'time_increment': 0.0,
        'scan_time': 0.0,
        'range_min': float(numbers.range_min),
        'range_max': float(numbers.range_max),
        'ranges': np.ascontiguousarray(numbers.ranges, np.float32),
        'intensities': np.zeros(0, np.float32),
    }
