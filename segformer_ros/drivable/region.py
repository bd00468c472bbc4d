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
    starts: np.ndarray,
    free: IdSet,
    front: Tuple[float, float],
) -> np.ndarray:
    """Tell which columns' free pixels belong to a region that touches the vehicle's front.

    labels: (H, W) uint8; rows, starts: (W,) int32, see ColumnProfile. front: the part of the
    image's bottom that the vehicle stands at, as shares (left, right) of its width.
    Returns (W,) bool, False where a column is blocked from its start on.

    Columns side by side whose start is free touch each other there. Two such runs that something
    parts at the bottom are one region where they meet further up, which takes a look at all
    pixels: in cells that are free only where all their pixels are.
    """
    width = len(rows)
    open_start = rows != starts
    run_of = np.cumsum(np.concatenate([[open_start[0]], open_start[1:] & ~open_start[:-1]]))
    run_of = np.where(open_start, run_of, 0)  # 0: blocked, 1..: run of open columns
    in_front = np.zeros(width, bool)
    in_front[int(front[0] * width) : max(int(front[0] * width) + 1, int(front[1] * width))] = True
    touching = np.zeros(int(run_of.max()) + 1, bool)
    touching[run_of[in_front & open_start]] = True
    if not touching.any() or touching[1:].all():
        everything: np.ndarray = open_start & touching.any()
        return everything
    height = labels.shape[0]
    cell = next(cell for least, cell in _CELL_WIDTH if width >= least and height >= cell)
    # The lowest cell of each column that lies above the hood, where nothing blocks below it.
    cell_rows = np.clip((starts + 1) // cell - 1, 0, labels.shape[0] // cell - 1)
    cell_columns = np.minimum(np.arange(width) // cell, width // cell - 1)
    leads_up = open_start & (rows < cell_rows * cell)
    cells = _cells(labels, cell, free, int(cell_rows.min()))
    _cut_below(cells, cell_rows, cell)
    reached = _flooded(cells, cell_rows, cell_columns, touching[run_of] & leads_up)
    touching[run_of[reached & leads_up]] = True
    result: np.ndarray = touching[run_of]
    return result


def _cells(labels: np.ndarray, cell: int, free: IdSet, highest: int) -> np.ndarray:
    """Cells of cell x cell pixels, 1 where all of one is free: (H / cell, W / cell) uint8.

    Above row `highest` only as far as there is a way up from it: the rest is left at 0.
    """
    high, wide = labels.shape[0] // cell, labels.shape[1] // cell
    cells = np.zeros((high, wide), np.uint8)
    for end in range(high, 0, -_BAND):
        top = max(0, end - _BAND)
        cells[top:end] = _free_cells(labels[top * cell : end * cell, : wide * cell], cell, free)
        if not cells[top : min(end, highest)].any(axis=1).all():
            break
    return cells


def _cut_below(cells: np.ndarray, cell_rows: np.ndarray, cell: int) -> None:
    """Close what lies below the lowest cells of the columns: the hood, whatever its label."""
    high, wide = cells.shape
    lowest = cell_rows[: wide * cell].reshape(wide, cell).max(axis=1)
    top = int(lowest.min()) + 1
    cells[top:][np.arange(top, high)[:, None] > lowest] = 0


def _free_cells(labels: np.ndarray, cell: int, free: IdSet) -> np.ndarray:
    """Tell which cells of cell x cell pixels are free: (H / cell, W / cell) bool."""
    blocked = free.excludes(labels)
    if cell > 1:
        by_rows = blocked.reshape(-1, cell, labels.shape[1]).any(axis=1)
        # `cell` booleans side by side, read as one wide number: zero if none is set.
        blocked = by_rows.view(_WIDE_TYPES[cell]) != 0
    return ~blocked


def _flooded(
    cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
    """Tell which places (n,) are in free cells that are connected to that of one of the seeds.

    rows, columns: (n,) int, the places' cells; seeds: (n,) bool.
    """
    mask = np.zeros((cells.shape[0] + 2, cells.shape[1] + 2), np.uint8)
    filled = mask[1:-1, 1:-1]
    todo = np.flatnonzero(seeds & (cells[rows, columns] != 0))
    while len(todo) > 0:
        seed = (int(columns[todo[0]]), int(rows[todo[0]]))
        cv2.floodFill(cells, mask, seed, 0, flags=4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
        todo = todo[filled[rows[todo], columns[todo]] == 0]
    reached: np.ndarray = filled[rows, columns] != 0
    return reached
