# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ground points: where a mask's pixels lie on the ground, and where blockers touch it.

The pixels make up an organised point cloud. Contact points are dense enough that a grid or a scan
has no holes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.profile import (
    ROW_NONE,
    ColumnProfile,
    DrivableError,
    IdSet,
    first_blocked_rows,
    nearest_in_spans,
)

_GROUND_GROUP, _GROUND_NAMES = 'flat', ('terrain',)
_LIMIT_COLUMNS = 33  # columns in which the limit is solved for; it is smooth between them
_LEAST_ROWS = 4


@dataclass(frozen=True)
class PointsConfig:
    """Which pixels get a point.

    max_sigma: only those whose distance has at most this standard deviation, m.
    """

    max_sigma: float = 1.0

    def __post_init__(self) -> None:
        if not self.max_sigma > 0:
            raise DrivableError(f'points max_sigma={self.max_sigma} m: give metres above 0')


def ground_names(class_map: ClassMap) -> Tuple[str, ...]:
    """Names of the classes that lie on the ground: all drivable and flat ones, and terrain."""
    drivable = {name for group in class_map.drivable.values() for name in group}
    return tuple(
        entry.name
        for entry in class_map.classes
        if entry.group == _GROUND_GROUP or entry.name in _GROUND_NAMES or entry.name in drivable
    )


