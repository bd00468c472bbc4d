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

_LINES = (0.0, -0.5, 0.5)  # where the corridor is looked along, in shares of its width to the side
_NEAREST = 0.1  # m, first place that is looked at
_FARTHEST = 300.0  # m, last place, or more for a camera high above the ground
_HEIGHTS = 200.0
_STEP = 1.08  # from one place to the next


class Corridor(NamedTuple):
    """Free distance m along x before anything enters |y| <= width / 2, and what does.

    distance inf: nothing is seen to, up to the horizon. 0: blocked before the first ground that
    the image shows, or the camera does not see the corridor at all. NaN: not calibrated. Where the
    image ends before the horizon, the distance is that of the last ground in it, the class none.
    sigma: standard deviation of the distance, m, see FreeSpace; inf, 0 and NaN with it.
    """

    width: float
    distance: float
    sigma: float
    blocking_class: int


NO_CORRIDOR = Corridor(math.nan, math.nan, math.nan, CLASS_NONE)
"""Corridor of a camera that is not calibrated."""


class CorridorView:
    """A corridor of `width` m, centred on the vehicle's x axis, as one camera sees it.

    It ends at the first contact in it, and where a blocker beside it hides a part of it, which
    happens when the camera stands outside the corridor. That no contact is known in it does not
    make it free: along three lines it must be seen free in the mask, too.
    """

    def __init__(self, width: float, ground: GroundProjection) -> None:
        self._width = width
        self._ground = ground
        x, places = _places(width, max(_FARTHEST, _HEIGHTS * ground.pose.height))
        edges, columns = ground.edges_of(places)  # (lines * P,) each
        seen = np.flatnonzero(np.isfinite(edges))
        count = len(x)
        #: Of the S places in the image: whether the one before it is there, too, x, whether on the
        #: middle line, edge and column.
        self._follows = np.diff(seen, prepend=-2) == 1
        self._follows[np.flatnonzero(seen % count == 0)] = False
        self._x = places[seen, 0]
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
        """Where the middle line leaves the image, m; inf where that is at the horizon.

        shown: (n,) int, ascending, the places on it that the image shows; x: (P,) of all places.
        """
        if len(shown) == 0:
            return 0.0
        gaps = np.flatnonzero(np.diff(shown) > 1)
        last = int(shown[gaps[0]] if len(gaps) else shown[-1])
        if last == len(x) - 1:
            return math.inf
        away = math.hypot(x[last] - self._ground.foot[0], self._ground.foot[1])
        sink = math.atan2(self._ground.pose.height, away)
        at_horizon = sink < self._ground.horizon_margin and self._ground.is_above(x[last + 1], 0.0)
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
            # Contacts say the same as the mask, and more exactly, where there are any.
            if free == 0 or first < 0 or ends[first] > self._x[unseen]:
                return free, int(self._strips[unseen])
        return (float(ends[first]), int(strips[first])) if first >= 0 else None

    def _not_free(
        self, profile: ColumnProfile, ranges: ColumnRanges, visible: np.ndarray
    ) -> Optional[int]:
        """Index of the nearest place that the mask does not show free; None where all are."""
        if len(self._strips) == 0:
            self._strips = profile.strips_of(self._columns)  # (S,)
        # Edge (M,) above which a strip is not free: at the horizon where nothing ends the view.
        limits = np.where(np.isinf(ranges.distance), 0.0, ranges.edges)
        limits[(ranges.distance == 0) | np.isnan(ranges.distance)] = np.inf
        taken = np.flatnonzero(visible & (self._edges < limits[self._strips]))
        return int(taken[self._x[taken].argmin()]) if len(taken) else None

    def _free_before(self, index: int, ranges: ColumnRanges, visible: np.ndarray) -> float:
        """Up to where (x) the corridor is free before a place, if the place before it is seen."""
        known = ranges.distance[self._strips[index]] > 0
        known &= self._follows[index] and visible[index - 1]
        return float(self._x[index]) / _STEP if known else 0.0


@lru_cache(maxsize=16)
def _places(width: float, farthest: float) -> Tuple[np.ndarray, np.ndarray]:
    """Where a corridor is looked at: x (P,) m, and points (lines * P, 3) on the ground."""
    count = math.ceil(math.log(farthest / _NEAREST, _STEP)) + 1
    x = _NEAREST * _STEP ** np.arange(count)
    places = np.zeros((len(_LINES), count, 3))
    places[..., 0] = x
    places[..., 1] = np.array(_LINES)[:, None] * (width / 2)
    return x, places.reshape(-1, 3)


def _shadows(
    half: float, ground: GroundProjection, contacts: Contacts
) -> Tuple[np.ndarray, np.ndarray]:
    """Where (x) the view over contacts beside the corridor enters it, and which contacts (int)."""
    away = contacts.points - ground.foot  # (M, 2)
    side = np.sign(contacts.points[:, 1])
    beside = (np.abs(contacts.points[:, 1]) > half) & (away[:, 1] * side < 0)
    points, away, side = contacts.points[beside], away[beside], side[beside]
    enters = points[:, 0] + away[:, 0] / away[:, 1] * (side * half - points[:, 1])
    ahead = enters > 0
    return enters[ahead], np.flatnonzero(beside)[ahead]


def _blind(half: float, ranges: ColumnRanges) -> np.ndarray:
    """Strips (M,) bool that are blocked from their first visible row on, within the corridor."""
    x, y = ranges.points.T
    blind: np.ndarray = (ranges.distance == 0) & (np.abs(y) <= half) & (x > 0)
    return blind
