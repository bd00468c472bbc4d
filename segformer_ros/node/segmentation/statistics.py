# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Running statistics: rates, ages, losses and faults of a camera, and the time of each stage."""

from __future__ import annotations

from collections import deque
from statistics import median
from threading import Lock
from time import monotonic
from typing import Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Tuple

from segformer_ros.errors import one_line
from segformer_ros.measurement import Percentiles, percentiles
from segformer_ros.node.segmentation.losses import RECENT, Losses, LossFigures, RecentCount

RATE_WINDOW = 5.0
"""Seconds over which a rate is measured."""

REMEMBERED = 300.0
"""Seconds after which the last problem of a camera is forgotten."""

_AGES = 300  # latest masks in the percentiles of ages
_COSTS = 100  # latest frames whose costs are kept
_NOTED = 1000  # most frames that are not evaluated yet


class Rate:
    """Events per second over the last RATE_WINDOW seconds."""

    def __init__(self) -> None:
        self._times: Deque[Tuple[float, int]] = deque()

    def add(self, now: float, count: int = 1) -> None:
        """Count events at a time in seconds."""
        self._times.append((now, count))
        self._forget(now)

    def per_second(self, now: float) -> float:
        """Events per second up to now; 0 with fewer than two times in the window."""
        self._forget(now)
        if len(self._times) < 2:
            return 0.0
        (first, before), (last, _) = self._times[0], self._times[-1]
        return (sum(count for _, count in self._times) - before) / max(last - first, 1e-9)

    def _forget(self, now: float) -> None:
        while self._times and self._times[0][0] < now - RATE_WINDOW:
            self._times.popleft()


STAGES = ('engine', 'labels', 'publishing')


class Pace:
    """Predicts when the next frame is due, from the stages' recent times. In monotonic seconds.

    A stage counts from its third time on: an engine's first frames are often slow.
    """

    def __init__(self) -> None:
        self._times: Dict[str, Deque[float]] = {name: deque(maxlen=9) for name in STAGES}
        self._usual = dict.fromkeys(STAGES, 0.0)
        self._published = 0.0
        self.free = 0.0
        """When the engine will have finished what was started."""
        self.due = 0.0
        """When the next frame should arrive, to wait neither for the engine nor for publishing."""

    def started(self) -> None:
        """Record that frames were given to the engine."""
        usual = self._usual
        self.free = max(monotonic(), self.free) + usual['engine']
        ready = self.free + usual['labels']
        self._published = max(self._published, ready) + usual['publishing']
        self.due = max(self.free, self._published - usual['engine'] - usual['labels'])

    def took(self, stage: str, seconds: float) -> None:
        """Record the time that a stage took."""
        self._times[stage].append(seconds)
        if len(self._times[stage]) > 2:
            self._usual[stage] = median(self._times[stage])
        if stage == 'publishing':
            self._published = monotonic()
            self.due = self.free


class CameraFigures(NamedTuple):
    """Snapshot of one camera's figures.

    rate_in, rate_out: frames per second received and segmented. age: publication minus stamp.
    recently_...: in the last RECENT seconds. recently_received: including overtaken frames.
    silence: seconds since the last frame, None if none has come yet. costs: seconds of each stage
    and output, median over the latest frames that had it. problem_age: seconds since the last
    frame without a mask. recently_valid, recently_invalid: published drivable areas;
    invalid_reason: of the last invalid one.
    """

    rate_in: float
    rate_out: float
    age: Percentiles
    losses: LossFigures
    recently_received: int
    silence: Optional[float]
    costs: Mapping[str, float] = {}
    last_problem: str = ''
    problem_age: float = float('inf')
    recently_valid: int = 0
    recently_invalid: int = 0
    invalid_reason: str = ''

    @property
    def recent_problem(self) -> bool:
        """Whether a frame gave no mask in the last RECENT seconds."""
        return self.problem_age < RECENT


class _Arrival(NamedTuple):
    """A received image; see `CameraStatistics.arrived`."""

    now: float
    stamp: int
    number: Optional[int]
    publishers_then: int

    def publishers(self) -> int:
        """How many publishers the topic had then."""
        return self.publishers_then


