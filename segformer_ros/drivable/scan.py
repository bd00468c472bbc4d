"""Laser scan of the boundary: ranges over equal angles about the vehicle's origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segformer_ros.drivable.contacts import Contacts
from segformer_ros.drivable.errors import DrivableError
from segformer_ros.drivable.ground import ColumnRanges, GroundProjection


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

    ranges: (count,) float32: metres to the nearest blocker; +inf: seen, and nothing within
    range_max; NaN: not seen by this camera.
    """

    angle_min: float
    angle_max: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: np.ndarray


def laser_scan(
    config: ScanConfig, ground: GroundProjection, ranges: ColumnRanges, contacts: Contacts
) -> ScanNumbers:
    """Scan of one frame: the nearest contact in each angle's bin."""
    scan = np.full(config.count, np.nan)
    scan[_seen_bins(config, ground, ranges)] = np.inf
    distance = np.sqrt(np.square(contacts.points).sum(axis=1))
    bins = _bins(config, np.arctan2(contacts.points[:, 1], contacts.points[:, 0]))
    inside = (bins >= 0) & (bins < config.count)
    nearest = np.full(config.count, np.inf)
    np.minimum.at(nearest, bins[inside], distance[inside])
    hit = np.isfinite(nearest) & (nearest <= config.range_max)
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


def _bins(config: ScanConfig, bearing: np.ndarray) -> np.ndarray:
    bins: np.ndarray = np.round((bearing - config.angle_min) / config.angle_increment)
    return bins.astype(np.intp)


def _seen_bins(config: ScanConfig, ground: GroundProjection, ranges: ColumnRanges) -> np.ndarray:
    """Tell which bins (count,) the columns look over that see the ground."""
    angles = config.angle_min + np.arange(config.count) * config.angle_increment
    seen: np.ndarray = np.zeros(config.count, bool)
    strips = np.flatnonzero(~np.isnan(ranges.distance))
    for group in np.split(strips, np.flatnonzero(np.diff(strips) > 1) + 1):
        if len(group) == 0:
            continue
        ends = group[[0, -1]]
        far = np.where(
            np.isfinite(ranges.distance[ends])[:, None],
            ranges.points[ends],
            ground.directions(ranges.edges[ends], ranges.columns[ends])[:, :2],
        )
        bearings = np.arctan2(far[:, 1], far[:, 0])
        # From left to right in the image bearings fall, perhaps through -pi to pi.
        span = (bearings[0] - bearings[1]) % (2 * math.pi)
        seen |= (bearings[0] - angles) % (2 * math.pi) <= span
    return seen
