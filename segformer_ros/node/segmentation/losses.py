# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Losses: frames that were lost in transport, and frames that the camera itself skipped.

Three sources, from best to worst: the sequence numbers that the middleware gives to a publisher's
messages (in rclpy since ROS 2 Iron, if the middleware supports them), the middleware's own count
of lost messages, and gaps between the stamps of the frames.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Callable, Deque, List, NamedTuple, Optional, Tuple

RECENT = 10.0
"""Seconds for which a loss counts as recent."""

_FASTEST = 1000.0  # frames per second; a larger step in numbers means another publisher
_LATE = 0.1  # seconds; by then the middleware has reported what it lost in a gap

_INTERVALS = 100  # latest intervals between stamps from which the camera's period is estimated
_FEWEST = 10  # intervals needed before stamps are used
_ALIKE = 1.25  # longest over shortest interval of a camera with a constant rate
_SHORTEST = 1_000_000  # ns; frames stamped closer together were stamped in a burst
_PAUSE = 2_000_000_000  # ns; a longer gap is a pause of the camera, not lost frames
_BURSTS = 1.5  # see StampGaps
_UNEVEN, _EVEN = 0.25, 0.9  # periods off a whole number, and the share of intervals within that
_RUNS = 6  # gaps that are compared for a pattern


class RecentCount:
    """Counts events of the last RECENT seconds, in bounded memory."""

    def __init__(self) -> None:
        self._seconds: Deque[Tuple[float, int]] = deque()

    def add(self, now: float, count: int) -> None:
        """Count events at a time in seconds."""
        if count <= 0:
            return
        if self._seconds and now - self._seconds[-1][0] < 0.1:
            time, before = self._seconds.pop()
            self._seconds.append((time, before + count))
        else:
            self._seconds.append((now, count))
        self.count(now)

    def count(self, now: float) -> int:
        """Events in the last RECENT seconds."""
        while self._seconds and self._seconds[0][0] < now - RECENT:
            self._seconds.popleft()
        return sum(count for _, count in self._seconds)


class PublicationNumbers:
    """Finds the messages that are missing between two that were received.

    Each publisher numbers its own messages, and rclpy does not tell whose number it is. So gaps
    are ignored if there are several publishers; a step back, or an implausibly large one, means a
    new publisher.
    """

    def __init__(self) -> None:
        self._last: Optional[int] = None
        self._time = 0.0

    def missing(self, number: int, now: float, publishers: Callable[[], int]) -> int:
        """Take a message's number; returns how many are missing before it."""
        last, since = self._last, now - self._time
        self._last, self._time = number, now
        if last is None or number <= last + 1:
            return 0
        gap = number - last - 1
        if gap > 10 + since * _FASTEST or publishers() > 1:
            return 0
        return gap


