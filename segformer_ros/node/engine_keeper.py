"""Engine keeper: keeps one engine running through bad frames and broken devices."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from segformer_ros.engines import Engine, EngineError, Outcome, Pending, Wanted
from segformer_ros.engines.backoff import Backoff
from segformer_ros.engines.base import GivenUpError
from segformer_ros.frame import Frame
from segformer_ros.segmentation import Segmentation

FAILURES = 3
"""Calls that fail one after another before the engine counts as broken."""


class EngineState(NamedTuple):
    """How the engine is, for diagnostics.

    failure: why it is broken, in words; empty where it is not. restarts: how often it was started
    again with success.
    """

    failure: str
    restarts: int
    facts: Dict[str, str]


class EngineKeeper:
    """Runs an engine in the one thread that calls it; `state` may be read from any thread.

    A call that fails costs its own frames only. After FAILURES calls in a row the engine is
    stopped, and started again after a wait that doubles with each attempt that fails.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engine = engine
        self._backoff = Backoff(clock)
        self._failures = 0
        self._broken = False
        self._state = EngineState('', 0, {})

    @property
    def state(self) -> EngineState:
        """How the engine is."""
        return self._state

    @property
    def retry_in(self) -> Optional[float]:
        """Seconds until a broken engine is started again; None where it runs."""
        return self._backoff.remaining if self._broken else None

    def open(self) -> None:
        """Start the engine; raises what it raises."""
        self._engine.activate()
        self._state = EngineState('', self._state.restarts, self._engine.facts())

    def close(self) -> None:
        """Stop the engine for good."""
        self._engine.deactivate()

    def revive(self) -> bool:
        """Try to start a broken engine again; tell whether it runs."""
        try:
            self._engine.deactivate()
            self._engine.activate()
        except Exception as error:
            self._break(f'cannot be started again: {_words(error)}')
            return False
        self._failures = 0
        self._broken = False
        # It counts as whole again with its first frame.
        failure, restarts, _ = self._state
        self._state = EngineState(failure, restarts + 1, self._engine.facts())
        return True

    @property
    def overlaps(self) -> bool:
        """Whether the engine works on what was started while the caller does other things."""
        return self._engine.overlaps

    def start(self, frames: Sequence[Frame], wanted: Wanted) -> Callable[[], List[Outcome]]:
        """Start segmenting frames; what to call for each one's Segmentation or error."""
        try:
            pending = self._engine.start(frames, wanted)
        except Exception as error:  # a library's own kind must not end the node
            pending = partial(_raise, error)
        return partial(self._finish, frames, wanted, pending)

    def _finish(self, frames: Sequence[Frame], wanted: Wanted, pending: Pending) -> List[Outcome]:
        try:
            results = pending()
        except Exception as error:
            # One bad frame must not cost the others: of its own call, or under way with it.
            if len(frames) > 1 or isinstance(error, GivenUpError):
                return [self._alone(frame, wanted) for frame in frames]
            return [self._failed(error)]
        self._succeeded()
        return list(results)

    def _alone(self, frame: Frame, wanted: Wanted) -> Outcome:
        try:
            (result,) = self._engine.segment([frame], wanted)
        except Exception as error:
            return self._failed(error)
        self._succeeded()
        return result

    def _succeeded(self) -> None:
        if self._state.failure:
            self._state = self._state._replace(failure='')
        self._failures = 0
        self._backoff.reset()

    def _failed(self, error: Exception) -> EngineError:
        self._failures += 1
        if self._failures >= FAILURES and not self._broken:
            self._break(f'{self._failures} frames failed in a row: {_words(error)}')
        return error if isinstance(error, EngineError) else EngineError(_words(error))

    def _break(self, failure: str) -> None:
        self._broken = True
        self._backoff.pause()
        self._state = EngineState(failure, self._state.restarts, self._state.facts)


def _raise(error: Exception) -> List[Segmentation]:
    raise error


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, EngineError) else f'{type(error).__name__}: {error}'
