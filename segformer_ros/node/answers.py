"""Answers: which of the frames sent have been answered, how fast, and which are overdue."""

from __future__ import annotations

from collections import deque
from threading import Condition
from time import monotonic
from typing import Callable, Deque, Dict, Optional

from segformer_ros.percentiles import Percentiles, percentiles

KEPT_IN_FLIGHT = 1000
KEPT_LATENCIES = 100_000
"""Bounds of the memory of an endless play."""


class Answers:
    """Frames in flight by their stamps (ns). Any thread may send, answer and wait."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = Condition()
        self._in_flight: Dict[int, float] = {}
        self._milliseconds: Deque[float] = deque(maxlen=KEPT_LATENCIES)
        self._count = 0

    def sent(self, stamp: int) -> None:
        """Note that a frame was sent, for the first time or again."""
        with self._changed:
            # Sent again: it moves to the end, and its time counts anew.
            self._in_flight.pop(stamp, None)
            self._in_flight[stamp] = self._clock()
            if len(self._in_flight) > KEPT_IN_FLIGHT:
                del self._in_flight[next(iter(self._in_flight))]

    def came(self, stamp: int) -> None:
        """Note an answer; one to a frame that is not in flight is not counted."""
        with self._changed:
            since = self._in_flight.pop(stamp, None)
            if since is not None:
                self._milliseconds.append((self._clock() - since) * 1e3)
                self._count += 1
                self._changed.notify_all()

    def give_up(self, stamp: int) -> None:
        """Wait no longer for a frame's answer."""
        with self._changed:
            self._in_flight.pop(stamp, None)

    def wait_for_room(self, window: int, timeout: float) -> Optional[int]:
        """Wait until fewer than `window` frames are in flight.

        None where that came about; else the stamp that has been waited for the longest, after
        `timeout` seconds without any answer.
        """

        def room() -> bool:
            return len(self._in_flight) < window

        with self._changed:
            while not room():
                before = len(self._in_flight)
                self._changed.wait(timeout)
                if not room() and len(self._in_flight) >= before:
                    return next(iter(self._in_flight))
            return None

    @property
    def count(self) -> int:
        """How many answers have come."""
        with self._changed:
            return self._count

    @property
    def latency(self) -> Percentiles:
        """Milliseconds from sending to the answer, of the answers so far."""
        with self._changed:
            milliseconds = list(self._milliseconds)
        return percentiles(milliseconds)
