"""Column profile: the first blocked pixel of every image column, seen from the bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.drivable.spans import nearest_in_spans

ROW_NONE = -1
"""Row of a column in which nothing blocks (DrivableArea.ROW_NONE)."""

CLASS_NONE = IGNORE_ID
"""Class where nothing blocks, or where what blocks is not known (DrivableArea.CLASS_NONE)."""

_BAND = 128  # rows looked at together; a row's index in its band must fit in a byte
_STRIPS = 640  # about as many strips are kept; wider images have strips of several columns


@dataclass(frozen=True)
class ColumnProfile:
    """What stops each of M strips of an image, one to three pixel columns wide.

    Finer strips than a few hundredths of the view cost time and tell nothing. Each stands for the
    column of its nearest blocker, so that nothing is lost that could stop a vehicle.

    height, width: of the image, pixels.
    columns: (M,) int32, ascending, the pixel column u that a strip stands for.
    rows: (M,) int32, the first row that is not free, seen from the bottom; ROW_NONE: free to the
        top; equal to `starts`: blocked from the first visible row on.
    starts: (M,) int32, the lowest row that is looked at: the bottom row, or that above the hood.
    classes: (M,) uint8, class id at that pixel, or CLASS_NONE.
    confidence: (M,) float32, 0..1; NaN where the engine gave none.
    """

    height: int
    width: int
    columns: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of_pixels(
        cls,
        height: int,
        rows: np.ndarray,
        starts: np.ndarray,
        classes: np.ndarray,
        confidence: np.ndarray,
    ) -> ColumnProfile:
        """Profile from the boundary of every pixel column, (W,) each, with the types above."""
        width = len(rows)
        strips = width // max(1, width // _STRIPS)
        columns = nearest_in_spans(-rows.astype(np.float64), strips)
        return cls(
            height,
            width,
            columns.astype(np.int32),
            rows[columns],
            starts[columns],
            classes[columns],
            confidence[columns],
        )


class IdSet:
    """A set of class ids that tests whole label maps at memory speed.

    A table look-up per pixel costs ten times as much as comparing with the few runs of
    neighbouring ids that a set of classes usually is.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        if not ids:
            raise ValueError('a set of class ids needs one at least')
        self.ids = tuple(sorted(set(ids)))
        self._runs = _runs(self.ids)

    def excludes(self, labels: np.ndarray) -> np.ndarray:
        """Tell where `labels` (uint8, any shape) is not in the set: bool, the same shape."""
        outside = _outside(labels, self._runs[0])
        for run in self._runs[1:]:
            outside &= _outside(labels, run)
        return outside


def first_blocked_rows(labels: np.ndarray, free: IdSet, starts: np.ndarray) -> np.ndarray:
    """Row of the first pixel of each column, from `starts` upwards, whose class is not in `free`.

    labels: (H, W) uint8; starts: (W,) int. Returns (W,) int32, ROW_NONE where there is none.
    Looks at bands of rows from the bottom up and stops as soon as all columns are decided.
    """
    rows = np.full(labels.shape[1], ROW_NONE, np.int32)
    index = np.arange(1, _BAND + 1, dtype=np.uint8)[:, None]
    lowest_start = int(starts.min())
    for end in range(int(starts.max()) + 1, 0, -_BAND):
        top = max(0, end - _BAND)
        blocked = free.excludes(labels[top:end])
        if end - 1 > lowest_start:
            blocked &= np.arange(top, end)[:, None] <= starts
        peak = (blocked.view(np.uint8) * index[: end - top]).max(axis=0)
        hit = (peak > 0) & (rows == ROW_NONE)
        rows[hit] = peak[hit].astype(np.int32) + (top - 1)
        if not (rows == ROW_NONE).any():
            break
    return rows


def _outside(labels: np.ndarray, run: Tuple[int, int]) -> np.ndarray:
    first, last = run
    # Unsigned wrap-around makes one comparison of two.
    above = labels if first == 0 else labels - np.uint8(first)
    outside: np.ndarray = above > np.uint8(last - first)
    return outside


def _runs(ids: Sequence[int]) -> Tuple[Tuple[int, int], ...]:
    runs: List[Tuple[int, int]] = []
    for value in ids:
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return tuple(runs)
