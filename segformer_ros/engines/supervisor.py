# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Supervisor: keeps one engine running through bad frames and broken devices."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from time import monotonic, sleep
from typing import (
    Callable,
    Deque,
    Dict,
    Generator,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from segformer_ros.engines.engine import (
    BrokenError,
    Engine,
    EngineError,
    GivenUpError,
    Outcome,
    Pending,
    Wanted,
)
from segformer_ros.frame import Frame, Segmentation

FAILURES = 3
"""Calls that fail one after another before the engine counts as broken."""

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
"""Seconds of the back-off: each pause is twice the one before, from the first to the longest."""

ATTEMPTS = 6
"""How often in a row, without a frame segmented between, a stream waits for a broken engine."""

Outcomes = Callable[[], List[Outcome]]
"""Frames under way: to be called once, for one Outcome each. Raises nothing."""


class EngineState(NamedTuple):
    """How the engine is, for diagnostics.

    failure: why it is broken, in words; empty where it is not. restarts: how often it was started
    again with success.
    """

    failure: str
    restarts: int
    facts: Dict[str, str]


class Supervisor:
    """Runs an engine in the one thread that calls it; `state` may be read from any thread.

    A call that fails costs its own frames only. An engine that says that it is broken, or fails
    FAILURES calls in a row, is left alone until it was started again by `revive`; the pause before
    that doubles with each attempt, until a frame is segmented.

    clock: seconds, never going back.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._failures = 0
        self.broken = False
        """Whether the engine is left alone until it is revived."""
        self.overlaps = False
        """Whether the engine works on what was started while the caller does other things."""
        self.at_once = 1
        """How many frames that were started one by one the engine works on at the same time."""
        self.together = 1
        """Most frames in one call that the engine gains from."""
        self._pause = FIRST_WAIT
        self._due = 0.0
        self._waits = 0
        self._state = EngineState('', 0, {})

    @property
    def state(self) -> EngineState:
        """How the engine is."""
        return self._state

    @property
    def retry_in(self) -> Optional[float]:
        """Seconds until a broken engine is to be revived; None where it runs."""
        return max(0.0, self._due - self._clock()) if self.broken else None

    def open(self) -> None:
        """Start the engine; raises what it raises."""
        self._activate()
        self._state = EngineState('', self._state.restarts, self._engine.facts())

    def close(self) -> None:
        """Stop the engine for good."""
        self._engine.deactivate()

    def revive(self) -> bool:
        """Try to start a broken engine again; tell whether it runs."""
        try:
            self._engine.deactivate()
            self._activate()
        except Exception as error:
            self._break(f'cannot be started again: {_words(error)}')
            return False
        self._failures = 0
        self.broken = False
        # `failure` stays until the first frame is segmented.
        failure, restarts, _ = self._state
        self._state = EngineState(failure, restarts + 1, self._engine.facts())
        return True

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Outcomes:
        """Start segmenting frames; returns the callable that gives each one's result or error.

        More frames may be started before these results are taken; results are taken in the order
        of the starts.
        """
        try:
            pending = self._begin(frames, wanted)
        except Exception as error:  # whatever a library raises must not end the caller
            pending = partial(_raise, error)
        return partial(self._finish, frames, wanted, pending)

    def stream(
        self, frames: Iterable[Frame], wanted: Wanted = Wanted()
    ) -> Generator[Outcome, None, None]:
        """Segment frames as they are read; one Outcome each, in order, one group behind.

        They go in groups of the engine's `max_batch`, each started before the results of the one
        ahead are taken. A broken engine is waited for, ATTEMPTS times at the most.
        """
        left = iter(frames)
        under_way: Deque[Tuple[Sequence[Frame], Outcomes]] = deque()
        try:
            while True:
                group = list(islice(left, self._engine.max_batch or 1))
                if group:
                    under_way.append((group, self.start(group, wanted)))
                if not under_way:
                    return
                if len(under_way) > 1 or not group:
                    started, finish = under_way.popleft()
                    for frame, outcome in zip(started, finish()):
                        yield self._retried(frame, outcome, wanted)
        finally:
            for _, finish in under_way:  # the caller stopped early: leave the engine idle
                finish()

    def _activate(self) -> None:
        self._engine.activate()
        engine = self._engine
        self.overlaps, self.at_once = engine.overlaps, engine.at_once
        self.together = engine.max_batch or 1

    def _retried(self, frame: Frame, outcome: Outcome, wanted: Wanted) -> Outcome:
        """The outcome of a frame, tried again as long as other frames' errors drop it."""
        while isinstance(outcome, GivenUpError) and self._wait_until_running():
            (outcome,) = self.start([frame], wanted)()
        return outcome

    def _wait_until_running(self) -> bool:
        """Wait until a broken engine runs; False after too many waits."""
        while self.broken:
            if self._waits == ATTEMPTS:
                return False
            self._waits += 1
            sleep(max(0.0, self._due - self._clock()))
            self.revive()
        return True

    def _begin(self, frames: Sequence[Frame], wanted: Wanted) -> Pending:
        if self.broken:
            raise GivenUpError(
                f'the engine is broken ({self._state.failure}); the frame is dropped'
            )
        return self._engine.start(frames, wanted)

    def _finish(self, frames: Sequence[Frame], wanted: Wanted, pending: Pending) -> List[Outcome]:
        try:
            results = pending()
        except Exception as error:
            if isinstance(error, BrokenError):
                self._break(str(error))
            # One bad frame must not cost the others: of its own call, or under way with it.
            if len(frames) > 1 or isinstance(error, GivenUpError):
                return [self._alone(frame, wanted) for frame in frames]
            return [self._failed(error)]
        self._succeeded()
        return list(results)

    def _alone(self, frame: Frame, wanted: Wanted) -> Outcome:
        try:
            (result,) = self._begin([frame], wanted)()
        except Exception as error:
            if isinstance(error, BrokenError):
                self._break(str(error))
            return self._failed(error)
        self._succeeded()
        return result

    def _succeeded(self) -> None:
        if self._state.failure:
            self._state = self._state._replace(failure='')
        self._failures = self._waits = 0
        self._pause = FIRST_WAIT

    def _failed(self, error: Exception) -> EngineError:
        if not self.broken:
            self._failures += 1
            if self._failures >= FAILURES:
                self._break(f'{self._failures} frames failed in a row: {_words(error)}')
        return error if isinstance(error, EngineError) else EngineError(_words(error))

    def _break(self, failure: str) -> None:
        """Leave the engine alone for a pause; the one after it is longer."""
        self.broken = True
        self._due = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_WAIT)
        self._state = EngineState(failure, self._state.restarts, self._state.facts)


def _raise(error: Exception) -> List[Segmentation]:
    raise error


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, EngineError) else f'{type(error).__name__}: {error}'
