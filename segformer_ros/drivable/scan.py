"""Laser scan of the boundary: ranges over equal angles about the vehicle's origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Tuple

import numpy as np

from segformer_ros.drivable.contacts import sides
from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.profile import DrivableError


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

    low, high: (n,) float64 bearings, rad, low <= high, up to a turn beyond -pi..pi. ranges: (n,)
    float64 m, what blocks there.
    """

    low: np.ndarray
    high: np.ndarray
    ranges: np.ndarray


def laser_scan(config: ScanConfig, ground: GroundProjection, ranges: ColumnRanges) -> ScanNumbers:
    """Scan of one frame: each beam takes the nearest blocker of the angle that it covers.

    A strip is as wide as it is in the image, and between two blocked neighbours no beam is clear,
    however much finer the beams are than the mask's columns.
    """
    scan = np.full(config.count, np.nan)
    strips = np.flatnonzero(~np.isnan(ranges.distance))
    if len(strips) > 0:
        blocked, clear = _strip_arcs(config, ground, ranges, strips)
        beam, _ = _beams(config, clear, 0.0)
        scan[beam] = np.inf
        beam, distance = _beams(config, blocked, config.angle_increment / 2)
        nearest = np.full(config.count, np.inf)
        np.minimum.at(nearest, beam, distance)
        hit = nearest <= config.range_max
        # A blocker closer than range_min would be thrown away by the reader: keep it at the limit.
        scan[hit] = np.maximum(nearest[hit], config.range_min)
    last = config.angle_min + (config.count - 1) * config.angle_increment
    return ScanNumbers(
        config.angle_min,
        last,
        config.angle_increment,
        config.range_min,
        config.range_max,
        scan.astype(np.float32),
    )


def _strip_arcs(
    config: ScanConfig, ground: GroundProjection, ranges: ColumnRanges, strips: np.ndarray
) -> Tuple[_Arcs, _Arcs]:
    """Arcs that strips (n,), ascending, block, and arcs that they see free up to range_max."""
    points = ranges.points[strips]  # (n, 2)
    distance = np.where(
        np.isfinite(ranges.distance[strips]), np.sqrt(np.square(points).sum(axis=1)), np.inf
    )
    hits = ranges.blocked[strips]
    clear = np.where(hits, distance > config.range_max, distance >= config.range_max)
    target, left, right = points, *sides(ground, ranges, strips)  # (n, 2) each
    # What is endless, or whose neighbour is above the horizon, has only a direction.
    for places, columns in ((target, 0), (left, -1), (right, 1)):
        vague = np.flatnonzero(np.isinf(distance) | np.isnan(places[:, 0]))
        at = strips[vague]
        beside = np.clip(at + columns, 0, len(ranges.columns) - 1)
        places[vague] = ground.directions(ranges.edges[at], ranges.columns[beside])[:, :2]
    middle, to_left, to_right = (
        np.arctan2(each[:, 1], each[:, 0]) for each in (target, left, right)
    )
    to_left, to_right = (_turned(each - middle) / 2 for each in (to_left, to_right))
    own = _arcs(middle, to_left, to_right, distance)
    # From one strip to the next, where both block or both are clear. There may be a gap, seen from
    # the vehicle's origin, since the camera stands elsewhere.
    gap_from = middle[:-1] + to_right[:-1]
    gap_to = _turned(middle[1:] + to_left[1:] - gap_from)
    none = np.zeros(len(gap_to))
    gaps = _arcs(gap_from, none, gap_to, np.maximum(distance[:-1], distance[1:]))
    next_to = np.diff(strips) == 1
    both_hit = next_to & hits[:-1] & hits[1:]
    both_clear = next_to & clear[:-1] & clear[1:]
    return (
        _joined(_chosen(own, hits), _chosen(gaps, both_hit)),
        _joined(_chosen(own, clear), _chosen(gaps, both_clear)),
    )


def _arcs(middle: np.ndarray, one: np.ndarray, other: np.ndarray, ranges: np.ndarray) -> _Arcs:
    """Arcs that reach from middle (n,) to two sides, rad relative to it."""
    low = np.minimum(np.minimum(one, other), 0.0)
    high = np.maximum(np.maximum(one, other), 0.0)
    return _Arcs(middle + low, middle + high, ranges)


def _beams(config: ScanConfig, arcs: _Arcs, reach: float) -> Tuple[np.ndarray, np.ndarray]:
    """Beams (n,) int whose angle is within `reach` rad of an arc, and the range of each there."""
    first_angle = config.angle_min
    found = []
    for shift in (-2 * math.pi, 0.0, 2 * math.pi):
        low = (arcs.low + (shift - reach - first_angle)) / config.angle_increment
        high = (arcs.high + (shift + reach - first_angle)) / config.angle_increment
        first = np.clip(np.ceil(low), 0, config.count).astype(np.intp)
        count = np.clip(np.floor(high), -1, config.count - 1).astype(np.intp) + 1 - first
        some = np.flatnonzero(count > 0)
        first, count = first[some], count[some]
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        found.append((np.repeat(first, count) + place, np.repeat(arcs.ranges[some], count)))
    beams, ranges = zip(*found)
    return np.concatenate(beams), np.concatenate(ranges)


def _turned(angle: np.ndarray) -> np.ndarray:
    """Angles (n,) brought to -pi..pi, rad."""
    result: np.ndarray = (angle + math.pi) % (2 * math.pi) - math.pi
    return result


def _chosen(arcs: _Arcs, which: np.ndarray) -> _Arcs:
    return _Arcs(*(values[which] for values in arcs))


def _joined(first: _Arcs, second: _Arcs) -> _Arcs:
    return _Arcs(*(np.concatenate(pair) for pair in zip(first, second)))
