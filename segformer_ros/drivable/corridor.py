# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Corridor: how far the vehicle can go straight ahead."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.ground_points import Contacts
from segformer_ros.drivable.profile import CLASS_NONE, ColumnProfile

_LINES = (0.0, -0.5, 0.5)  # lateral offsets of the sampled lines, in widths; the middle first
_NEAREST = 0.1  # m, the first sample
_FARTHEST = 300.0  # m, the last sample; or, if that is more,
_HEIGHTS = 200.0  # this many heights of the camera
_STEP = 1.08  # ratio of one sample's x to the one before


class Corridor(NamedTuple):
    """Free distance m along x before anything enters |y| <= width / 2, and what does.

    distance inf: free up to the horizon. 0: blocked before the first ground that the image shows,
    or the camera does not see the corridor at all. NaN: not calibrated. Where the image ends
    before the horizon, the distance is that of the last ground in it, the class CLASS_NONE.
    sigma: standard deviation of the distance, m, see FreeSpace; inf, 0 or NaN where that is.
    """

    width: float
    distance: float
    sigma: float
    blocking_class: int


NO_CORRIDOR = Corridor(math.nan, math.nan, math.nan, CLASS_NONE)
"""Corridor of a camera that is not calibrated."""


class CorridorView:
    """A corridor of `width` m, centred on the vehicle's x axis, as one camera sees it.

    It ends at the first contact point inside, or where a blocker beside it begins to hide it (as
    may happen when the camera is outside the corridor). No contact point inside is not enough:
    along three lines the mask must show free ground, too.
    """

    def __init__(self, width: float, ground: GroundProjection) -> None:
        self._width = width
        self._ground = ground
        x, samples = _samples(width, max(_FARTHEST, _HEIGHTS * ground.pose.height))
        edges, columns = ground.edges_of(samples)  # (lines * P,) each
        seen = np.flatnonzero(np.isfinite(edges))  # (S,)
        count = len(x)
        #: Of the S samples in the image, (S,) each: whether the next nearer one on its line is in
        #: the image, too; x, m; whether on the middle line; edge and column.
        self._follows = np.diff(seen, prepend=-2) == 1
        self._follows[np.flatnonzero(seen % count == 0)] = False
        self._x = samples[seen, 0]
        self._middle = seen < count
        self._edges, self._columns = edges[seen], columns[seen]
        self._open_end = self._view_end(seen[self._middle], x)
        self._strips: np.ndarray = np.zeros(0, np.intp)

    def corridor(
        self, profile: ColumnProfile, ranges: ColumnRanges, contacts: Contacts, cell: float = 1.0
    ) -> Corridor:
        """Corridor of one frame. cell: rows that one cell of the mask spans; widens the sigma."""
        visible = self._edges <= profile.start + 1  # (S,), not below the hood
        if not visible[self._middle].any():
            return Corridor(self._width, 0.0, 0.0, CLASS_NONE)
        end = self._blocked(profile, ranges, contacts, visible)
        if end is not None and end[0] <= self._open_end:
            distance, strip = end
            sigma = self._ground.sigma(ranges, np.array([strip]), cell)[0] if distance else 0.0
            return Corridor(self._width, distance, float(sigma), int(profile.classes[strip]))
        if math.isinf(self._open_end):
            return Corridor(self._width, math.inf, math.inf, CLASS_NONE)
        last = np.flatnonzero(self._middle & (self._x == self._open_end))
        edge = np.ceil(self._edges[last]).astype(np.intp)
        sigma = self._ground.sigma_at(edge, self._columns[last], cell)[0]
        return Corridor(self._width, self._open_end, float(np.nan_to_num(sigma)), CLASS_NONE)

    def _view_end(self, shown: np.ndarray, x: np.ndarray) -> float:
        """Where the middle line leaves the image, m; inf if that is at the horizon.

        shown: (n,) int, ascending, the samples on it that the image shows; x: (P,) of all samples.
        """
        if len(shown) == 0:
            return 0.0
        gaps = np.flatnonzero(np.diff(shown) > 1)
        last = int(shown[gaps[0]] if len(gaps) else shown[-1])
        if last == len(x) - 1:
            return math.inf
        distance = math.hypot(x[last] - self._ground.foot[0], self._ground.foot[1])
        dip = math.atan2(self._ground.pose.height, distance)  # below the horizon, rad
        at_horizon = dip < self._ground.horizon_margin and self._ground.is_above(x[last + 1], 0.0)
        return math.inf if at_horizon else float(x[last])

    def _blocked(
        self,
        profile: ColumnProfile,
        ranges: ColumnRanges,
        contacts: Contacts,
        visible: np.ndarray,
    ) -> Optional[Tuple[float, int]]:
        """Where the first blocker ends the corridor, m, and its strip; None where none does."""
        half = self._width / 2
        inside = (np.abs(contacts.points[:, 1]) <= half) & (contacts.points[:, 0] > 0)
        hidden_from, hidden_by = _shadows(half, self._ground, contacts)
        blind = np.flatnonzero(_blind(half, ranges))
        ends = np.concatenate([contacts.points[inside, 0], hidden_from, np.zeros(len(blind))])
        strips = np.concatenate([contacts.strips[inside], contacts.strips[hidden_by], blind])
        first = int(ends.argmin()) if len(ends) else -1
        unseen = self._not_free(profile, ranges, visible)
        if unseen is not None:
            free = self._free_before(unseen, ranges, visible)
            # Contact points, where there are any, say the same as the mask, more precisely.
            if free == 0 or first < 0 or ends[first] > self._x[unseen]:
                return free, int(self._strips[unseen])
        return (float(ends[first]), int(strips[first])) if first >= 0 else None

    def _not_free(
        self, profile: ColumnProfile, ranges: ColumnRanges, visible: np.ndarray
    ) -> Optional[int]:
        """Index of the nearest sample that the mask does not show free; None where all are."""
        if len(self._strips) == 0:
            self._strips = profile.strips_of(self._columns)  # (S,)
        # Edge above which a strip is not free, (M,): none (0) where it is free to the horizon, all
        # (inf) where it is blocked from the start on or shows no ground.
        limits = np.where(np.isinf(ranges.distance), 0.0, ranges.edges)
        limits[(ranges.distance == 0) | np.isnan(ranges.distance)] = np.inf
        not_free = np.flatnonzero(visible & (self._edges < limits[self._strips]))
        return int(not_free[self._x[not_free].argmin()]) if len(not_free) else None

    def _free_before(self, index: int, ranges: ColumnRanges, visible: np.ndarray) -> float:
        """X of the sample before a blocked one, m; 0 unless that is known to be free."""
        known = ranges.distance[self._strips[index]] > 0
        known &= self._follows[index] and visible[index - 1]
        return float(self._x[index]) / _STEP if known else 0.0


