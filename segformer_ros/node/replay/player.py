# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Player: sends a source's frames at the right time, and matches the masks that come back."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Condition
from time import monotonic, sleep
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Protocol, Tuple

import numpy as np

from segformer_ros.drivable import PlanarPose
from segformer_ros.errors import SegformerError
from segformer_ros.frame import Frame, Stamp
from segformer_ros.measurement import Percentiles, percentiles
from segformer_ros.node.replay.replay_parameters import ReplaySettings
from segformer_ros.recordings import Source, SourceFrame
from segformer_ros.recordings.source import read_ahead

SILENT_LIMIT = 3
"""Frames in a row without an answer, at rate 0, after which the replay fails."""

LAST_ANSWERS = 1.0
"""Seconds without an answer, at other rates, after which waiting at the end is over."""

SETTLING = 0.1
"""Seconds for other nodes to reset after /clock went back."""

LATEST_END = 10.0
"""Seconds after the final report at which nodes that take down the answers end, whatever is
missing. DDS may need some to send a lost message again."""

PROBLEMS_KEPT = 5

KEPT_IN_FLIGHT = 1000
KEPT_LATENCIES = 100_000
"""Bounds of the memory of an endless replay."""


class ReplayError(SegformerError, RuntimeError):
    """A replay that cannot continue; says why, and what to do."""


class Outgoing(NamedTuple):
    """One frame to publish, with its new stamp."""

    stamp: Stamp
    frame: Frame
    labels: Optional[np.ndarray]
    place: Optional[PlanarPose] = None


class PlayerOutput(Protocol):
    """Where the player sends frames: `ReplayOutput`, or a fake in tests."""

    def publish(self, outgoing: Outgoing) -> None:
        """Send one frame."""

    def tick(self, stamp: Stamp) -> None:
        """Set the clock."""

    def restart(self) -> None:
        """Go back to the start of the recording's transforms."""

    def carry(self, position: int, stamp: int) -> None:
        """Send the transforms up to a time of the recording (ns), which becomes `stamp`."""


class Player:
    """Plays a source once, or in a loop, in the thread that calls `play`.

    Any thread may call `answer` with the stamp (ns) of each mask that comes. say: called with one
    line for the user. now: gives the time of publishing in ns.
    """

    def __init__(
        self,
        source: Source,
        settings: ReplaySettings,
        output: PlayerOutput,
        say: Callable[[str], None],
        now: Callable[[], int],
    ) -> None:
        self._source = source
        self._settings = settings
        self._output = output
        self._say = say
        self._now = now
        self._answers = Answers()
        self._pacer = Pacer(settings.rate, self._tick)
        self._recent: OrderedDict[int, Outgoing] = OrderedDict()
        self._silent = self._count_at_silence = 0
        self._published = self._broken = self._resent = 0
        self._problems: List[str] = []
        self._began = self._over = 0.0
        self._again = False

    def answer(self, stamp: int) -> None:
        """Record the mask of a frame."""
        self._answers.came(stamp)

    def play(self) -> None:
        """Play everything; raises ReplayError if nobody answers."""
        for entry in self._entries():
            self._take(entry)
        if self._settings.rate == 0:
            self._make_room(1)
        else:
            self._answers.wait_for_room(1, LAST_ANSWERS)
        self._over = monotonic()

    def report(self, finished: bool, failure: str = '') -> ReplayReport:
        """Figures of the replay so far."""
        latency, now = self._answers.latency, monotonic()  # an interrupted replay ends now
        return ReplayReport(
            finished=finished,
            entries=self._published + self._broken,
            published=self._published,
            broken=self._broken,
            answered=self._answers.count,
            resent=self._resent,
            seconds=self._over - self._began if self._over else now - (self._began or now),
            latency_p50=latency.p50,
            latency_p99=latency.p99,
            problems=tuple(self._problems),
            failure=failure,
        )

    def _entries(self) -> Iterator[SourceFrame]:
        """Entries of the source, over and over if `loop` is set."""
        while True:
            self._output.restart()
            playable = False
            for entry in read_ahead(self._source.frames()):
                playable = playable or entry.frame is not None
                yield entry
            if not (self._settings.loop and playable):
                return
            self._again = self._settings.clock

    def _take(self, entry: SourceFrame) -> None:
        if entry.error:
            self._say(entry.error)
            if len(self._problems) < PROBLEMS_KEPT:
                self._problems.append(entry.error)
        if entry.frame is None:
            self._broken += 1
            return
        stamp, position = entry.frame.stamp, entry.frame.stamp.ns
        if self._settings.rate == 0:
            self._make_room(self._settings.window)
        if self._again:
            self._again = False
            self._output.tick(stamp)
            sleep(SETTLING)
        self._pacer.wait(position)
        if self._settings.stamps == 'now':
            stamp = Stamp.from_ns(self._now())
        self._output.carry(position, stamp.ns)
        outgoing = Outgoing(stamp, entry.frame, entry.labels, entry.place)
        self._recent[stamp.ns] = outgoing
        while len(self._recent) > self._settings.window:
            self._recent.popitem(last=False)
        self._send(outgoing)
        self._published += 1

    def _send(self, outgoing: Outgoing) -> None:
        self._began = self._began or monotonic()
        self._answers.sent(outgoing.stamp.ns)
        self._output.publish(outgoing)

    def _make_room(self, window: int) -> None:
        """Wait for answers; a frame without one is resent once, and then given up."""
        timeout = self._settings.answer_timeout
        while True:
            overdue = self._answers.wait_for_room(window, timeout)
            if overdue is None:
                return
            name = f'frame {overdue / 1e9:.3f}'
            outgoing = self._recent.pop(overdue, None)
            if outgoing is not None:
                self._say(f'{name}: no answer for {timeout:g} s; it is sent again')
                self._resent += 1
                self._send(outgoing)
            else:
                self._say(f'{name}: no answer; it is given up')
                self._give_up(overdue)

    def _give_up(self, stamp: int) -> None:
        self._answers.give_up(stamp)
        count = self._answers.count
        self._silent = self._silent + 1 if count == self._count_at_silence else 1
        self._count_at_silence = count
        if self._silent >= SILENT_LIMIT:
            raise ReplayError(
                f'no answer to {self._silent} frames in a row; is the consumer active, and its '
                'mask topic the one that is listened to?'
            )

    def _tick(self, position: int) -> None:
        if self._settings.stamps == 'recorded':
            self._output.tick(Stamp.from_ns(position))
            self._output.carry(position, position)
        else:
            self._output.carry(position, self._now())


