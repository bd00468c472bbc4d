# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Maps against the world: how much of the ground they know, and how much of that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, NamedTuple

import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable import GridNumbers, GroundMap, PlanarPose
from segformer_ros.drivable.ground_points import ground_names
from segformer_ros.metrics.metric import Metric, ratio

RADIUS = 10.0
"""Metres around the vehicle within which cells are counted."""
EVERY = 10
"""Of so many frames of a recording the last one's map is counted: neighbours are alike."""


class MapCounts(NamedTuple):
    """Cells within RADIUS of the vehicle, and the maps that they are of."""

    maps: int
    open_ground: int
    known: int
    free: int
    false: int
    on_things: int


@dataclass(frozen=True)
class MapScores:
    """Shares of cells.

    known: of the ground on which nothing stands, what the map has a value for. false_free: of the
    cells that it calls ground, those where something stands, or road where none is;
    false_on_things: those of them where something stands. cells: that it calls ground. maps: how
    many were counted.
    """

    known: float
    false_free: float
    false_on_things: float
    cells: int
    maps: int


class MapTruth(Metric[MapScores]):
    """Counts of MapCounts, over maps of drives whose world is known.

    class_map: of the maps and of the world.
    """

    def __init__(self, class_map: ClassMap) -> None:
        super().__init__((len(MapCounts._fields),))
        self._ground = list(class_map.ids(*ground_names(class_map)))

    def update(
        self,
        ground_map: GroundMap,
        numbers: GridNumbers,
        place: PlanarPose,
        ground: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        """Count a map. place: of the vehicle in its frame. ground: see Truth.ground."""
        height, width = numbers.cells.shape
        iy, ix = np.divmod(np.arange(height * width), width)
        corner = np.array([numbers.origin_x, numbers.origin_y])
        middle = corner + (np.stack([ix, iy], axis=1) + 0.5) * numbers.resolution
        near = np.hypot(*(middle - (place.x, place.y)).T) < RADIUS
        cells, true = numbers.cells.ravel()[near], ground(place.undo(middle[near]))
        told = true.any(axis=1)
        cells, true = cells[told], true[told]
        standing = (true.sum(axis=1) > 1) | ~true[:, self._ground].any(axis=1)
        free = (cells >= 0) & (cells < 100)
        driven = ground_map.driven
        as_driven = np.isin(cells, [ground_map.cost_of(int(each)) for each in driven])
        wrong = free & (standing | (as_driven & ~true[:, driven].any(axis=1)))
        chosen = (~standing, ~standing & (cells >= 0), free, wrong, free & standing)
        self.counts += np.array([1, *map(np.count_nonzero, chosen)])

    def compute(self) -> MapScores:
        """Scores of all maps counted so far."""
        counts = MapCounts(*self.counts.tolist())
        return MapScores(
            known=ratio(counts.known, counts.open_ground),
            false_free=ratio(counts.false, counts.free),
            false_on_things=ratio(counts.on_things, counts.free),
            cells=counts.free,
            maps=counts.maps,
        )