@lru_cache(maxsize=16)
def _samples(width: float, farthest: float) -> Tuple[np.ndarray, np.ndarray]:
    """Samples along a corridor: x (P,) m, and points (lines * P, 3) on the ground, m."""
    count = math.ceil(math.log(farthest / _NEAREST, _STEP)) + 1
    x = _NEAREST * _STEP ** np.arange(count)
    samples = np.zeros((len(_LINES), count, 3))
    samples[..., 0] = x
    samples[..., 1] = np.array(_LINES)[:, None] * (width / 2)
    return x, samples.reshape(-1, 3)


def _shadows(
    half: float, ground: GroundProjection, contacts: Contacts
) -> Tuple[np.ndarray, np.ndarray]:
    """Where blockers beside the corridor begin to hide it: x (n,) m, and which contacts (n,) int.

    Behind a contact point the ray from the camera is hidden. If it leads towards the corridor, it
    enters that at |y| = half.
    """
    ray = contacts.points - ground.foot  # (M, 2) from the camera's foot
    side = np.sign(contacts.points[:, 1])  # (M,) +1 left, -1 right
    outside = (np.abs(contacts.points[:, 1]) > half) & (ray[:, 1] * side < 0)  # (M,) bool
    points, ray, side = contacts.points[outside], ray[outside], side[outside]
    enters = points[:, 0] + ray[:, 0] / ray[:, 1] * (side * half - points[:, 1])
    ahead = enters > 0
    return enters[ahead], np.flatnonzero(outside)[ahead]


def _blind(half: float, ranges: ColumnRanges) -> np.ndarray:
    """Strips (M,) bool that are blocked from their first visible row on, within the corridor."""
    x, y = ranges.points.T
    blind: np.ndarray = (ranges.distance == 0) & (np.abs(y) <= half) & (x > 0)
    return blind
