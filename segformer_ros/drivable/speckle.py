"""Specks: islands in the road, too small to stop a vehicle, that a mask has by mistake."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.drivable.profile import IdSet, first_blocked_rows

_MAX_PASSES = 3  # specks behind specks that are looked through
_MAX_SPECKS = 24  # looked at in a frame; more are no specks but a mask that is not to be trusted
_PROBES = np.arange(1, 9)
_MAX_REACH = 63  # pixels; wider islands are real at any distance

PixelScale = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pixels that one metre spans at ground seen at rows (n,) and columns (n,): (n,) float."""


class SpeckRule(NamedTuple):
    """What counts as a speck: an 8-connected island of blocked pixels that meets either rule.

    size: it is narrower and lower than this at its place on the ground, m. Needs a pixel scale.
    area: it has fewer pixels than this, and none is of the classes `kept`.
    """

    size: float
    area: int
    kept: Tuple[int, ...]


def look_past_specks(
    labels: np.ndarray,
    rows: np.ndarray,
    free: IdSet,
    rule: SpeckRule,
    scale: Optional[PixelScale],
    scratch: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Move the boundary of columns that only a speck stops to what stops them behind it.

    labels: (H, W) uint8; rows: (W,) int32, see ColumnProfile. scratch: as labels, or labels
    itself; it is written to (a fresh copy of a large image takes longer than all else here).
    Returns (labels, rows) with the specks painted as free ground, in `scratch`; both are the
    inputs themselves where there is no speck.
    """
    size = rule.size if scale is not None else 0.0
    if size == 0 and rule.area <= 1:
        return labels, rows
    painted, moved, budget = labels, rows, _MAX_SPECKS
    changed: np.ndarray = np.ones(len(rows), bool)
    for _ in range(_MAX_PASSES):
        columns = _narrow_peaks(moved)
        columns = columns[changed[columns]]
        changed = np.zeros(len(rows), bool)
        extents = (
            np.zeros(len(columns)) if scale is None else size * scale(moved[columns], columns)
        )
        candidates = _candidates(painted, moved, free, columns, extents, rule.area)[:budget]
        budget -= len(candidates)
        for column, extent in candidates:
            island = _island(painted, free, int(moved[column]), column, extent, rule)
            if island is None:
                continue
            if painted is not scratch:
                np.copyto(scratch, labels)
                painted = scratch
            window, pixels = island
            painted[window][pixels] = free.ids[0]
            changed[window[1]] |= pixels.any(axis=0)
        if not changed.any():
            break
        # Below the boundary so far all is free.
        below = moved[changed]
        moved = moved.copy()
        moved[changed] = first_blocked_rows(painted[: below.max() + 1, changed], free, below)
    return painted, moved


def _narrow_peaks(rows: np.ndarray) -> np.ndarray:
    """Columns where something narrow stands before what its neighbours see."""
    opened = cv2.morphologyEx(
        rows[None].astype(np.float32),
        cv2.MORPH_OPEN,
        np.ones((1, _MAX_REACH), np.uint8),
        borderType=cv2.BORDER_REPLICATE,
    )
    return np.flatnonzero(rows > opened[0])


def _candidates(
    labels: np.ndarray,
    rows: np.ndarray,
    free: IdSet,
    columns: np.ndarray,
    extents: np.ndarray,
    area: int,
) -> List[Tuple[int, float]]:
    """One column of each island that may be a speck, with the extent allowed there, pixels."""
    reach = np.minimum(np.maximum(extents, area), _MAX_REACH).astype(np.intp)
    columns, extents, reach = (each[reach > 1] for each in (columns, extents, reach))
    if len(columns) == 0:
        return []
    # Most peaks are poles and legs: blocked wherever one looks within a speck's reach above.
    above = np.maximum(rows[columns] - _PROBES[:, None] * reach // _PROBES[-1], 0)
    width = labels.shape[1]
    low = ~free.excludes(labels.ravel().take(above * width + columns)).all(axis=0)
    columns, extents = columns[low], extents[low]
    # A peak that changes its row in between may be two islands side by side.
    new = (np.diff(columns) > 1) | (np.abs(np.diff(rows[columns])) > 1)
    first = np.flatnonzero(np.append(True, new)[: len(columns)])
    return list(zip(columns[first].tolist(), extents[first].tolist()))


def _island(
    labels: np.ndarray, free: IdSet, row: int, column: int, extent: float, rule: SpeckRule
) -> Optional[Tuple[Tuple[slice, slice], np.ndarray]]:
    """Window and pixels (bool) of the island at a pixel, or None where it is no speck.

    A speck cannot reach further than what is allowed from any of its pixels.
    """
    reach = min(max(int(extent), rule.area), _MAX_REACH)
    top, left = max(0, row - reach), max(0, column - reach)
    window = (slice(top, row + reach + 1), slice(left, column + reach + 1))
    crop = labels[window]
    blocked = free.excludes(crop).astype(np.uint8)
    filled = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)
    area, _, _, box = cv2.floodFill(
        blocked,
        filled,
        (column - left, row - top),
        0,
        flags=8 | cv2.FLOODFILL_MASK_ONLY | (1 << 8),
    )
    pixels = filled[1:-1, 1:-1].astype(bool)
    longest = max(box[2], box[3])
    if longest > reach:  # it may go on beyond the window
        return None
    if box[2] == labels.shape[1] or box[3] == labels.shape[0]:  # or beyond the image
        return None
    few = area < rule.area and set(crop[pixels].tolist()).isdisjoint(rule.kept)
    return (window, pixels) if longest < extent or few else None
