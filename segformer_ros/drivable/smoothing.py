"""Smoothing over time that can only make the free area smaller."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Deque, NamedTuple

import numpy as np

from segformer_ros.drivable.errors import DrivableError
from segformer_ros.drivable.profile import ColumnProfile

_NANOSECONDS = 1_000_000_000


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