class StampGaps:
    """Estimates missing frames from gaps between the stamps of received ones.

    The camera's period is the median of the short intervals: those up to 1.5 times the 10th
    percentile. (If most frames are lost, the median of all would be the period of the losses.)
    Gaps do not count if they are due to how the camera works:

    - Several long intervals in a row that are all alike mean a slower camera (longer exposure at
      dusk); they count once intervals differ again.
    - Gaps after equal numbers of frames are a pattern of the camera: a driver that takes frames
      in twos, or one that sends two frames of three.
    - With random losses, the mean number of periods per interval is the inverse of the share of
      unbroken intervals, so their product is 1; it is near 1 in an outage, too. Many unbroken
      intervals *and* many missing frames (a product above _BURSTS) mean stamps in bursts.
    - Intervals that are not whole numbers of periods mean a camera without a constant rate, such
      as one with a trigger.
    """

    def __init__(self) -> None:
        self._intervals: Deque[float] = deque(maxlen=_INTERVALS)
        self._last: Optional[int] = None
        self._long: List[float] = []  # the latest intervals, each longer than the period
        self._runs: Deque[int] = deque(maxlen=_RUNS)  # frames between the latest gaps
        self._run = 0
        self._pending = 0  # frames that would be missing in gaps that are not decided

    def resumed(self) -> None:
        """Treat the next frame as the first: no gap before it."""
        self._last = None

    def add(self, stamp: int, known: int = 0) -> int:
        """Take a frame's stamp in nanoseconds; returns how many more frames are known missing now.

        known: how many frames are known, by number, to have been sent in between.
        """
        interval = None if self._last is None else (stamp - self._last) / (known + 1)
        self._last = stamp
        if interval is None or interval > _PAUSE:
            return 0
        self._intervals.append(max(interval, 0.0))
        period = self.period()
        if period is None or not self._trusted(period):
            self._long, self._pending = [], 0
            return 0
        missing = round(max(interval, period) / period) - 1
        return self._gap(interval, missing) if missing else self._no_gap()

    def period(self) -> Optional[float]:
        """The camera's period, nanoseconds; None if it is unknown."""
        if len(self._intervals) < _FEWEST:
            return None
        shortest = sorted(self._intervals)
        limit = 1.5 * shortest[len(shortest) // 10]
        period = median(interval for interval in shortest if interval <= limit)
        return period if period >= _SHORTEST else None

    def _trusted(self, period: float) -> bool:
        count, periods = len(self._intervals), [interval / period for interval in self._intervals]
        even = sum(1 for ratio in periods if abs(ratio - max(1, round(ratio))) <= _UNEVEN)
        unbroken = sum(1 for ratio in periods if ratio < 1.5)
        bursts = sum(periods) / count * unbroken / count
        return even >= _EVEN * count and bursts <= _BURSTS

    def _gap(self, interval: float, missing: int) -> int:
        if not self._long:
            self._runs.append(self._run)
            self._run = 0
        self._long.append(interval)
        self._pending += missing
        if max(self._long) >= _ALIKE * min(self._long):
            return self._decided()
        if len(self._long) >= _FEWEST:  # a slower camera
            self._intervals = deque(self._long, maxlen=_INTERVALS)
            self._long, self._pending = [], 0
        return 0

    def _no_gap(self) -> int:
        self._run += 1
        self._long = []
        if self._pending and len(self._runs) > 1 and len(set(self._runs)) == 1:
            if len(self._runs) == _RUNS:
                self._pending = 0
            return 0
        return self._decided()

    def _decided(self) -> int:
        found, self._pending = self._pending, 0
        self._long = []
        return found


class LossFigures(NamedTuple):
    """Numbers of missing frames.

    lost: did not arrive, since the start. recently_...: in the last RECENT seconds.
    recently_skipped: were never sent, judging by gaps in the stamps. by_stamps: the middleware
    gives no information, so `lost` is an estimate that includes skipped frames.
    """

    lost: int
    recently_lost: int
    recently_skipped: int
    by_stamps: bool


class Losses:
    """Distinguishes lost frames from those that were overtaken in the middleware's queue.

    Between the first frame of a subscription and the last, by their sequence numbers:
    frames sent = taken + lost + overtaken. What the middleware reports as lost is lost; the rest
    arrived, but was replaced by a newer frame before it was taken. The report may come after the
    next frames, so gaps are settled a moment later. `now` is monotonic time in seconds.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._recent, self._skipped = RecentCount(), RecentCount()
        self._stamps = StampGaps()
        self._reports = False
        self.resumed(False)

    def resumed(self, reports: bool) -> None:
        """Begin a new subscription; reports: whether the middleware will report losses."""
        self._reports = reports
        self._numbers = PublicationNumbers()
        self._numbered = False
        self._stamps.resumed()
        self._total = 0  # that the middleware has reported
        self._used = 0  # of these, how many belong to gaps that are decided
        self._gaps: Deque[Tuple[float, int]] = deque()  # that are not decided: time and frames

    def arrived(
        self, now: float, stamp: int, number: Optional[int], publishers: Callable[[], int]
    ) -> int:
        """Take a frame's stamp (ns) and number; returns how many are now known as overtaken."""
        first = not self._numbered
        missing = 0
        if number is not None:
            self._numbered = True
            missing = self._numbers.missing(number, now, publishers)
        skipped = self._stamps.add(stamp, missing)
        overtaken = self.overtaken(now)
        if first or not (missing or self._gaps):
            self._used = self._total  # what was lost before the first frame is in no gap
        if self._numbered:
            self._skipped.add(now, skipped)
        if not self._reports:
            self._lose(now, missing if self._numbered else skipped)
        elif missing:
            self._gaps.append((now, missing))
        return overtaken

    def reported(self, now: float, total: int) -> None:
        """Take the middleware's own count of lost messages, since the subscription began."""
        self._reports = True
        self._lose(now, total - self._total)
        self._total = max(self._total, total)

    def overtaken(self, now: float) -> int:
        """How many more frames are now known as overtaken, without a further frame."""
        overtaken = 0
        while self._gaps and now - self._gaps[0][0] > _LATE:
            missing = self._gaps.popleft()[1]
            lost = min(missing, self._total - self._used)
            self._used += lost
            overtaken += missing - lost
        return overtaken

    def figures(self, now: float) -> LossFigures:
        """All figures as of now."""
        return LossFigures(
            self.lost,
            self._recent.count(now),
            self._skipped.count(now),
            not (self._numbered or self._reports),
        )

    def _lose(self, now: float, count: int) -> None:
        self.lost += max(0, count)
        self._recent.add(now, count)