class GroundPoints:
    """Places the pixels of one camera's masks on the ground.

    A pixel of the ground lies where its ray meets the ground. The lowest pixel of a blocker in
    each column lies at its contact point, and so do a few above it (see `_rows`), for readers that
    take the most confident of several pixels in one place. Ground that is seen above or through a
    blocker has no point, nor has the vehicle's own hood.

    hood: share (0..1) of the image's height, at its bottom, that shows the vehicle itself.
    """

    def __init__(self, config: PointsConfig, class_map: ClassMap, hood: float = 0.0) -> None:
        self.config = config
        names = ground_names(class_map)
        self._ground_ids = IdSet(class_map.ids(*names)) if names else None
        self._classes = len(class_map)
        self._hood = hood
        #: The projection and cell that the table is for; the ground points of all pixels from row
        #: `_top` down; and the highest edge of each column whose distance is known well enough.
        self._table_for: Optional[Tuple[GroundProjection, float]] = None
        self._table = np.zeros((0, 0, 3), np.float32)
        self._top = 0
        self._limit = np.zeros(0, np.intp)

    def points(self, labels: np.ndarray, ground: GroundProjection, cell: float) -> np.ndarray:
        """Points (H, W, 3) float32 x, y, z of a mask's pixels, vehicle frame, m; NaN for none.

        labels: (H, W) uint8, not turned. ground: of the mask's size. cell: rows of the mask that
        one cell of the network's output spans.
        """
        turn = ground.rays.turn
        turned = turn.turn(labels)  # (h, w): the ground at the bottom
        made_for = self._table_for
        if made_for is None or made_for[0] is not ground or made_for[1] != cell:
            self._tabulate(ground, cell)
            self._table_for = ground, cell
        points = np.full((*turned.shape, 3), np.nan, np.float32)
        if self._ground_ids is not None:
            self._fill(points, turned, ground, self._rows(cell))
        if turn.quarters:
            points = np.ascontiguousarray(np.rot90(points, -turn.quarters))
        return points

    @staticmethod
    def _rows(cell: float) -> int:
        """Rows of a blocker placed at its contact: as many as its confidence takes to rise."""
        return max(_LEAST_ROWS, math.ceil(2 * cell))

    def _fill(
        self, points: np.ndarray, labels: np.ndarray, ground: GroundProjection, count: int
    ) -> None:
        assert self._ground_ids is not None
        height = len(labels)
        start = np.minimum(
            height - 1 - round(self._hood * height), ground.rays.lowest - 1
        )  # (w,) the row of each column at which the search starts; -1: nowhere
        blocked = first_blocked_rows(labels, self._ground_ids, np.maximum(start, 0))  # (w,)
        first = np.where(start < 0, height, np.maximum(blocked + 1, self._limit))  # (w,)
        rows = np.arange(self._top, height)[:, None]  # (h - top, 1)
        seen = (rows >= first) & (rows <= start)  # (h - top, w) bool: free ground
        np.copyto(points[self._top :], self._table, where=seen[..., None])
        # Then the blockers nearer than the limit, if they are of a known class.
        edge = blocked + 1
        near = (blocked != ROW_NONE) & (edge >= self._limit) & (start >= 0)
        columns = np.flatnonzero(near)  # (K,)
        columns = columns[labels[blocked[columns], columns] < self._classes]
        contacts = ground.points(edge[columns], columns).astype(np.float32)  # (K, 2)
        row = blocked[columns]
        for _ in range(count):
            points[row, columns, :2] = contacts
            points[row, columns, 2] = 0.0
            row = row - 1
            labels_here = labels[np.maximum(row, 0), columns]
            goes_on = (row >= 0) & self._ground_ids.excludes(labels_here)
            goes_on &= labels_here < self._classes
            row, columns, contacts = row[goes_on], columns[goes_on], contacts[goes_on]

    def _tabulate(self, ground: GroundProjection, cell: float) -> None:
        """Compute where each pixel's ray meets the ground, and up to which row that is known."""
        self._limit = self._highest_known(ground, cell)
        self._top = min(int(self._limit.min()), ground.rays.edges - 2)
        self._table = ground.table(self._top)

    def _highest_known(self, ground: GroundProjection, cell: float) -> np.ndarray:
        """Highest edge of each column whose distance is known to `max_sigma`: (w,) int.

        `rays.edges` where none is. The deviation grows towards the horizon: solved for by
        bisection in some columns, interpolated and rounded to the near side.
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


_SAME_EDGE = 0.1  # neighbours closer than this share of their distance belong to one blocker
_MAX_STEPS = 64  # steps between two neighbours at most


class Contacts(NamedTuple):
    """Contact points: where blockers touch the ground.

    points: (M, 2) float64 x, y in m. classes: (M,) uint8. strips: (M,) int, index of the profile's
    strip that shows each.
    """

    points: np.ndarray
    classes: np.ndarray
    strips: np.ndarray


def blocker_contacts(
    ground: GroundProjection, profile: ColumnProfile, ranges: ColumnRanges, step: float
) -> Contacts:
    """Contact points of all blocked strips, at most `step` m apart along one blocker.

    What blocks from the first visible row on stands at that row's ground point or nearer, and is
    put there. A blocker is as wide as its strip, so two blocked neighbours leave no gap between
    them; but points are interpolated between them only if they see the same blocker.
    """
    strips = np.flatnonzero(ranges.blocked & np.isfinite(ranges.points[:, 0]))  # (K,)
    points, distance = ranges.points[strips], ranges.distance[strips]  # (K, 2), (K,)
    way = np.diff(points, axis=0)  # (K - 1, 2) from each point to the next
    apart = np.sqrt(np.square(way).sum(axis=1))  # (K - 1,)
    linked = (np.diff(strips) == 1) & (apart < _SAME_EDGE * distance[1:])
    gaps = np.flatnonzero(linked & (apart > step))
    between, whose = _steps(points[gaps], way[gaps], apart[gaps], step)
    contacts, shown_by = [points, between], [strips, strips[gaps][whose]]
    # In small masks, and far away, a single strip is wider than a step: add points out to both of
    # its borders, halfway to its neighbours.
    spread = profile.width / len(profile.columns) / ground.rays.focal_across  # rad
    foot = math.hypot(*ground.foot)
    wide = np.flatnonzero((distance + foot) * spread > step)
    if len(wide) > 0:
        side = np.concatenate(sides(ground, ranges, strips[wide]))  # (2 n, 2) left, then right
        known = np.flatnonzero(np.isfinite(side[:, 0]))
        start = np.tile(wide, 2)[known]
        way = (side[known] - points[start]) / 2
        length = np.sqrt(np.square(way).sum(axis=1))
        between, whose = _steps(points[start], way, length, step)
        contacts.append(between)
        shown_by.append(strips[start][whose])
    strip = np.concatenate(shown_by)  # (M,)
    return Contacts(np.concatenate(contacts), profile.classes[strip], strip)


def sides(
    ground: GroundProjection, ranges: ColumnRanges, strips: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Ground points (n, 2) one strip to the left of strips (n,), and one to the right.

    At the strip's own edge (row). NaN where that is above the horizon. The outermost strips are
    taken to be as wide outwards as inwards.
    """
    last = len(ranges.columns) - 1
    edges, here = ranges.edges[strips], ranges.points[strips]
    left = ground.points(edges, ranges.columns[np.maximum(strips - 1, 0)])
    right = ground.points(edges, ranges.columns[np.minimum(strips + 1, last)])
    first_ones, last_ones = strips == 0, strips == last
    left[first_ones] = 2 * here[first_ones] - right[first_ones]
    right[last_ones] = 2 * here[last_ones] - left[last_ones]
    return left, right


