# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ground points: the place on the ground of every pixel of a mask, as an organised point cloud."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.ground import GroundProjection
from segformer_ros.drivable.profile import ROW_NONE, DrivableError, IdSet, first_blocked_rows

_GROUND_GROUP, _GROUND_NAMES = 'flat', ('terrain',)
_LIMIT_COLUMNS = 33  # columns in which the limit is looked for; between them it is a smooth curve
_LEAST_ROWS = 4


@dataclass(frozen=True)
class PointsConfig:
    """Which pixels are given a point.

    max_sigma: none has a point where the standard deviation of its distance is larger, m.
    """

    max_sigma: float = 1.0

    def __post_init__(self) -> None:
        if not self.max_sigma > 0:
            raise DrivableError(f'points max_sigma={self.max_sigma} m: give metres above 0')


def ground_names(class_map: ClassMap) -> Tuple[str, ...]:
    """Names of the classes that lie on the ground: what can be driven on, all flat, terrain."""
    drivable = {name for group in class_map.drivable.values() for name in group}
    return tuple(
        entry.name
        for entry in class_map.classes
        if entry.group == _GROUND_GROUP or entry.name in _GROUND_NAMES or entry.name in drivable
    )


class GroundPoints:
    """Places the pixels of one camera's masks on the ground.

    A pixel of the ground lies where its ray meets the ground. Of what stands on it, the lowest
    pixel of each column lies at its contact, and so do a few above it (`rows`), for readers that
    take the most confident of the pixels that share a place. Nothing is known of what is behind:
    ground that is seen above or through something has no point, nor has the vehicle's own hood.

    hood: share (0..1) of the image's height, at its bottom, that shows the vehicle itself.
    """

    def __init__(self, config: PointsConfig, class_map: ClassMap, hood: float = 0.0) -> None:
        self.config = config
        names = ground_names(class_map)
        self._ground_ids = IdSet(class_map.ids(*names)) if names else None
        self._classes = len(class_map)
        self._hood = hood
        self._of: Optional[Tuple[GroundProjection, float]] = None
        self._table = np.zeros((0, 0, 3), np.float32)
        self._top = 0
        self._limit = np.zeros(0, np.intp)

    def points(self, labels: np.ndarray, ground: GroundProjection, cell: float) -> np.ndarray:
        """Points (H, W, 3) float32 x, y, z of a mask's pixels, vehicle frame, m; NaN for none.

        labels: (H, W) uint8, as it came. ground: of the mask's size. cell: rows of the mask that
        one cell of the network's output spans.
        """
        turn = ground.rays.turn
        turned = turn.turn(labels)  # (h, w): the ground at the bottom
        if self._of is None or self._of[0] is not ground or self._of[1] != cell:
            self._tabulate(ground, cell)
            self._of = ground, cell
        points = np.full((*turned.shape, 3), np.nan, np.float32)
        if self._ground_ids is not None:
            self._fill(points, turned, ground, self._rows(cell))
        if turn.quarters:
            points = np.ascontiguousarray(np.rot90(points, -turn.quarters))
        return points

    @staticmethod
    def _rows(cell: float) -> int:
        """Rows of a blocker that lie at its contact: so many as its confidence takes to rise."""
        return max(_LEAST_ROWS, math.ceil(2 * cell))

    def _fill(
        self, points: np.ndarray, labels: np.ndarray, ground: GroundProjection, count: int
    ) -> None:
        assert self._ground_ids is not None
        height = len(labels)
        start = np.minimum(
            height - 1 - round(self._hood * height), ground.rays.lowest - 1
        )  # (w,) lowest row of each column that is looked at; -1 where none is
        blocked = first_blocked_rows(labels, self._ground_ids, np.maximum(start, 0))  # (w,)
        first = np.where(start < 0, height, np.maximum(blocked + 1, self._limit))
        rows = np.arange(self._top, height)[:, None]
        seen = (rows >= first) & (rows <= start)  # (h - top, w)
        np.copyto(points[self._top :], self._table, where=seen[..., None])
        # What stands nearer than the limit, and is something.
        edge = blocked + 1
        found = (blocked != ROW_NONE) & (edge >= self._limit) & (start >= 0)
        columns = np.flatnonzero(found)
        columns = columns[labels[blocked[columns], columns] < self._classes]
        contacts = ground.points(edge[columns], columns).astype(np.float32)  # (K, 2)
        row = blocked[columns]
        for _ in range(count):
            points[row, columns, :2] = contacts
            points[row, columns, 2] = 0.0
            row = row - 1
            labels_here = labels[np.maximum(row, 0), columns]
            on = (row >= 0) & self._ground_ids.excludes(labels_here)
            on &= labels_here < self._classes
            row, columns, contacts = row[on], columns[on], contacts[on]

    def _tabulate(self, ground: GroundProjection, cell: float) -> None:
        """Work out where each pixel's ray meets the ground, and up to which row that is known."""
        self._limit = self._highest_known(ground, cell)
        self._top = min(int(self._limit.min()), ground.rays.edges - 2)
        self._table = ground.table(self._top)

    def _highest_known(self, ground: GroundProjection, cell: float) -> np.ndarray:
        """Highest row of each column whose distance is known to `max_sigma`: (w,) int.

        `edges` where none is. The deviation grows up to the horizon: found by halving in some
        columns, and joined on the near side.
        """
        rays = ground.rays
        columns = np.unique(np.linspace(0, rays.width - 1, _LIMIT_COLUMNS).round().astype(np.intp))
        horizon = ground.reach(math.inf)[columns]
        low, high = horizon - 1, np.maximum(rays.lowest[columns], horizon)  # known from `high` on
        for _ in range(rays.edges.bit_length() + 1):
            middle = np.clip((low + high) // 2, 0, rays.edges - 1)
            known = ground.sigma_at(middle, columns, cell) <= self.config.max_sigma  # NaN: not
            low, high = np.where(known, low, middle), np.where(known, middle, high)
        unknown = ~(
            ground.sigma_at(np.minimum(high, rays.edges - 1), columns, cell)
            <= self.config.max_sigma
        )
        high = np.where(unknown, rays.edges, high)
        limit: np.ndarray = np.ceil(np.interp(np.arange(rays.width), columns, high))
        return limit.astype(np.intp)
