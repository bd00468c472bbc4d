"""Gaps: free passages between two blockers that are too narrow to count."""

from __future__ import annotations

from dataclasses import replace
from typing import Tuple

import numpy as np

from segformer_ros.drivable.ground import ColumnRanges, GroundProjection
from segformer_ros.drivable.profile import ColumnProfile
from segformer_ros.drivable.spans import nearest_in_spans


def close_gaps(
    profile: ColumnProfile,
    ranges: ColumnRanges,
    ground: GroundProjection,
    min_gap: float,
    columns: int,
) -> ColumnProfile:
    """Profile in which no column is free beyond a gap narrower than `min_gap` m.

    A column between two blockers that stand closer together than that ends at the farther of
    the two, with its class. Gaps are looked for between the nearest points of `columns` spans.
    """
    points = ranges.points - ground.foot
    distance = np.where(np.isfinite(ranges.distance), np.hypot(points[:, 0], points[:, 1]), np.inf)
    nearest = nearest_in_spans(distance, columns)
    limits, donors = _limits(ranges.points[nearest], distance[nearest], min_gap)
    span = np.searchsorted((nearest[1:] + nearest[:-1]) / 2, np.arange(len(profile.rows)))
    closed = distance > limits[span]
    if not closed.any():
        return profile
    index = np.flatnonzero(closed)
    edges = ground.edges_within(limits[span[index]], profile.columns[index])
    rows, classes = profile.rows.copy(), profile.classes.copy()
    rows[index] = np.clip(edges - 1, 0, profile.starts[index])
    classes[index] = profile.classes[nearest][donors[span[index]]]
    return replace(profile, rows=rows, classes=classes)


def _limits(
    points: np.ndarray, distance: np.ndarray, min_gap: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Distance that each of N points' columns is limited to (inf: none), and by which point."""
    count = len(points)
    finite = np.where(np.isfinite(distance)[:, None], points, np.nan)
    x, y = finite.T
    narrow = np.square(x[:, None] - x) + np.square(y[:, None] - y) < min_gap**2
    farther = np.maximum(distance[:, None], distance[None])
    mouths = np.where(np.triu(narrow, 2), farther, np.inf)  # of pairs i < c < j
    from_left = np.minimum.accumulate(mouths, axis=0)
    best = np.minimum.accumulate(from_left[:, ::-1], axis=1)[:, ::-1]
    limits = np.full(count, np.inf)
    limits[1:-1] = best[np.arange(count - 2), np.arange(2, count)]
    order = np.argsort(distance)
    donors = order[np.clip(np.searchsorted(distance[order], limits), 0, count - 1)]
    return limits, donors
