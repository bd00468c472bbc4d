"""Contacts: where blockers stand on the ground, dense enough that a grid or scan has no holes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segformer_ros.drivable.ground import ColumnRanges
from segformer_ros.drivable.profile import ColumnProfile

_SAME_EDGE = 0.1  # neighbours closer than this share of their distance lie on one blocker's edge
_MAX_STEPS = 64  # points put between two neighbours at most


class Contacts(NamedTuple):
    """Ground points of blockers.

    points: (M, 2) float64 x, y in m. classes: (M,) uint8. strips: (M,) int, index of the profile's
    strip that shows each.
    """

    points: np.ndarray
    classes: np.ndarray
    strips: np.ndarray


def blocker_contacts(profile: ColumnProfile, ranges: ColumnRanges, step: float) -> Contacts:
    """Contacts of all columns that something blocks, at most `step` m apart along one edge.

    What blocks from the first visible row on stands at or before that row's ground point, and is
    put there. Where two neighbouring columns see different blockers nothing is put in between.
    """
    index = np.flatnonzero(np.isfinite(ranges.distance) & np.isfinite(ranges.points[:, 0]))
    points, classes = ranges.points[index], profile.classes[index]
    if len(index) < 2:
        return Contacts(points, classes, index)
    step_by = np.diff(points, axis=0)
    apart = np.sqrt(np.square(step_by).sum(axis=1))
    linked = (np.diff(index) == 1) & (apart < _SAME_EDGE * ranges.distance[index[1:]])
    wide = np.flatnonzero(linked & (apart > step))
    extra = np.minimum(np.ceil(apart[wide] / step), _MAX_STEPS).astype(np.intp) - 1
    start = np.repeat(wide, extra)
    place = np.arange(1, len(start) + 1) - np.repeat(np.cumsum(extra) - extra, extra)
    share = place / np.repeat(extra + 1, extra)
    between = points[start] + step_by[start] * share[:, None]
    return Contacts(
        np.concatenate([points, between]),
        np.concatenate([classes, classes[start]]),
        np.concatenate([index, index[start]]),
    )
