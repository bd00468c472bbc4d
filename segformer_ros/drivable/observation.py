# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Observation: what one frame shows of the ground, as a map takes it, and the map's settings."""

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
"""Metres by which the map moves at a time."""

COSTS = ('road=0', 'sidewalk=40', 'terrain=60')
HALF_LIVES = ('human=1', 'vehicle=3')


@dataclass(frozen=True)
class MapConfig:
    """Extent of the map, the values of its cells, and how they decay.

    size: length of its sides, m; the vehicle stays within a metre of its middle.
    resolution: side of a cell, m.
    costs: `NAME=COST` with the name of a class or a group of the class map: value 0..100 of cells
        where that is seen. Other ground has 50, blockers have 100.
    half_life: s in which the log-odds of free ground decay to half, unless it is seen again.
    blocker_half_life: the same for blockers.
    half_lives: `NAME=SECONDS` with the name of a class or group that differs: a person is gone
        sooner than a wall.
    unseen_speed: m/s at which a vehicle that no camera has seen may approach along the road: where
        it may be by now, remembered road is not free. 0: no such vehicle is assumed.
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
        """Largest distance in the map, m: to a corner, from a metre off the middle."""
        return self.size / math.sqrt(2) + STEP * math.sqrt(2)

    def extent(self, x: float, y: float) -> GridConfig:
        """Grid around x, y, m; the borders of its cells are multiples of the resolution."""
        if not self.resolution > 0:
            raise DrivableError(f'map resolution={self.resolution} m: give metres above 0')
        side = max(1, round(self.size / self.resolution))
        low = [(round(mid / self.resolution) - side // 2) * self.resolution for mid in (x, y)]
        high = [each + side * self.resolution for each in low]
        return GridConfig(self.resolution, low[0], high[0], low[1], high[1], self.max_footprint)


def _named(entries: Sequence[str], what: str, low: float, high: float) -> Mapping[str, float]:
    """Numbers by name, from entries `NAME=NUMBER`; raises DrivableError."""
    numbers = {}
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
        numbers[name.strip()] = value
    return numbers


def by_class(entries: Sequence[str], class_map: ClassMap) -> Dict[int, float]:
    """Numbers by train id, from entries `NAME=NUMBER`; a class's own overrides its group's."""
    named = _named(entries, '', 0.0, math.inf)
    groups = {entry.group for entry in class_map.classes if entry.group}
    known = {*class_map.names, *groups}
    # The defaults name classes and groups of Cityscapes, which another class map may not have.
    wrong = [n for n in named if n not in known and f'{n}={named[n]:g}' not in COSTS + HALF_LIVES]
    if wrong:
        raise DrivableError(
            f'map costs or half_lives name {wrong[0]!r}, which is not a class of the class map '
            f'{class_map.name!r} and no group; it has {", ".join(class_map.names)}'
        )
    numbers: Dict[int, float] = {}
    for entry in class_map.classes:
        value = named.get(entry.name, named.get(entry.group))
        if value is not None:
            numbers[entry.train_id] = value
    return numbers


_SAMPLES = 64  # distances for which the deviation is tabulated
_NO_GROUND = 'nothing'  # name of an empty drivable group, for class maps without ground


class Blockers(NamedTuple):
    """Contact points (M, 2) float64 m, their classes (M,) uint8 and sigma (M,) float64 m.

    rays: (M, 2) float64, unit vectors on the ground from the camera to each.
    """

    points: np.ndarray
    classes: np.ndarray
    sigma: np.ndarray
    rays: np.ndarray


@dataclass(frozen=True)
class GroundObservation:
    """What one frame shows of the ground, in the vehicle frame at its stamp, m.

    outlines: (K, 2) float64 each, of the free ground: one standard deviation short of every
        blocker, and no further than the map reaches.
    blockers: the contact points of everything that stands on the ground.
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

        def classes_in(rows: np.ndarray) -> np.ndarray:
            index = np.clip(rows, 0, height - 1).astype(np.intp) * width + columns  # (n,)
            classes: np.ndarray = pixels.take(index)
            classes[hidden] = IGNORE_ID
            return classes

        # The row coordinate of edge e is e - 0.5; pixel centres are whole numbers.
        return classes_in(np.floor(edges - 0.5)), classes_in(np.ceil(edges - 0.5))


def deviation(ground: GroundProjection, cell: float) -> Tuple[np.ndarray, np.ndarray]:
    """Distances (n,) from the camera's foot, ascending, and their standard deviations (n,), m.

    Taken in the middle one of the columns that see ground; made to grow with the distance.
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

    All classes that lie on the ground count as ground, drivable or not; all others block.
    boundary: which pixels of the mask are trusted. config: that of the map.
    """

    def __init__(self, boundary: BoundaryConfig, class_map: ClassMap, config: MapConfig) -> None:
        names = ground_names(class_map)
        if not names:
            class_map = replace(class_map, drivable={_NO_GROUND: ()})
        every = replace(boundary, drivable=','.join(names) or _NO_GROUND)
        self._extractor = BoundaryExtractor(every, class_map)
        self._sky = tuple(c.train_id for c in class_map.classes if c.group == 'sky')
        self._config = config
        #: The projection and cell that `_deviation` was tabulated for.
        self._ground: Optional[GroundProjection] = None
        self._cell = 0.0
        self._deviation = (np.zeros(1), np.zeros(1))

    def observe(
        self,
        labels: np.ndarray,
        confidence: Optional[np.ndarray],
        ground: GroundProjection,
        cell: float = 1.0,
    ) -> GroundObservation:
        """What a label map (H, W) uint8, not turned, shows of the ground; keeps a copy of it.

        confidence: (H, W) uint8 or None. ground: of the mask's size. cell: see GroundView.
        """
        turn = ground.rays.turn
        labels = turn.turn(labels) if turn.quarters else labels.copy()
        confidence = turn.turn(confidence) if confidence is not None else None
        profile = self._extractor.profile(labels, confidence, ground.pixel_scale)
        ranges = ground.column_ranges(profile, self._sky)
        contacts = blocker_contacts(ground, profile, ranges, self._config.resolution)
        if self._ground is not ground or self._cell != cell:
            self._deviation = deviation(ground, cell)
            self._ground, self._cell = ground, cell
        from_foot = contacts.points - ground.foot  # (M, 2)
        distance = np.hypot(*from_foot.T)  # (M,)
        sigma = np.interp(distance, *self._deviation)  # (M,)
        rays = from_foot / np.maximum(distance, 1e-9)[:, None]  # (M, 2)
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
        """Profile in which each blocker stands one standard deviation nearer than measured."""
        strips = np.flatnonzero(
            (profile.rows != ROW_NONE) & ranges.blocked & np.isfinite(ranges.points[:, 0])
        )
        distance = np.hypot(*(ranges.points[strips] - ground.foot).T)  # (k,)
        sigma = np.interp(distance, *self._deviation)  # (k,)
        # The error is one of an angle, and the inverse of the distance is linear in the angle: 100
        # m with a sigma of 100 m becomes 50 m, not 0. safe = 1 / (1 / d + sigma / d^2).
        safe = np.square(distance) / np.maximum(distance + sigma, 1e-9)
        near = safe < self._config.farthest
        strips, safe = strips[near], np.maximum(safe[near], 1e-3)
        if not len(strips):
            return profile
        edges = ground.edges_within(safe, profile.columns[strips])
        rows = profile.rows.copy()
        rows[strips] = np.clip(edges - 1, rows[strips], profile.start)
        return replace(profile, rows=rows)
