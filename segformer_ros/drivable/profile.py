# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Column profile: the first blocked pixel of every image column, seen from the bottom."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Deque, List, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.errors import SegformerError

ROW_NONE = -1
"""Row of a column in which nothing blocks (DrivableArea.ROW_NONE)."""

CLASS_NONE = IGNORE_ID
"""Class where nothing blocks, or where the blocker is unknown (DrivableArea.CLASS_NONE)."""

_NANOSECONDS = 1_000_000_000
_FAR = 1e6  # replaces inf in comparisons; small enough that penalties of 1e-8 still count
_BAND = 128  # rows processed together; a row's index in its band must fit in a byte
_STRIPS = 640  # about as many strips are kept; wider images have strips of several columns


class DrivableError(SegformerError, ValueError):
    """A setting or an input from which no drivable area can be computed."""


@dataclass(frozen=True)
class ColumnProfile:
    """First blocker in each of M strips of an image, one to three pixel columns wide.

    Narrower strips would cost time and add nothing. Each is represented by the column of its
    nearest blocker, so that none is lost.

    height, width: of the image, pixels.
    columns: (M,) int32, ascending, the pixel column u that represents a strip.
    rows: (M,) int32, the first row from the bottom that is not free; ROW_NONE: free to the top;
        equal to `start`: blocked from the first visible row on.
    start: the lowest row that is searched: the bottom row, or the one above the hood.
    classes: (M,) uint8, class id at that pixel, or CLASS_NONE.
    confidence: (M,) float32, 0..1; NaN where the engine gave none.
    """

    height: int
    width: int
    columns: np.ndarray
    rows: np.ndarray
    start: int
    classes: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of_pixels(
        cls,
        height: int,
        rows: np.ndarray,
        start: int,
        classes: np.ndarray,
        confidence: np.ndarray,
    ) -> ColumnProfile:
        """Profile from the boundary of every pixel column: (W,) arrays of the types above."""
        width = len(rows)
        strips = width // max(1, width // _STRIPS)
        columns = nearest_in_spans(-rows.astype(np.float64), strips)
        return cls(
            height,
            width,
            columns.astype(np.int32),
            rows[columns],
            start,
            classes[columns],
            confidence[columns],
        )

    def strips_of(self, columns: np.ndarray) -> np.ndarray:
        """Strips (n,) int that pixel columns (n,) of the image belong to."""
        ends = _span_edges(self.width, len(self.columns))
        strips: np.ndarray = np.searchsorted(ends, columns, side='right') - 1
        return strips


class _Seen(NamedTuple):
    stamp_ns: int
    profile: ColumnProfile


class BlockerHold:
    """Keeps every blocker in its image column for a while after it was last seen.

    A flickering mask frees a column for single frames; with a hold, the column stays blocked where
    the nearest blocker of the last `seconds` was. Since this happens in the image, a fast turn
    smears blockers over neighbouring columns, but never free ground over blockers. 0: off.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 <= seconds <= 10:
            raise DrivableError(
                f'hold={seconds} s is outside 0..10: it is the time that a '
                'blocker is kept after it was last seen'
            )
        self._span_ns = int(seconds * _NANOSECONDS)
        self._seen: Deque[_Seen] = deque()

    def update(self, stamp_ns: int, profile: ColumnProfile) -> ColumnProfile:
        """Profile with the nearest blocker of this frame and those since `stamp_ns` - hold.

        Starts over when the image's size changes, and when the stamp repeats or jumps back.
        """
        if self._span_ns == 0:
            return profile
        if self._seen and not self._follows(stamp_ns, profile):
            self._seen.clear()
        while self._seen and stamp_ns - self._seen[0].stamp_ns > self._span_ns:
            self._seen.popleft()
        self._seen.append(_Seen(stamp_ns, profile))
        profiles = [seen.profile for seen in reversed(self._seen)]  # newest first
        # The frame with the lowest row in each strip, (M,); the newest of equal ones.
        nearest = np.stack([each.rows for each in profiles]).argmax(axis=0)

        def chosen(name: str) -> np.ndarray:
            stacked = np.stack([getattr(each, name) for each in profiles])  # (frames, M)
            values: np.ndarray = np.take_along_axis(stacked, nearest[None], axis=0)[0]
            return values

        return replace(
            profile,
            columns=chosen('columns'),
            rows=chosen('rows'),
            classes=chosen('classes'),
            confidence=chosen('confidence'),
        )

    def _follows(self, stamp_ns: int, profile: ColumnProfile) -> bool:
        last = self._seen[-1]
        return (
            stamp_ns > last.stamp_ns
            and profile.height == last.profile.height
            and profile.width == last.profile.width
        )


class IdSet:
    """A set of class ids that tests whole label maps at memory speed.

    A set of classes is usually a few runs of consecutive ids. To compare with those is ten times
    as fast as a table look-up per pixel.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        if not ids:
            raise ValueError('a set of class ids needs at least one')
        self.ids = tuple(sorted(set(ids)))
        self._runs = _runs(self.ids)

    def excludes(self, labels: np.ndarray) -> np.ndarray:
        """Tell where `labels` (uint8, any shape) are not in the set: bool, the same shape."""
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
    index = np.arange(1, _BAND + 1, dtype=np.uint8)[:, None]  # (band, 1) row in the band, from 1
    lowest_start = int(starts.min())
    for end in range(int(starts.max()) + 1, 0, -_BAND):
        top = max(0, end - _BAND)
        blocked = free.excludes(labels[top:end])  # (band, W) bool
        if end - 1 > lowest_start:
            blocked &= np.arange(top, end)[:, None] <= starts
        # The lowest blocked row of the band, counted from 1; 0: none.
        peak = (blocked.view(np.uint8) * index[: end - top]).max(axis=0)  # (W,)
        hit = (peak > 0) & (rows == ROW_NONE)
        rows[hit] = peak[hit].astype(np.int32) + (top - 1)
        if not (rows == ROW_NONE).any():
            break
    return rows


def nearest_in_spans(distances: np.ndarray, spans: int) -> np.ndarray:
    """Index of the smallest of W values in each of `spans` equal spans: (N,) int, N <= W.

    Of values that are equal to within 1e-5, the one closest to its span's middle.
    """
    members, off_middle = _members(len(distances), min(spans, len(distances)))
    ranked = np.minimum(distances, _FAR)[members] + off_middle  # (N, S)
    result: np.ndarray = members[np.arange(len(members)), ranked.argmin(axis=1)]
    return result


@lru_cache(maxsize=16)
def _members(width: int, spans: int) -> Tuple[np.ndarray, np.ndarray]:
    """Indices (N, S) of each span, the last repeated, and a small penalty for being off middle."""
    edges = _span_edges(width, spans)
    first, last = edges[:-1, None], edges[1:, None] - 1
    members = np.minimum(first + np.arange(np.diff(edges).max()), last)
    return members, np.abs(2 * members - first - last) * (1e-5 / width)


def _span_edges(width: int, spans: int) -> np.ndarray:
    """Borders (spans + 1,) int of equal spans of `width` columns."""
    return np.round(np.linspace(0, width, spans + 1)).astype(np.intp)


def _outside(labels: np.ndarray, run: Tuple[int, int]) -> np.ndarray:
    first, last = run
    # Ids below `first` wrap around to large numbers, so one comparison does for two.
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