class CameraStatistics:
    """Collects one camera's figures from the executor's and the worker's thread.

    Frames are only recorded on arrival, and evaluated when figures are requested. `now` is
    monotonic time in seconds throughout.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._noted: Deque[_Arrival] = deque()
        self._number: Optional[int] = None
        self._overtaken = 0
        self._arrivals = Rate()
        self._received, self._valid, self._invalid = RecentCount(), RecentCount(), RecentCount()
        self._masks: Deque[Tuple[float, float]] = deque(maxlen=_AGES)  # time and age, in seconds
        self._costs: Deque[Mapping[str, float]] = deque(maxlen=_COSTS)
        self._losses = Losses()
        self.last_arrival: Optional[float] = None
        """When the last frame was received; None if none has come yet."""
        self._problem = self._invalid_reason = ''
        self._problem_time = float('-inf')

    def resumed(self, reports: bool = False) -> None:
        """Record that images are taken again: those in between were not lost.

        reports: whether the middleware will report losses.
        """
        with self._lock:
            self._evaluate()
            self._losses.resumed(reports)

    def arrived(
        self,
        now: float,
        stamp: int,
        number: Optional[int] = None,
        publishers: Callable[[], int] = lambda: 1,
    ) -> bool:
        """Record a received frame; returns whether skipped ones after it will show by number.

        stamp: nanoseconds. number: the middleware's sequence number. publishers: how many the
        topic has; called only if numbers are not consecutive.
        """
        with self._lock:
            last, self._number = self._number, number
            numbered = last is not None and number is not None
            count = 1 if last is None or number in (None, last + 1) else publishers()
            self._noted.append(_Arrival(now, stamp, number, count))
            self.last_arrival = now
            if len(self._noted) > _NOTED:
                self._evaluate()
            return numbered and count == 1

    def overtaken(self, now: float) -> int:
        """How many more frames are known as overtaken since the last call."""
        with self._lock:
            self._evaluate()
            overtaken = self._losses.overtaken(now)
            self._received.add(now, overtaken)
            overtaken, self._overtaken = overtaken + self._overtaken, 0
            return overtaken

    def lost_in_transport(self, now: float, total: int) -> None:
        """Take the middleware's own count of lost messages since the subscription began."""
        with self._lock:
            self._evaluate()
            self._losses.reported(now, total)

    def published(self, now: float, age: float, costs: Mapping[str, float]) -> None:
        """Count a published mask with its age in seconds.

        costs: seconds of each stage and output; later outputs may still be added to it.
        """
        with self._lock:
            self._masks.append((now, age))
            self._costs.append(costs)

    def area_published(self, now: float, fault: str) -> None:
        """Count a published drivable area; fault: why it is not valid, empty if it is."""
        with self._lock:
            (self._invalid if fault else self._valid).add(now, 1)
            self._invalid_reason = fault or self._invalid_reason

    def problem(self, now: float, reason: str) -> None:
        """Remember why a frame gave no mask."""
        with self._lock:
            self._problem, self._problem_time = one_line(reason), now

    def snapshot(self, now: float) -> CameraFigures:
        """All figures as of now."""
        with self._lock:
            self._evaluate()
            if now - self._problem_time > REMEMBERED:
                self._problem = ''
            masks = Rate()
            for time, _ in self._masks:
                masks.add(time)
            return CameraFigures(
                rate_in=self._arrivals.per_second(now),
                rate_out=masks.per_second(now),
                age=percentiles([age for _, age in self._masks]),
                costs=self._usual_costs(),
                losses=self._losses.figures(now),
                recently_received=self._received.count(now),
                silence=None if self.last_arrival is None else now - self.last_arrival,
                last_problem=self._problem,
                problem_age=now - self._problem_time,
                recently_valid=self._valid.count(now),
                recently_invalid=self._invalid.count(now),
                invalid_reason=self._invalid_reason,
            )

    def _usual_costs(self) -> Dict[str, float]:
        by_name: Dict[str, List[float]] = {}
        for costs in self._costs:
            for name, seconds in tuple(costs.items()):
                by_name.setdefault(name, []).append(seconds)
        return {name: median(seconds) for name, seconds in by_name.items()}

    def _evaluate(self) -> None:
        """Count the frames that were recorded."""
        while self._noted:
            frame = self._noted.popleft()
            overtaken = self._losses.arrived(
                frame.now, frame.stamp, frame.number, frame.publishers
            )
            self._arrivals.add(frame.now, 1 + overtaken)
            self._received.add(frame.now, 1 + overtaken)
            self._overtaken += overtaken
