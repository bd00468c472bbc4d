"""Back-off: growing pauses between attempts to start what broke."""

from __future__ import annotations

from time import monotonic
from typing import Callable

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
"""Seconds: each pause is twice the one before, from the first up to the longest."""


class Backoff:
    """Says when the next attempt is due. clock: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._wait = FIRST_WAIT
        self._due = 0.0

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt; 0 where it is due."""
        return max(0.0, self._due - self._clock())

    def pause(self) -> float:
        """Begin a pause, and tell its seconds; the one after it is longer."""
        seconds = self._wait
        self._due = self._clock() + seconds
        self._wait = min(2 * seconds, LONGEST_WAIT)
        return seconds

    def reset(self) -> None:
        """What broke works again: the next pause is a short one."""
        self._wait = FIRST_WAIT
