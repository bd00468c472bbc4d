"""Connected region: the free pixels that the vehicle can reach, seen in the image."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

from segformer_ros.drivable.profile import IdSet

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
