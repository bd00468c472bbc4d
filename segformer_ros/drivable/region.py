# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The free region of a mask: the pixels that the vehicle can reach, cleaned of specks.

Specks are islands in the road, too small to stop a vehicle, that a mask has by mistake.
"""

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


_CELL_WIDTH = ((1280, 4), (640, 2), (0, 1))  # image width from which cells of n x n pixels do
_WIDE_TYPES = {2: np.uint16, 4: np.uint32}
_BAND = 32  # rows of cells looked at together, so that they stay in the cache


def reachable_columns(
    labels: np.ndarray,
    rows: np.ndarray,
    start: int,
    free: IdSet,
    front: Tuple[float, float],
) -> np.ndarray:
    """Tell which columns' free pixels belong to a region that touches the vehicle's front.

    labels: (H, W) uint8; rows: (W,) int32, and start, see ColumnProfile. front: the part of the
    image's bottom that the vehicle stands at, as shares (left, right) of its width.
    Returns (W,) bool, False where a column is blocked from the start on.

    Columns side by side whose start is free touch each other there. Two such runs that something
    parts at the bottom are one region where they meet further up, which takes a look at all
    pixels: in cells that are free only where all their pixels are.
    """
    height, width = labels.shape
    open_start = rows != start  # (W,)
    # Runs of open columns are numbered 1, 2, ...; 0 are the blocked columns between them.
    run_of = np.cumsum(np.concatenate([[open_start[0]], open_start[1:] & ~open_start[:-1]]))
    run_of = np.where(open_start, run_of, 0)  # (W,)
    in_front = np.zeros(width, bool)
    in_front[int(front[0] * width) : max(int(front[0] * width) + 1, int(front[1] * width))] = True
    touching = np.zeros(int(run_of.max()) + 1, bool)  # (runs + 1,)
    touching[run_of[in_front & open_start]] = True
    if not touching.any() or touching[1:].all():
        everything: np.ndarray = open_start & touching.any()
        return everything
    cell = next(cell for least, cell in _CELL_WIDTH if width >= least and height >= cell)
    # The lowest row of cells above the hood, where nothing blocks below it.
    lowest = min(max((start + 1) // cell - 1, 0), height // cell - 1)
    cell_columns = np.minimum(np.arange(width) // cell, width // cell - 1)  # (W,)
    leads_up = open_start & (rows < lowest * cell)
    cells = _cells(labels, cell, free, lowest)  # (H / cell, W / cell)
    reached = _flooded(cells, lowest, cell_columns, touching[run_of] & leads_up)
    touching[run_of[reached & leads_up]] = True
    result: np.ndarray = touching[run_of]
    return result


def _cells(labels: np.ndarray, cell: int, free: IdSet, lowest: int) -> np.ndarray:
    """Cells of cell x cell pixels, 1 where all of one is free: (H / cell, W / cell) uint8.

    Above row `lowest` only as far as there is a way up from it: the rest is left at 0, as is the
    hood below it, whatever its label.
    """
    high, wide = labels.shape[0] // cell, labels.shape[1] // cell
    cells = np.zeros((high, wide), np.uint8)
    for end in range(lowest + 1, 0, -_BAND):
        top = max(0, end - _BAND)
        cells[top:end] = _free_cells(labels[top * cell : end * cell, : wide * cell], cell, free)
        if not cells[top : min(end, lowest)].any(axis=1).all():
            break
    return cells


def _free_cells(labels: np.ndarray, cell: int, free: IdSet) -> np.ndarray:
    """Tell which cells of cell x cell pixels are free: (H / cell, W / cell) bool."""
    blocked = free.excludes(labels)
    if cell > 1:
        by_rows = blocked.reshape(-1, cell, labels.shape[1]).any(axis=1)  # (H / cell, W)
        # `cell` booleans side by side, read as one wide number: zero if none is set.
        blocked = by_rows.view(_WIDE_TYPES[cell]) != 0
    return ~blocked


def _flooded(cells: np.ndarray, row: int, columns: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Tell which places (n,) are in free cells that are connected to that of one of the seeds.

    columns: (n,) int, the places' cells in a row of them; seeds: (n,) bool.
    """
    mask = np.zeros((cells.shape[0] + 2, cells.shape[1] + 2), np.uint8)
    filled = mask[1:-1, 1:-1]
    todo = np.flatnonzero(seeds & (cells[row, columns] != 0))
    while len(todo) > 0:
        seed = (int(columns[todo[0]]), row)
        cv2.floodFill(cells, mask, seed, 0, flags=4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
        todo = todo[filled[row, columns[todo]] == 0]
    reached: np.ndarray = filled[row, columns] != 0  # (n,)
    return reached
