"""Pacer: holds frames back until their time has come."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Callable, Optional


class Pacer:
    """Turns the recording's time into this machine's, at a rate.

    rate: how many times faster than recorded; 0 holds nothing back. on_tick: called with the
    recording's time (ns) each `TICK` of waiting, so that a clock can go on between frames. Where
    the stamps go back, or ahead by more than LONGEST_STEP, the recording's clock was set or it
    paused: the pace begins anew there.
    """

    TICK = 0.02
    """Seconds between two ticks while a frame is held back."""

    LONGEST_STEP = 60.0
    """Seconds of the recording that are waited for between two frames."""

    def __init__(
        self,
        rate: float,
        on_tick: Callable[[int], None],
        clock: Callable[[], float] = monotonic,
        rest: Callable[[float], None] = sleep,
    ) -> None:
        self._rate = rate
        self._on_tick = on_tick
        self._clock = clock
        self._rest = rest
        self._start: Optional[float] = None
        self._first = self._last = 0

    def wait(self, stamp: int) -> None:
        """Return when the time of a frame stamped `stamp` (ns) has come."""
        if self._rate == 0:
            return
        step = (stamp - self._last) / 1e9
        if self._start is None or not 0 <= step <= self.LONGEST_STEP:
            self._start, self._first = self._clock(), stamp
        self._last = stamp
        due = self._start + (stamp - self._first) / 1e9 / self._rate
        while True:
            left = due - self._clock()
            if left <= 0:
                return
            self._on_tick(stamp - round(left * self._rate * 1e9))
            self._rest(min(left, self.TICK))
