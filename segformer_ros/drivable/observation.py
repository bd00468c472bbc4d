# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Observation: what one frame says of the ground, to be kept in a map, and the map's settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.drivable.boundary import BoundaryConfig, BoundaryExtractor
from segformer_ros.drivable.grid import GridConfig, free_outlines
from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.ground_points import blocker_contacts, ground_names
from segformer_ros.drivable.profile import ROW_NONE, ColumnProfile, DrivableError

STEP = 1.0
"""Metres by which the map moves on."""

COSTS = ('road=0', 'sidewalk=40', 'terrain=60')
HALF_LIVES = ('human=1', 'vehicle=3')


@dataclass(frozen=True)
class MapConfig:
    """Extent of the map, what its cells say, and for how long.

    size: of its sides, m; the vehicle is in its middle, to a metre. resolution: of a cell, m.
    costs: `NAME=COST` with the name of a class or a group of the class map: value 0..100 of cells
        where that is seen. Other ground has 50, all that stands on it 100.
    half_life: s in which what is known of the free ground fades to half, unless it is seen anew.
    blocker_half_life: the same of what stands on it.
    half_lives: `NAME=SECONDS` with the name of a class or group that has another: a person is
        gone sooner than a wall.
    unseen_speed: m/s at which a vehicle may come along the road that no camera has seen: where it
        may be by now, the road is not free by memory. 0: none comes.
    max_footprint: no ground is free where one image row spans more of it than this, m.
    """

    size: float = 20.0
    resolution: float = 0.1
    costs: Tuple[str, ...] = COSTS
    half_life: float = 4.0
    blocker_half_life: float = 15.0
    half_lives: Tuple[str, ...] = HALF_LIVES
    unseen_speed: float = 14.0
    max_footprint: float = 1.0

    def __post_init__(self) -> None:
        for name in ('size', 'half_life', 'blocker_half_life', 'max_footprint'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise DrivableError(f'map {name}={value}: give a number above 0')
        if not 0 <= self.unseen_speed <= 100:
            raise DrivableError(f'map unseen_speed={self.unseen_speed}: give 0 to 100 m/s')
        _named(self.costs, 'costs', 0.0, 100.0)
        _named(self.half_lives, 'half_lives', 0.01, 3600.0)
        self.extent(0.0, 0.0)

    @property
    def farthest(self) -> float:
        """Distance that may be in the map, m: to a corner, from a metre off the middle."""
        return self.size / math.sqrt(2) + STEP * math.sqrt(2)

    def extent(self, x: float, y: float) -> GridConfig:
        """Cells around a place; their borders are multiples of the resolution."""
        if not self.resolution > 0:
            raise DrivableError(f'map resolution={self.resolution} m: give metres above 0')
        side = max(1, round(self.size / self.resolution))
        low = [(round(at / self.resolution) - side // 2) * self.resolution for at in (x, y)]
        high = [each + side * self.resolution for each in low]
        return GridConfig(self.resolution, low[0], high[0], low[1], high[1], self.max_footprint)


def _named(entries: Sequence[str], what: str, low: float, high: float) -> Mapping[str, float]:
    """Numbers by name of `NAME=NUMBER`; raises DrivableError."""
    found = {}
    for entry in entries:
        name, _, text = entry.rpartition('=')
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name.strip() or not low <= value <= high:
            raise DrivableError(
                f'map {what} has {entry!r}; give NAME=NUMBER with a number from {low:g} to '
                f'{high:g}'
            )
        found[name.strip()] = value
    return found


def by_class(entries: Sequence[str], class_map: ClassMap) -> Dict[int, float]:
    """Numbers by train id; those of a class go before those of its group."""
    named = _named(entries, '', 0.0, math.inf)
    groups = {entry.group for entry in class_map.classes if entry.group}
    known = {*class_map.names, *groups}
    # The defaults name classes and groups of Cityscapes, which another class map may not have.
    wrong = [n for n in named if n not in known and f'{n}={named[n]:g}' not in COSTS + HALF_LIVES]
    if wrong:
        raise DrivableError(
            f'map costs or half_lives name {wrong[0]!r}, which is no class of the class map '
            f'{class_map.name!r} and no group; it has {", ".join(class_map.names)}'
        )
    found: Dict[int, float] = {}
    for entry in class_map.classes:
        value = named.get(entry.name, named.get(entry.group))
        if value is not None:
            found[entry.train_id] = value
    return found


_SAMPLES = 64  # distances for which the deviation is worked out
_NO_GROUND = 'nothing'


class Blockers(NamedTuple):
    """Where something stands: points (M, 2) float64 m, classes (M,) uint8, sigma (M,) float64 m.

    rays: (M, 2) float64, the direction of length 1 on the ground in which each was seen.
    """

    points: np.ndarray
    classes: np.ndarray
    sigma: np.ndarray
    rays: np.ndarray


@dataclass(frozen=True)
class GroundObservation:
    """One frame's ground, in the vehicle frame of its stamp, m.

    outlines: (K, 2) float64 each, of the ground on which nothing stands: short of every blocker
        by one standard deviation, and no further than the range that it was made for.
    blockers: the contacts of all that stands on it.
    """

    outlines: List[np.ndarray]
    blockers: Blockers
    _ground: GroundProjection
    _labels: np.ndarray
    _deviation: Tuple[np.ndarray, np.ndarray]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distance (n,) of ground points (n, 2) from the camera's foot, m."""
        x, y = points[:, 0] - self._ground.foot[0], points[:, 1] - self._ground.foot[1]
        return np.asarray(np.sqrt(x * x + y * y))

    def sigma(self, distance: np.ndarray) -> np.ndarray:
        """Standard deviation (n,) of distances (n,) from the camera's foot, m."""
        return np.interp(distance, *self._deviation)

    def classes(self, points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Classes of the pixels just above and below ground points (n, 2): (n,) uint8 each.

        IGNORE_ID, which is no class, where the image does not show them.
        """
        edges, columns = self._ground.edges_of(points)
        height, width = self._labels.shape
        hidden = np.isnan(edges)
        edges[hidden] = 0.5
        pixels = self._labels.ravel()

        def at(rows: np.ndarray) -> np.ndarray:
            index = np.clip(rows, 0, height - 1).astype(np.intp) * width + columns
            found: np.ndarray = pixels.take(index)
            found[hidden] = IGNORE_ID
            return found

        return at(np.floor(edges - 0.5)), at(np.ceil(edges - 0.5))


def deviation(ground: GroundProjection, cell: float) -> Tuple[np.ndarray, np.ndarray]:
    """Distances (n,) from the camera's foot, ascending, and their standard deviations (n,), m.

    Those of the middle column that sees ground; grows with the distance in all of them.
    """
    rays = ground.rays
    seen = np.flatnonzero(ground.reach(math.inf) <= rays.lowest)
    if not len(seen):
        return np.zeros(1), np.full(1, np.inf)
    column = seen[len(seen) // 2]
    edges = np.linspace(ground.reach(math.inf)[column], rays.lowest[column], _SAMPLES)
    edges = np.unique(edges.round().astype(np.intp))[::-1]
    columns = np.full(len(edges), column)
    distance = np.hypot(*(ground.points(edges, columns) - ground.foot).T)
    sigma = ground.sigma_at(edges, columns, cell)
    known = np.isfinite(distance) & np.isfinite(sigma)
    return distance[known], np.maximum.accumulate(sigma[known])


class GroundObserver:
    """Makes the observations of one camera's frames.

    All classes that lie on the ground count as ground, whatever may be driven on; all others
    block. boundary: what of the mask is believed. config: of the map that it is for.
    """

    def __init__(self, boundary: BoundaryConfig, class_map: ClassMap, config: MapConfig) -> None:
        names = ground_names(class_map)
        if not names:
            class_map = replace(class_map, drivable={_NO_GROUND: ()})
        every = replace(boundary, drivable=','.join(names) or _NO_GROUND)
        self._extractor = BoundaryExtractor(every, class_map)
        self._sky = tuple(c.train_id for c in class_map.classes if c.group == 'sky')
        self._config = config
        self._of: Optional[GroundProjection] = None
        self._cell = 0.0
        self._deviation = (np.zeros(1), np.zeros(1))

    def observe(
        self,
        labels: np.ndarray,
        confidence: Optional[np.ndarray],
        ground: GroundProjection,
        cell: float = 1.0,
    ) -> GroundObservation:
        """What a label map (H, W) uint8, as it came, says of the ground; keeps a copy of it.

        confidence: (H, W) uint8 or None. ground: of the mask's size. cell: see DrivableArea.
        """
        turn = ground.rays.turn
        labels = turn.turn(labels) if turn.quarters else labels.copy()
        confidence = turn.turn(confidence) if confidence is not None else None
        profile = self._extractor.profile(labels, confidence, ground.pixel_scale)
        ranges = ground.column_ranges(profile, self._sky)
        contacts = blocker_contacts(ground, profile, ranges, self._config.resolution)
        if self._of is not ground or self._cell != cell:
            self._deviation = deviation(ground, cell)
            self._of, self._cell = ground, cell
        away = contacts.points - ground.foot  # (M, 2)
        distance = np.hypot(*away.T)
        sigma = np.interp(distance, *self._deviation)
        rays = away / np.maximum(distance, 1e-9)[:, None]
        footprint = ground.range_of_footprint(self._config.max_footprint)
        reach = min(self._config.farthest, footprint)
        short = self._shortened(profile, ranges, ground)
        return GroundObservation(
            free_outlines(ground, short, reach),
            Blockers(contacts.points, contacts.classes, sigma, rays),
            ground,
            labels,
            self._deviation,
        )

    def _shortened(
        self, profile: ColumnProfile, ranges: ColumnRanges, ground: GroundProjection
    ) -> ColumnProfile:
        """Profile in which each blocker stands one standard deviation nearer than it was seen."""
        strips = np.flatnonzero(
            (profile.rows != ROW_NONE) & ranges.blocked & np.isfinite(ranges.points[:, 0])
        )
        distance = np.hypot(*(ranges.points[strips] - ground.foot).T)
        sigma = np.interp(distance, *self._deviation)
        # The deviation is that of an angle, in which the inverse of the distance is linear: one
        # of 100 m at 100 m means 50 m, not none.
        safe = np.square(distance) / np.maximum(distance + sigma, 1e-9)
        near = safe < self._config.farthest
        strips, safe = strips[near], np.maximum(safe[near], 1e-3)
        if not len(strips):
            return profile
        edges = ground.edges_within(safe, profile.columns[strips])
        rows = profile.rows.copy()
        rows[strips] = np.clip(edges - 1, rows[strips], profile.start)
        return replace(profile, rows=rows)
