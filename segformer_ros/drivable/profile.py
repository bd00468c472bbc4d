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
"""Class where nothing blocks, or where what blocks is not known (DrivableArea.CLASS_NONE)."""

_NANOSECONDS = 1_000_000_000
_FAR = 1e6  # stands for inf where distances are compared, which 1e-8 still tells apart
_BAND = 128  # rows looked at together; a row's index in its band must fit in a byte
_STRIPS = 640  # about as many strips are kept; wider images have strips of several columns


class DrivableError(SegformerError, ValueError):
    """A setting or an input from which no drivable area can be made."""


@dataclass(frozen=True)
class ColumnProfile:
    """What stops each of M strips of an image, one to three pixel columns wide.

    Finer strips than a few hundredths of the view cost time and tell nothing. Each stands for the
    column of its nearest blocker, so that nothing is lost that could stop a vehicle.

    height, width: of the image, pixels.
    columns: (M,) int32, ascending, the pixel column u that a strip stands for.
    rows: (M,) int32, the first row that is not free, seen from the bottom; ROW_NONE: free to the
        top; equal to `start`: blocked from the first visible row on.
    start: the lowest row that is looked at: the bottom row, or that above the hood.
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
        """Profile from the boundary of every pixel column, (W,) each, with the types above."""
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

    A flickering mask frees a column for single frames; held, the column stays blocked where the
    nearest blocker of the last `seconds` was. It is done in the image, so a fast turn smears
    blockers over neighbouring columns, never free ground over blockers. 0 switches it off.
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
        """Profile of this frame and of those seen since `stamp_ns` - hold, whichever is nearer.

        Starts anew when the image's size changes, and when time stands still or jumps back.
        """
        if self._span_ns == 0:
            return profile
        if self._seen and not self._follows(stamp_ns, profile):
            self._seen.clear()
        while self._seen and stamp_ns - self._seen[0].stamp_ns > self._span_ns:
            self._seen.popleft()
        self._seen.append(_Seen(stamp_ns, profile))
        profiles = [seen.profile for seen in reversed(self._seen)]
        newest = np.stack([each.rows for each in profiles]).argmax(axis=0)  # ties: this frame

        def chosen(name: str) -> np.ndarray:
            stacked = np.stack([getattr(each, name) for each in profiles])
            values: np.ndarray = np.take_along_axis(stacked, newest[None], axis=0)[0]
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


def nearest_in_spans(distances: np.ndarray, spans: int) -> np.ndarray:
    """Index of the smallest of W values in each of `spans` equal spans: (N,) int, N <= W.

    Among values that are equal to within 1e-5 the one closest to its span's middle.
    """
    members, off_middle = _members(len(distances), min(spans, len(distances)))
    ranked = np.minimum(distances, _FAR)[members] + off_middle
    result: np.ndarray = members[np.arange(len(members)), ranked.argmin(axis=1)]
    return result


@lru_cache(maxsize=16)
def _members(width: int, spans: int) -> Tuple[np.ndarray, np.ndarray]:
    """Members (N, S) of each span, the last repeated, and a small penalty for being off middle."""
    edges = _span_edges(width, spans)
    first, last = edges[:-1, None], edges[1:, None] - 1
    members = np.minimum(first + np.arange(np.diff(edges).max()), last)
    return members, np.abs(2 * members - first - last) * (1e-5 / width)


def _span_edges(width: int, spans: int) -> np.ndarray:
    """Columns (spans + 1,) int at which equal spans of `width` begin, and the last ends."""
    return np.round(np.linspace(0, width, spans + 1)).astype(np.intp)


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
