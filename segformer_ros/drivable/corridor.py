"""Corridor: how far the vehicle can go straight ahead."""

from __future__ import annotations

import math
from typing import NamedTuple, Tuple

import numpy as np

from segformer_ros.drivable.contacts import Contacts
from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.profile import CLASS_NONE, ColumnProfile

_STRIDE = 16  # strips


class Corridor(NamedTuple):
    """Free distance m along x before anything enters |y| <= width / 2, and what does.

    distance inf: nothing is seen to. 0: blocked before the first ground that the image shows, or
    the camera does not see the corridor at all. NaN: not calibrated. sigma: standard deviation of
    the distance, m, see FreeSpace; inf, 0 and NaN with it.
    """

    width: float
    distance: float
    sigma: float
    blocking_class: int


NO_CORRIDOR = Corridor(math.nan, math.nan, math.nan, CLASS_NONE)
"""Corridor of a camera that is not calibrated."""


def straight_corridor(
    width: float,
    ground: GroundProjection,
    profile: ColumnProfile,
    ranges: ColumnRanges,
    contacts: Contacts,
    cell: float = 1.0,
) -> Corridor:
    """Corridor of one frame, `width` m wide, centred on the vehicle's x axis.

    cell: rows that one cell of the mask spans; widens the sigma. The corridor ends at the first
    contact in it, and where a blocker beside it hides a part of it, which happens when the camera
    stands outside the corridor.
    """
    half = width / 2
    if not _sees_ahead(ground, ranges):
        return Corridor(width, 0.0, 0.0, CLASS_NONE)
    inside = (np.abs(contacts.points[:, 1]) <= half) & (contacts.points[:, 0] > 0)
    hidden_from, hidden_by = _shadows(half, ground, contacts)
    blind = np.flatnonzero(_blind(half, ranges))
    ends = np.concatenate([contacts.points[inside, 0], hidden_from, np.zeros(len(blind))])
    strips = np.concatenate([contacts.strips[inside], contacts.strips[hidden_by], blind])
    if len(ends) == 0:
        return Corridor(width, math.inf, math.inf, CLASS_NONE)
    first = int(ends.argmin())
    distance, strip = float(ends[first]), int(strips[first])
    sigma = float(ground.sigma(ranges, strips[first : first + 1], cell)[0]) if distance else 0.0
    return Corridor(width, distance, sigma, int(profile.classes[strip]))


def _shadows(
    half: float, ground: GroundProjection, contacts: Contacts
) -> Tuple[np.ndarray, np.ndarray]:
    """Where (x) the view over contacts beside the corridor enters it, and which contacts (int)."""
    away = contacts.points - ground.foot
    side = np.sign(contacts.points[:, 1])
    beside = (np.abs(contacts.points[:, 1]) > half) & (away[:, 1] * side < 0)
    points, away, side = contacts.points[beside], away[beside], side[beside]
    enters = points[:, 0] + away[:, 0] / away[:, 1] * (side * half - points[:, 1])
    ahead = enters > 0
    return enters[ahead], np.flatnonzero(beside)[ahead]


def _blind(half: float, ranges: ColumnRanges) -> np.ndarray:
    """Strips (M,) bool that are blocked from their first visible row on, within the corridor."""
    points = ranges.points
    with np.errstate(invalid='ignore'):
        blind: np.ndarray = (
            (ranges.distance == 0) & (np.abs(points[:, 1]) <= half) & (points[:, 0] > 0)
        )
    return blind


def _sees_ahead(ground: GroundProjection, ranges: ColumnRanges) -> bool:
    """Tell whether the view over the ground holds the direction straight ahead."""
    strips = np.flatnonzero(~np.isnan(ranges.distance))
    strips = np.append(strips[::_STRIDE], strips[-1:])
    directions = ground.directions(ranges.edges[strips], ranges.columns[strips])
    ahead = directions[directions[:, 0] > 0]
    return bool((ahead[:, 1] >= 0).any() and (ahead[:, 1] <= 0).any())
