# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Settings of the ground map: its extent, what its cells say, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Mapping, Sequence, Tuple

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.grid import GridConfig
from segformer_ros.drivable.profile import DrivableError

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
