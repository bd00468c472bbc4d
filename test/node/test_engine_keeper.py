"""The engine keeper: bad frames cost themselves, a broken engine is started again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from segformer_ros.engines import EngineError, Pending, Wanted, fake_spec
from segformer_ros.engines.base import GivenUpError
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.node.engine_keeper import FAILURES, EngineKeeper
from segformer_ros.segmentation import Segmentation


class Brittle(FakeEngine):
    """Fails on frames named 'bad', on everything while `broken`, and to start while `dead`."""

    broken = False
    dead = False

    def activate(self) -> None:
        if self.dead:
            raise EngineError('no device')
        super().activate()

    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> list[Segmentation]:
        if self.broken:
            raise RuntimeError('device lost')
        if any(frame.frame_id == 'bad' for frame in frames):
            raise EngineError('cannot take this frame')
        return super().segment(frames, wanted)


class Overlapping(Brittle):
    """Gives up what else was started with frames that fail, as a GPU's memory makes it."""

    era = 0

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        era = self.era

        def finish() -> list[Segmentation]:
            if era != self.era:
                raise GivenUpError('ended with another')
            try:
                return self.segment(frames, wanted)
            except EngineError:
                self.era += 1
                raise

        return finish


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> Brittle:
    return Brittle(fake_spec())


@pytest.fixture
def keeper(engine: Brittle, clock: Clock) -> EngineKeeper:
    keeper = EngineKeeper(engine, clock)
    keeper.open()
    return keeper


def frame(name: str = 'good') -> Frame:
    return Frame.from_array(np.zeros((8, 8, 3), np.uint8), frame_id=name)


def test_one_bad_frame_does_not_cost_the_others_of_its_batch(keeper: EngineKeeper) -> None:
    results = keeper.start([frame(), frame('bad'), frame()], Wanted())()
    assert [type(result) for result in results] == [Segmentation, EngineError, Segmentation]
    assert keeper.retry_in is None


def test_one_bad_frame_does_not_cost_those_that_ended_with_it() -> None:
    keeper = EngineKeeper(Overlapping(fake_spec()))
    keeper.open()
    for _ in range(FAILURES):
        pending = [keeper.start([frame(name)], Wanted()) for name in ('bad', 'good')]
        results = [finish()[0] for finish in pending]
        assert [type(result) for result in results] == [EngineError, Segmentation]
    assert keeper.state.failure == ''


def test_failures_between_good_frames_break_nothing(keeper: EngineKeeper) -> None:
    for _ in range(FAILURES):
        keeper.start([frame('bad')], Wanted())()
        keeper.start([frame()], Wanted())()
    assert keeper.state.failure == ''


def test_errors_of_libraries_are_caught_and_named(engine: Brittle, keeper: EngineKeeper) -> None:
    engine.broken = True
    result = keeper.start([frame()], Wanted())()[0]
    assert isinstance(result, EngineError)
    assert str(result) == 'RuntimeError: device lost'


def test_broken_engine_is_started_again(
    engine: Brittle, keeper: EngineKeeper, clock: Clock
) -> None:
    engine.broken = True
    for _ in range(FAILURES):
        keeper.start([frame()], Wanted())()
    assert '3 frames failed in a row: RuntimeError: device lost' in keeper.state.failure
    assert keeper.retry_in == 1.0
    clock.now = 1.0
    assert keeper.retry_in == 0.0
    engine.broken = False
    assert keeper.revive()
    assert not keeper.retry_in
    assert keeper.state.failure, 'it is only whole again when a frame succeeds'
    keeper.start([frame()], Wanted())()
    assert keeper.state.failure == ''
    assert keeper.state.restarts == 1


def test_waits_double_up_to_half_a_minute(
    engine: Brittle, keeper: EngineKeeper, clock: Clock
) -> None:
    engine.broken = engine.dead = True
    for _ in range(FAILURES):
        keeper.start([frame()], Wanted())()
    waits = []
    for _ in range(7):
        wait = keeper.retry_in
        assert wait is not None
        waits.append(wait)
        clock.now += wait
        assert not keeper.revive()
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert 'cannot be started again: no device' in keeper.state.failure
