# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The supervisor: bad frames cost themselves, a broken engine is started again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from segformer_ros.engines import EngineError, Pending, Wanted, fake_spec
from segformer_ros.engines.engine import BrokenError, GivenUpError
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.engines.supervisor import FAILURES, Supervisor
from segformer_ros.frame import Frame, Segmentation


class Brittle(FakeEngine):
    """Fails on frames named 'bad', on everything while `broken`, and to start while `dead`."""

    broken = False
    dead = False

    def activate(self) -> None:
        if self.dead:
            raise EngineError('no device')
        super().activate()

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        return partial(self.work, frames, wanted)

    def work(self, frames: Sequence[Frame], wanted: Wanted) -> list[Segmentation]:
        if self.broken:
            raise RuntimeError('device lost')
        if any(frame.frame_id == 'bad' for frame in frames):
            raise EngineError('cannot take this frame')
        return super().start(frames, wanted)()


class Overlapping(Brittle):
    """Gives up what else was started with frames that fail, as a GPU's memory makes it."""

    era = 0

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        era = self.era

        def finish() -> list[Segmentation]:
            if era != self.era:
                raise GivenUpError('ended with another')
            try:
                return self.work(frames, wanted)
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
def supervisor(engine: Brittle, clock: Clock) -> Supervisor:
    supervisor = Supervisor(engine, clock)
    supervisor.open()
    return supervisor


def frame(name: str = 'good') -> Frame:
    return Frame.from_array(np.zeros((8, 8, 3), np.uint8), frame_id=name)


def test_one_bad_frame_does_not_cost_the_others_of_its_batch(supervisor: Supervisor) -> None:
    results = supervisor.start([frame(), frame('bad'), frame()], Wanted())()
    assert [type(result) for result in results] == [Segmentation, EngineError, Segmentation]
    assert supervisor.retry_in is None


def test_one_bad_frame_does_not_cost_those_that_ended_with_it() -> None:
    supervisor = Supervisor(Overlapping(fake_spec()))
    supervisor.open()
    for _ in range(FAILURES):
        pending = [supervisor.start([frame(name)], Wanted()) for name in ('bad', 'good')]
        results = [finish()[0] for finish in pending]
        assert [type(result) for result in results] == [EngineError, Segmentation]
    assert supervisor.state.failure == ''


def test_failures_between_good_frames_break_nothing(supervisor: Supervisor) -> None:
    for _ in range(FAILURES):
        supervisor.start([frame('bad')], Wanted())()
        supervisor.start([frame()], Wanted())()
    assert supervisor.state.failure == ''


def test_errors_of_libraries_are_caught_and_named(engine: Brittle, supervisor: Supervisor) -> None:
    engine.broken = True
    result = supervisor.start([frame()], Wanted())()[0]
    assert isinstance(result, EngineError)
    assert str(result) == 'RuntimeError: device lost'


def test_broken_engine_is_started_again(
    engine: Brittle, supervisor: Supervisor, clock: Clock
) -> None:
    engine.broken = True
    for _ in range(FAILURES):
        supervisor.start([frame()], Wanted())()
    assert '3 frames failed in a row: RuntimeError: device lost' in supervisor.state.failure
    assert supervisor.retry_in == 1.0
    clock.now = 1.0
    assert supervisor.retry_in == 0.0
    engine.broken = False
    assert supervisor.revive()
    assert not supervisor.retry_in
    assert supervisor.state.failure, 'it is only whole again when a frame succeeds'
    supervisor.start([frame()], Wanted())()
    assert supervisor.state.failure == ''
    assert supervisor.state.restarts == 1


def test_waits_double_up_to_half_a_minute(
    engine: Brittle, supervisor: Supervisor, clock: Clock
) -> None:
    engine.broken = engine.dead = True
    for _ in range(FAILURES):
        supervisor.start([frame()], Wanted())()
    waits = []
    for _ in range(7):
        wait = supervisor.retry_in
        assert wait is not None
        waits.append(wait)
        clock.now += wait
        assert not supervisor.revive()
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert 'cannot be started again: no device' in supervisor.state.failure


class Losing(Brittle):
    """Loses its device with a frame named 'lethal', and all that was started with it."""

    lost = False

    def activate(self) -> None:
        super().activate()
        self.lost = False

    def work(self, frames: Sequence[Frame], wanted: Wanted) -> list[Segmentation]:
        if self.lost:
            raise GivenUpError('the device was lost meanwhile')
        if any(frame.frame_id == 'lethal' for frame in frames):
            self.lost = True
            raise BrokenError('the device is lost')
        return super().work(frames, wanted)


def test_a_lost_device_is_left_alone_at_once(clock: Clock) -> None:
    supervisor = Supervisor(Losing(fake_spec()), clock)
    supervisor.open()
    assert isinstance(supervisor.start([frame('lethal')])()[0], BrokenError)
    assert 'the device is lost' in supervisor.state.failure
    assert supervisor.retry_in == 1.0
    (outcome,) = supervisor.start([frame()])()
    assert isinstance(outcome, GivenUpError)
    assert 'the engine is broken (the device is lost)' in str(outcome)
    assert supervisor.revive()
    assert isinstance(supervisor.start([frame()])()[0], Segmentation)
    assert supervisor.state.failure == ''


def test_a_stream_waits_for_a_lost_device(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds

    monkeypatch.setattr('segformer_ros.engines.supervisor.sleep', sleep)
    supervisor = Supervisor(Losing(fake_spec()), clock)
    supervisor.open()
    names = ['good', 'lethal', *['good'] * 4, 'lethal', 'good']
    outcomes = list(supervisor.stream(frame(name) for name in names))
    lost = [isinstance(outcome, EngineError) for outcome in outcomes]
    assert lost == [name == 'lethal' for name in names]
    assert waits == [1.0, 1.0]


def test_a_stream_does_not_wait_for_ever(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr('segformer_ros.engines.supervisor.sleep', sleep)
    engine = Losing(fake_spec())
    supervisor = Supervisor(engine, clock)
    supervisor.open()
    engine.dead = True
    outcomes = list(supervisor.stream([frame('lethal'), *[frame() for _ in range(20)]]))
    assert len(outcomes) == 21
    assert all(isinstance(outcome, EngineError) for outcome in outcomes)
    assert 20 < clock.now < 120


def test_a_stream_that_is_left_leaves_nothing_under_way() -> None:
    class Counting(FakeEngine):
        open_calls = 0

        def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
            self.open_calls += 1
            finish = super().start(frames, wanted)

            def counted() -> list[Segmentation]:
                self.open_calls -= 1
                return finish()

            return counted

    engine = Counting(fake_spec())
    supervisor = Supervisor(engine)
    supervisor.open()
    stream = supervisor.stream(frame() for _ in range(5))
    next(stream)
    stream.close()
    assert engine.open_calls == 0
