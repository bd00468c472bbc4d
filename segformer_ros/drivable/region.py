# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The free region of a mask: the pixels that the vehicle can reach, cleaned of specks.

Specks are small islands in the road, errors of the mask, too small to stop a vehicle.
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.drivable.profile import IdSet, first_blocked_rows

_MAX_PASSES = 3  # a pass may uncover further specks behind those that it removes
_MAX_SPECKS = 24  # examined in a frame; a mask that has more is not to be trusted
_PROBES = np.arange(1, 9)  # eighths of a speck's reach at which the pixels above are probed
_MAX_REACH = 63  # pixels; wider islands are real at any distance

PixelScale = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pixels that one metre spans at ground seen at rows (n,) and columns (n,): (n,) float."""


class SpeckRule(NamedTuple):
    """What counts as a speck: an 8-connected island of blocked pixels that meets either rule.

    size: narrower and lower than this where it stands on the ground, m. Needs a pixel scale.
    area: fewer pixels than this, none of them of a class in `kept`.
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
    """Move the boundary of columns that only a speck blocks to what blocks them behind it.

    labels: (H, W) uint8; rows: (W,) int32, see ColumnProfile. scratch: an array like labels, or
    labels itself, to write to (to allocate a large image takes longer than all else here).
    Returns (labels, rows) with the specks painted as free ground, in `scratch`; both are the
    inputs themselves where there is no speck.
    """
    size = rule.size if scale is not None else 0.0
    if size == 0 and rule.area <= 1:
        return labels, rows
    painted, moved, budget = labels, rows, _MAX_SPECKS
    changed: np.ndarray = np.ones(len(rows), bool)  # (W,) columns that the last pass moved
    for _ in range(_MAX_PASSES):
        columns = _narrow_peaks(moved)
        columns = columns[changed[columns]]
        changed = np.zeros(len(rows), bool)
        extents = (
            np.zeros(len(columns)) if scale is None else size * scale(moved[columns], columns)
        )  # (n,) pixels that a speck may be wide and high there
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
        # All is free below the boundary so far: the search goes on from there.
        below = moved[changed]  # (changed columns,)
        moved = moved.copy()
        moved[changed] = first_blocked_rows(painted[: below.max() + 1, changed], free, below)
    return painted, moved


def _narrow_peaks(rows: np.ndarray) -> np.ndarray:
    """Columns (n,) int where something narrow stands in front of its neighbours' boundary."""
    # An opening removes peaks narrower than its window, here of rows (larger rows are nearer).
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
    """One column of each island that may be a speck, with the extent allowed there, pixels.

    columns: (n,) int, peaks of the boundary; extents: (n,) pixels.
    """
    reach = np.minimum(np.maximum(extents, area), _MAX_REACH).astype(np.intp)  # (n,)
    columns, extents, reach = (each[reach > 1] for each in (columns, extents, reach))
    if len(columns) == 0:
        return []
    # Most peaks are poles and legs: too high for a speck, so all the probes above are blocked.
    above = np.maximum(rows[columns] - _PROBES[:, None] * reach // _PROBES[-1], 0)  # (8, n) rows
    width = labels.shape[1]
    low = ~free.excludes(labels.ravel().take(above * width + columns)).all(axis=0)  # (n,) bool
    columns, extents = columns[low], extents[low]
    # A new island begins after a gap, or where the row jumps: two may stand side by side.
    new = (np.diff(columns) > 1) | (np.abs(np.diff(rows[columns])) > 1)  # (n - 1,) bool
    first = np.flatnonzero(np.append(True, new)[: len(columns)])
    return list(zip(columns[first].tolist(), extents[first].tolist()))


def _island(
    labels: np.ndarray, free: IdSet, row: int, column: int, extent: float, rule: SpeckRule
) -> Optional[Tuple[Tuple[slice, slice], np.ndarray]]:
    """Window of the island at a pixel and its pixels there (h, w) bool; None if it is no speck.

    A speck cannot extend further than allowed from any of its pixels, so the window is small.
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


_CELL_WIDTH = ((1280, 4), (640, 2), (0, 1))  # least image width, and the n of its n x n cells
_WIDE_TYPES = {2: np.uint16, 4: np.uint32}
_BAND = 32  # rows of cells processed together, so that they stay in the cache


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

    Neighbouring columns whose start is free are connected there. Two such runs, separated by a
    blocker at the bottom, are one region if they meet further up. That takes a flood fill of the
    mask, done on a coarser grid whose cells are free only where all their pixels are.
    """
    height, width = labels.shape
    open_start = rows != start  # (W,)
    # Number the runs of open columns 1, 2, ...; the blocked columns between them are 0.
    run_of = np.cumsum(np.concatenate([[open_start[0]], open_start[1:] & ~open_start[:-1]]))
    run_of = np.where(open_start, run_of, 0)  # (W,)
    in_front = np.zeros(width, bool)  # (W,)
    in_front[int(front[0] * width) : max(int(front[0] * width) + 1, int(front[1] * width))] = True
    touching = np.zeros(int(run_of.max()) + 1, bool)  # (runs + 1,)
    touching[run_of[in_front & open_start]] = True
    if not touching.any() or touching[1:].all():
        all_or_none: np.ndarray = open_start & touching.any()
        return all_or_none
    cell = next(cell for least, cell in _CELL_WIDTH if width >= least and height >= cell)
    # The lowest row of cells that lies wholly above the hood.
    lowest = min(max((start + 1) // cell - 1, 0), height // cell - 1)
    cell_columns = np.minimum(np.arange(width) // cell, width // cell - 1)  # (W,)
    leads_up = open_start & (rows < lowest * cell)  # (W,) free from the start up to that row
    cells = _cells(labels, cell, free, lowest)  # (H / cell, W / cell)
    reached = _flooded(cells, lowest, cell_columns, touching[run_of] & leads_up)
    touching[run_of[reached & leads_up]] = True
    result: np.ndarray = touching[run_of]
    return result


def _cells(labels: np.ndarray, cell: int, free: IdSet, lowest: int) -> np.ndarray:
    """Grid of cells of cell x cell pixels, 1 where all is free: (H / cell, W / cell) uint8.

    Filled from row `lowest` upwards until a row has no free cell: beyond it nothing can be
    reached. The rest stays 0, as does the hood below `lowest`, whatever its label.
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
    """Tell which of the columns (n,) are connected to a seed through free cells: (n,) bool.

    columns: (n,) int, columns of cells, looked up in `row`; seeds: (n,) bool.
    """
    mask = np.zeros((cells.shape[0] + 2, cells.shape[1] + 2), np.uint8)  # as floodFill needs it
    filled = mask[1:-1, 1:-1]
    todo = np.flatnonzero(seeds & (cells[row, columns] != 0))
    while len(todo) > 0:
        seed = (int(columns[todo[0]]), row)
        cv2.floodFill(cells, mask, seed, 0, flags=4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
        todo = todo[filled[row, columns[todo]] == 0]
    reached: np.ndarray = filled[row, columns] != 0  # (n,)
    return reached