def _steps(
    start: np.ndarray, way: np.ndarray, length: np.ndarray, step: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) between start (K, 2) and start + way (K, 2), at most `step` m apart.

    length: (K,) of the ways, m. Also which of the K ways each point is on, (n,) int.
    """
    extra = np.minimum(np.ceil(length / step), _MAX_STEPS).astype(np.intp) - 1
    extra = np.maximum(extra, 0)
    # Way k gets extra[k] points: for each its way, and 1, 2, ... along that, (n,) each.
    whose = np.repeat(np.arange(len(extra)), extra)
    place = np.arange(1, len(whose) + 1) - np.repeat(np.cumsum(extra) - extra, extra)
    share = place / np.repeat(extra + 1, extra)
    return start[whose] + way[whose] * share[:, None], whose


def close_gaps(
    profile: ColumnProfile,
    ranges: ColumnRanges,
    ground: GroundProjection,
    min_gap: float,
    columns: int,
) -> ColumnProfile:
    """Profile in which no strip is free beyond a gap narrower than `min_gap` m.

    Strips between two blockers that stand closer together than that end at the farther of the
    two, with its class. Only the nearest point of each of `columns` spans is considered.
    """
    points = ranges.points - ground.foot  # (M, 2)
    known = ranges.blocked & np.isfinite(points[:, 0])  # (M,) bool
    distance = np.where(
        known, np.sqrt(np.square(points).sum(axis=1)), np.inf
    )  # (M,) from the foot
    nearest = nearest_in_spans(distance, columns)  # (N,)
    limits, donors = _limits(ranges.points[nearest], distance[nearest], min_gap)
    # The span whose nearest strip is closest to each strip, (M,).
    span = np.searchsorted((nearest[1:] + nearest[:-1]) / 2, np.arange(len(profile.rows)))
    closed = distance > limits[span]  # (M,) bool
    if not closed.any():
        return profile
    index = np.flatnonzero(closed)
    edges = ground.edges_within(limits[span[index]], profile.columns[index])
    rows, classes = profile.rows.copy(), profile.classes.copy()
    rows[index] = np.maximum(rows[index], np.minimum(edges - 1, profile.start))
    classes[index] = profile.classes[nearest][donors[span[index]]]
    return replace(profile, rows=rows, classes=classes)


def _limits(
    points: np.ndarray, distance: np.ndarray, min_gap: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Distance (N,) to which gaps limit the spans of N points (inf: no gap), and by which point.

    points: (N, 2) from left to right; distance: (N,) from the camera's foot, inf: no blocker.
    """
    count = len(points)
    finite = np.where(np.isfinite(distance)[:, None], points, np.nan)
    x, y = finite.T  # (N,) each
    narrow = np.square(x[:, None] - x) + np.square(y[:, None] - y) < min_gap**2  # (N, N)
    farther = np.maximum(distance[:, None], distance[None])  # (N, N)
    # mouths[i, j], i < j - 1: the gap between i and j ends what is between them at this distance.
    mouths = np.where(np.triu(narrow, 2), farther, np.inf)  # (N, N)
    # best[i, j]: the least over all gaps from i or further left to j or further right, by running
    # minima along both axes. Span c lies inside just the gaps of best[c - 1, c + 1].
    from_left = np.minimum.accumulate(mouths, axis=0)
    best = np.minimum.accumulate(from_left[:, ::-1], axis=1)[:, ::-1]
    limits = np.full(count, np.inf)
    limits[1:-1] = best[np.arange(count - 2), np.arange(2, count)]
    # A limit is the distance of one of the points: find that point by its value.
    order = np.argsort(distance)
    donors = order[np.clip(np.searchsorted(distance[order], limits), 0, count - 1)]
    return limits, donors
