"""Running figures of one camera: rates, ages, and frames that were lost on the way here."""

from __future__ import annotations

from collections import deque
from statistics import median
from threading import Lock
from typing import Deque, List, NamedTuple, Optional

import numpy as np

RATE_WINDOW = 5.0
"""Seconds that a rate is taken over."""

RECENT = 10.0
"""Seconds for which a loss counts as recent."""

_AGES = 300  # the latest ages that percentiles are taken of
_INTERVALS = 100  # the latest intervals between stamps that the camera's period is taken of
_FEWEST = 10  # intervals before anything is said about losses
_LOSSES = 2000  # the latest losses whose times are kept
_ALIKE = 1.25  # the longest interval over the shortest, in a camera that keeps its rate
_PAUSE = 2_000_000_000  # ns; a longer gap is a camera that paused, not lost frames


class Percentiles(NamedTuple):
    """Middle and upper end of a distribution, in seconds; NaN where there is nothing yet."""

    p50: float
    p99: float


class Rate:
    """Events per second over the last `window` seconds."""

    def __init__(self, window: float = RATE_WINDOW) -> None:
        self._window = window
        self._times: Deque[float] = deque()

    def add(self, now: float) -> None:
        """Count an event at a time in seconds."""
        self._times.append(now)
        self._forget(now)

    def per_second(self, now: float) -> float:
        """Events per second up to now; 0 where fewer than two are in the window."""
        self._forget(now)
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def count(self, now: float) -> int:
        """Events in the window up to now."""
        self._forget(now)
        return len(self._times)

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] < now - self._window:
            self._times.popleft()


class StampGaps:
    """Estimates lost frames from the gaps that they leave between the stamps of those that came.

    The camera's period is the median of the short intervals, those within half as much again of
    the shortest tenth: where most frames are lost, the median of all would be the period of the
    losses. Long intervals that are all alike are no losses but a slower camera (its exposure
    grows with dusk), so gaps count only once intervals differ again.
    """

    def __init__(self) -> None:
        self._intervals: Deque[int] = deque(maxlen=_INTERVALS)
        self._last: Optional[int] = None
        self._long: List[int] = []  # the latest intervals, each longer than the period
        self._pending = 0  # frames that would be lost in those

    def resumed(self) -> None:
        """Take the next frame as the first: what lies before it is no gap."""
        self._last = None

    def add(self, stamp: int) -> int:
        """Take a frame's stamp in nanoseconds; return how many are now known to be lost."""
        interval = None if self._last is None else stamp - self._last
        self._last = stamp
        if interval is None or interval <= 0 or interval > _PAUSE:
            return 0
        self._intervals.append(interval)
        period = self.period()
        if period is None:
            return 0
        missing = max(0, round(interval / period) - 1)
        if missing:
            self._long.append(interval)
            self._pending += missing
            if max(self._long) < _ALIKE * min(self._long):
                if len(self._long) >= _FEWEST:
                    self._slow_down()
                return 0
        lost, self._pending = self._pending, 0
        self._long = []
        return lost

    def _slow_down(self) -> None:
        """Take the latest intervals as those of the camera."""
        self._intervals = deque(self._long, maxlen=_INTERVALS)
        self._long, self._pending = [], 0

    def period(self) -> Optional[float]:
        """Nanoseconds between two frames of the camera, None where too few came."""
        if len(self._intervals) < _FEWEST:
            return None
        shortest = sorted(self._intervals)
        limit = 1.5 * shortest[len(shortest) // 10]
        return median(interval for interval in shortest if interval <= limit)


class CameraFigures(NamedTuple):
    """Snapshot of one camera's figures.

    rate_in, rate_out: frames per second received and segmented. age: publication minus stamp.
    lost: frames that did not arrive, since the start. recently_lost, recently_received: in the
    last RECENT seconds.
    silence: seconds since the last frame, None where none came yet.
    """

    rate_in: float
    rate_out: float
    age: Percentiles
    lost: int
    recently_lost: int
    recently_received: int
    silence: Optional[float]
    last_problem: str
    recent_problem: bool


class CameraStatistics:
    """Collects one camera's figures from the executor's and the worker's thread.

    `now` is a steady time in seconds throughout.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._arrivals = Rate()
        self._recent = Rate(RECENT)
        self._masks = Rate()
        self._ages: Deque[float] = deque(maxlen=_AGES)
        self._gaps = StampGaps()
        self._lost_by_stamps = 0
        self._lost_by_transport = self._transport_total = 0
        # When frames were lost, by stamps and by the middleware's count: see `snapshot`.
        self._gap_times: Deque[float] = deque(maxlen=_LOSSES)
        self._transport_times: Deque[float] = deque(maxlen=_LOSSES)
        self._last_arrival: Optional[float] = None
        self._problem = ''
        self._problem_time: Optional[float] = None

    def resumed(self) -> None:
        """Note that images are let in again: those in between were not lost."""
        with self._lock:
            self._gaps.resumed()
            self._transport_total = 0

    def arrived(self, now: float, stamp: int) -> None:
        """Count a received frame with its stamp in nanoseconds."""
        with self._lock:
            self._arrivals.add(now)
            self._recent.add(now)
            self._last_arrival = now
            lost = self._gaps.add(stamp)
            self._lost_by_stamps += lost
            self._gap_times.extend([now] * lost)

    def lost_in_transport(self, now: float, total: int) -> None:
        """Take the middleware's own count of messages that it lost, since images are let in."""
        with self._lock:
            lost = total - self._transport_total
            self._transport_times.extend([now] * min(lost, _LOSSES))
            self._lost_by_transport += lost
            self._transport_total = total

    def published(self, now: float, age: float) -> None:
        """Count a published mask with its age in seconds."""
        with self._lock:
            self._masks.add(now)
            self._ages.append(age)

    def problem(self, now: float, reason: str) -> None:
        """Remember why a frame gave no mask."""
        with self._lock:
            self._problem, self._problem_time = reason, now

    def snapshot(self, now: float) -> CameraFigures:
        """All figures as of now."""
        with self._lock:
            since = self._problem_time
            return CameraFigures(
                rate_in=self._arrivals.per_second(now),
                rate_out=self._masks.per_second(now),
                age=_percentiles(self._ages),
                # The middleware does not see frames that a full queue dropped, and stamps do not
                # show a loss that has no end yet; both undercount.
                lost=max(self._lost_by_stamps, self._lost_by_transport),
                recently_lost=max(
                    sum(1 for time in times if time > now - RECENT)
                    for times in (self._gap_times, self._transport_times)
                ),
                recently_received=self._recent.count(now),
                silence=None if self._last_arrival is None else now - self._last_arrival,
                last_problem=self._problem,
                recent_problem=since is not None and since > now - RECENT,
            )


def _percentiles(values: Deque[float]) -> Percentiles:
    if not values:
        return Percentiles(float('nan'), float('nan'))
    p50, p99 = np.percentile(np.asarray(values), (50, 99))
    return Percentiles(float(p50), float(p99))
