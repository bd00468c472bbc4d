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

    ranges: (count,) float32: metres to the nearest blocker; +inf: seen as far as range_max, and
    nothing within it; NaN: not seen by this camera, or not that far.
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
    """Scan of one frame: each beam takes the nearest blocker of the angle that it covers.

    A strip is as wide as it is in the image, and between two blocked neighbours no beam is clear,
    however much finer the beams are than the mask's columns.
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
        # A blocker closer than range_min would be thrown away by the reader: keep it at the limit.
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
    """Arcs that strips (n,), ascending, block, and with inf those that they see free to range_max.

    A beam counts as touched within half of its own width; free arcs are smaller by so much.
    """
    points, distance = ranges.points[strips], ranges.distance[strips]  # (n, 2), (n,)
    away = np.sqrt(np.square(points).sum(axis=1))  # also of what is nearer than the image shows
    away[distance == np.inf] = np.inf
    hits = ranges.blocked[strips]
    beyond = np.where(hits, away > config.range_max, away >= config.range_max)
    # What is blocked from the first visible row on is not known to be free before it.
    clear = beyond & (distance > 0)
    endless = np.flatnonzero(np.isinf(away))
    at = strips[endless]
    points[endless] = ground.directions(ranges.edges[at], ranges.columns[at])[:, :2]
    middle = np.arctan2(points[:, 1], points[:, 0])  # (n,)
    if middle.max() - middle.min() > math.pi:
        middle = np.unwrap(middle)
    low, high = _widened(config, ground, ranges, strips, middle, endless)
    # What neighbours see of one blocker or of two: the farther one counts between them, since the
    # nearer one is as wide as its own column shows. Less than a beam apart there is no between.
    apart = np.abs(np.diff(middle)) > 0.9 * config.angle_increment
    edge = np.flatnonzero(apart & (np.diff(strips) == 1) & hits[:-1] & hits[1:])
    between = _Arcs(
        np.minimum(middle[edge], middle[edge + 1]),
        np.maximum(middle[edge], middle[edge + 1]),
        np.maximum(away[edge], away[edge + 1]),
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
    """Bearings (n,) at which strips (n,) end to both sides: halfway to what is beside them.

    middle: (n,) bearings of the strips. endless: (k,) int, which of them have only a direction.
    The same as `middle` where the beams are so much wider that it makes no difference.
    """
    spacing = ranges.columns[-1] / max(len(ranges.columns) - 1, 1) / ground.rays.focal_across
    if spacing < _MUCH_FINER * config.angle_increment:
        return middle, middle
    low, high = middle.copy(), middle.copy()
    last = len(ranges.columns) - 1
    for places, step in zip(sides(ground, ranges, strips), (-1, 1)):  # (n, 2) each
        # A neighbour above the horizon has only a direction, too.
        vague = np.append(endless, np.flatnonzero(np.isnan(places[:, 0])))
        beside = ranges.columns[np.clip(strips[vague] + step, 0, last)]
        places[vague] = ground.directions(ranges.edges[strips[vague]], beside)[:, :2]
        turn = np.arctan2(places[:, 1], places[:, 0]) - middle
        half = ((turn + math.pi) % (2 * math.pi) - math.pi) / 2
        end = middle + np.nan_to_num(half)  # a lens may have no ray there
        low, high = np.minimum(low, end), np.maximum(high, end)
    return low, high


def _runs(strips: np.ndarray, which: np.ndarray, low: np.ndarray, high: np.ndarray) -> _Arcs:
    """Arcs of all strips side by side of which `which` (n,) bool is true."""
    index = np.flatnonzero(which)
    if len(index) == 0:
        return _Arcs(low[:0], high[:0], high[:0])
    first = np.append(0, np.flatnonzero(np.diff(strips[index]) > 1) + 1)
    ends = np.maximum.reduceat(high[index], first)
    return _Arcs(np.minimum.reduceat(low[index], first), ends, np.full(len(ends), np.inf))


def _beams(config: ScanConfig, arcs: _Arcs) -> Tuple[np.ndarray, np.ndarray]:
    """Beams (n,) int that are within half their width of an arc, and the range of each there."""
    reach = config.angle_increment / 2
    # Whole turns are taken off, so that only what crosses -pi or pi has beams at both ends.
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
    place = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + place, np.repeat(ranges[some], count)


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