class Pacer:
    """Waits until frames are due, by their recorded stamps and a rate.

    rate: how many times faster than recorded; 0: no waiting. on_tick: called with the recording's
    time (ns) every `TICK` of waiting, so that a clock can advance between frames. If stamps go
    back, or ahead by more than LONGEST_STEP, the recording's clock was set or it paused: timing
    starts over there.
    """

    TICK = 0.02
    """Seconds between two ticks while waiting."""

    LONGEST_STEP = 60.0
    """Longest step between two frames, in seconds of the recording, that is waited for."""

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
        """Wait until a frame stamped `stamp` (ns) is due."""
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


class Answers:
    """Frames in flight, by their stamps (ns). Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = Condition()
        self._in_flight: Dict[int, float] = {}
        self._milliseconds: Deque[float] = deque(maxlen=KEPT_LATENCIES)
        self._count = 0

    def sent(self, stamp: int) -> None:
        """Record that a frame was sent, for the first time or again."""
        with self._changed:
            # A frame that is sent again moves to the end, and its time starts over.
            self._in_flight.pop(stamp, None)
            self._in_flight[stamp] = self._clock()
            if len(self._in_flight) > KEPT_IN_FLIGHT:
                del self._in_flight[next(iter(self._in_flight))]

    def came(self, stamp: int) -> None:
        """Record an answer; ignored if its frame is not in flight."""
        with self._changed:
            since = self._in_flight.pop(stamp, None)
            if since is not None:
                self._milliseconds.append((self._clock() - since) * 1e3)
                self._count += 1
                self._changed.notify_all()

    def give_up(self, stamp: int) -> None:
        """Stop waiting for a frame's answer."""
        with self._changed:
            self._in_flight.pop(stamp, None)

    def wait_for_room(self, window: int, timeout: float) -> Optional[int]:
        """Wait until fewer than `window` frames are in flight.

        Returns None then; or, after `timeout` seconds without any answer, the stamp of the frame
        that has waited longest.
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
        """Milliseconds from sending a frame to its answer, so far."""
        with self._changed:
            milliseconds = list(self._milliseconds)
        return percentiles(milliseconds)


@dataclass(frozen=True)
class ReplayReport:
    """Figures of one replay, sent as JSON on `replay/report`.

    finished: whether this is the last report. entries: entries of the source so far, published
    plus broken. answered: published frames whose mask came back. resent: frames sent a second time
    for lack of an answer. seconds: from the first frame to the last answer. latency_p50,
    latency_p99: milliseconds from publishing an image to its mask's arrival; NaN without answers.
    problems: the first few faults of entries, in words. failure: why the replay ended early; else
    empty.
    """

    finished: bool = False
    entries: int = 0
    published: int = 0
    broken: int = 0
    answered: int = 0
    resent: int = 0
    seconds: float = 0.0
    latency_p50: float = float('nan')
    latency_p99: float = float('nan')
    problems: Tuple[str, ...] = ()
    failure: str = ''

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ReplayReport:
        """Read a line written by `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, 'problems': tuple(fields['problems'])})
