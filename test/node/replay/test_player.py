# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Playing a source to a consumer that answers, or does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer
from time import monotonic

import pytest
import recordings as rec

from segformer_ros.frame import Stamp
from segformer_ros.node.replay.player import (
    KEPT_IN_FLIGHT,
    Answers,
    Outgoing,
    Pacer,
    Player,
    ReplayError,
    ReplayReport,
)
from segformer_ros.node.replay.replay_parameters import ReplaySettings
from segformer_ros.recordings import open_source
from segformer_ros.recordings.source import FIRST_STAMP_NS

FAST = ReplaySettings(rate=0.0, stamps='recorded', answer_timeout=0.1)
STEP = 100_000_000


class Consumer:
    """Takes frames in and answers as it is told, at once."""

    def __init__(
        self, source: Path, settings: ReplaySettings, answers: Callable[[int, int], bool]
    ) -> None:
        self.stamps: list[int] = []
        self.ticks: list[Stamp] = []
        self.carried: list[tuple[int, int]] = []
        self.rounds = 0
        self.said: list[str] = []
        self._answers = answers
        self.player = Player(open_source(source), settings, self, self.said.append, lambda: 77)

    def publish(self, outgoing: Outgoing) -> None:
        """Answer the n-th sending of a stamp as wished."""
        stamp = outgoing.stamp.ns
        self.stamps.append(stamp)
        place = (stamp - FIRST_STAMP_NS) // STEP
        if self._answers(place, self.stamps.count(stamp)):
            self.player.answer(stamp)

    def tick(self, stamp: Stamp) -> None:
        """Note the clock."""
        self.ticks.append(stamp)

    def restart(self) -> None:
        """Count the rounds."""
        self.rounds += 1

    def carry(self, position: int, stamp: int) -> None:
        """Note how far transforms may come."""
        self.carried.append((position, stamp))


def stamps(*places: int) -> list[int]:
    """Stamps of frames at 10 Hz."""
    return [FIRST_STAMP_NS + place * STEP for place in places]


def test_all_frames_are_sent_and_answered(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 5)
    consumer = Consumer(clip, FAST, lambda place, time: True)
    consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 2, 3, 4)
    report = consumer.player.report(finished=True)
    assert (report.entries, report.published, report.answered) == (5, 5, 5)
    assert (report.resent, report.broken, report.failure) == (0, 0, '')
    assert 0.0 <= report.latency_p50 <= 1000.0 * report.seconds


def test_an_interrupted_play_has_lasted_until_now(tmp_path: Path) -> None:
    def interrupt(place: int, time: int) -> bool:
        if place == 2:
            raise KeyboardInterrupt
        return True

    clip = rec.write_folder(tmp_path / 'clip', 5)
    consumer, began = Consumer(clip, FAST, interrupt), monotonic()
    assert consumer.player.report(finished=True).seconds == 0.0
    with pytest.raises(KeyboardInterrupt):
        consumer.player.play()
    assert 0.0 < consumer.player.report(finished=True).seconds <= monotonic() - began


def test_a_lost_frame_is_sent_once_more(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    consumer = Consumer(clip, FAST, lambda place, time: place != 1 or time == 2)
    consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 1, 2)
    report = consumer.player.report(finished=True)
    assert (report.published, report.answered, report.resent) == (3, 3, 1)
    assert consumer.said == ['frame 1.100: no answer for 0.1 s; it is sent again']


def test_a_frame_that_is_never_answered_is_given_up(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    consumer = Consumer(clip, FAST, lambda place, time: place != 2)
    consumer.player.play()
    report = consumer.player.report(finished=True)
    assert (report.published, report.answered, report.resent) == (3, 2, 1)
    assert consumer.said[-1] == 'frame 1.200: no answer; it is given up'


def test_nobody_answering_ends_the_play(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 10)
    consumer = Consumer(clip, FAST, lambda place, time: False)
    with pytest.raises(ReplayError, match='no answer to 3 frames in a row'):
        consumer.player.play()
    assert consumer.stamps == stamps(0, 0, 1, 1, 2, 2)


def test_a_broken_entry_is_counted_and_named(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    (clip / 'frame1.png').write_bytes(b'')
    consumer = Consumer(clip, FAST, lambda place, time: True)
    consumer.player.play()
    report = consumer.player.report(finished=True)
    assert (report.entries, report.published, report.broken) == (3, 2, 1)
    assert consumer.stamps == stamps(0, 2)
    assert report.problems == tuple(consumer.said)
    assert 'frame1.png' in report.problems[0]


def test_a_source_of_broken_entries_is_not_looped(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    for image in clip.iterdir():
        image.write_bytes(b'')
    consumer = Consumer(clip, replace(FAST, loop=True), lambda place, time: True)
    consumer.player.play()
    assert len(consumer.said) == consumer.player.report(finished=True).broken == 2


def test_stamps_may_be_the_time_of_publishing(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    consumer = Consumer(clip, replace(FAST, stamps='now'), lambda place, time: True)
    consumer.player.play()
    assert consumer.stamps == [77, 77]


@pytest.mark.parametrize('clock', [True, False])
def test_a_loop_begins_anew_with_its_stamps_and_clock(tmp_path: Path, clock: bool) -> None:
    """As `ros2 bag play --loop` does."""

    class Enough(Exception):
        """Ends the endless play."""

    clip = rec.write_folder(tmp_path / 'clip', 3)

    def answer(place: int, time: int) -> bool:
        if time == 3:
            raise Enough
        return True

    consumer = Consumer(clip, replace(FAST, loop=True, clock=clock), answer)
    with pytest.raises(Enough):
        consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 2, 0, 1, 2, 0)
    assert consumer.rounds == 3
    # The clock goes back before anything of the next round comes.
    assert [tick.ns for tick in consumer.ticks] == (stamps(0, 0) if clock else [])


@pytest.mark.parametrize('how', ['recorded', 'now'])
def test_transforms_come_with_the_frames_and_between_them(tmp_path: Path, how: str) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    consumer = Consumer(clip, replace(FAST, rate=1.0, stamps=how), lambda place, time: True)
    consumer.player.play()
    positions = [position for position, _ in consumer.carried]
    assert positions == sorted(positions)
    assert set(stamps(0, 1, 2)) < set(positions)
    for position, stamp in consumer.carried:
        assert stamp == (77 if how == 'now' else position)


def test_at_other_rates_nobody_is_waited_for(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 4)
    settings = replace(FAST, rate=20.0)
    consumer = Consumer(clip, settings, lambda place, time: place == 3)
    consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 2, 3)
    report = consumer.player.report(finished=True)
    assert (report.published, report.answered, report.resent) == (4, 1, 0)


SECOND = 1_000_000_000
START = 50 * SECOND


class World:
    """A clock that goes on only when somebody rests."""

    def __init__(self, rate: float) -> None:
        self.now = 100.0
        self.ticks: list[int] = []
        self.pacer = Pacer(rate, self.ticks.append, clock=lambda: self.now, rest=self.rest)

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def frame(self, seconds: float) -> float:
        """Play a frame recorded `seconds` after the first; when it was let go."""
        self.pacer.wait(START + round(seconds * SECOND))
        return self.now - 100.0


@pytest.mark.parametrize(('rate', 'expected'), [(1.0, 0.1), (2.0, 0.05), (0.5, 0.2)])
def test_frames_come_at_the_recorded_pace_times_the_rate(rate: float, expected: float) -> None:
    world = World(rate)
    assert world.frame(0.0) == 0.0
    assert world.frame(0.1) == pytest.approx(expected)
    assert world.frame(0.3) == pytest.approx(3 * expected)


def test_a_late_frame_is_not_held_back_and_the_pace_is_kept() -> None:
    world = World(1.0)
    world.frame(0.0)
    world.now += 0.25
    assert world.frame(0.1) == pytest.approx(0.25)
    assert world.frame(0.3) == pytest.approx(0.3)


def test_a_stamp_that_goes_back_is_played_at_once() -> None:
    world = World(1.0)
    world.frame(1.0)
    assert world.frame(0.0) == 0.0


def test_the_clock_goes_on_between_frames() -> None:
    world = World(2.0)
    world.frame(0.0)
    world.frame(0.2)
    assert world.ticks[0] == START
    steps = {round((b - a) / 1e6) for a, b in zip(world.ticks, world.ticks[1:], strict=False)}
    assert steps == {40}
    assert world.ticks[-1] <= START + 0.2 * SECOND


def test_rate_zero_holds_nothing_back() -> None:
    world = World(0.0)
    world.frame(0.0)
    assert world.frame(100.0) == 0.0
    assert world.ticks == []


def test_the_pace_begins_anew_where_the_clock_was_set() -> None:
    """First frames stamped before the clock was set, then by the true time."""
    world = World(1.0)
    assert [round(world.frame(at), 6) for at in (0.0, 0.1)] == [0.0, 0.1]
    assert world.frame(1.7e9) == pytest.approx(0.1)
    assert world.frame(1.7e9 + 0.2) == pytest.approx(0.3)
    assert world.frame(50.0) == pytest.approx(0.3)
    assert world.frame(50.1) == pytest.approx(0.4)


def test_a_pause_of_the_recording_is_kept() -> None:
    world = World(1.0)
    world.frame(0.0)
    assert world.frame(30.0) == pytest.approx(30.0)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_latency_is_from_sending_to_the_answer() -> None:
    clock = Clock()
    answers = Answers(clock)
    assert math.isnan(answers.latency.p50)
    for stamp, seconds in ((1, 0.010), (2, 0.030)):
        answers.sent(stamp)
        clock.now += seconds
        answers.came(stamp)
    assert answers.count == 2
    assert answers.latency.p50 == pytest.approx(20.0)
    assert answers.latency.p99 == pytest.approx(30.0, abs=0.5)


def test_an_answer_to_nothing_is_not_counted() -> None:
    answers = Answers()
    answers.sent(1)
    answers.came(1)
    answers.came(1)
    answers.came(99)
    assert answers.count == 1


def test_a_frame_sent_again_counts_from_then_and_is_overdue_last() -> None:
    clock = Clock()
    answers = Answers(clock)
    answers.sent(1)
    clock.now = 5.0
    answers.sent(2)
    answers.sent(1)
    assert answers.wait_for_room(1, timeout=0.01) == 2
    clock.now = 5.5
    answers.came(1)
    assert answers.latency.p50 == pytest.approx(500.0)


def test_there_is_room_until_the_window_is_full() -> None:
    answers = Answers()
    answers.sent(1)
    assert answers.wait_for_room(2, timeout=0.01) is None
    answers.sent(2)
    assert answers.wait_for_room(2, timeout=0.01) == 1
    answers.give_up(1)
    assert answers.wait_for_room(2, timeout=0.01) is None


def test_an_answer_makes_room_at_once() -> None:
    answers = Answers()
    answers.sent(7)
    Timer(0.05, answers.came, (7,)).start()
    assert answers.wait_for_room(1, timeout=30.0) is None


def test_what_is_never_answered_does_not_pile_up() -> None:
    answers = Answers()
    for stamp in range(KEPT_IN_FLIGHT + 10):
        answers.sent(stamp)
    answers.came(3)
    assert answers.count == 0
    answers.came(KEPT_IN_FLIGHT)
    assert answers.count == 1


def test_a_report_survives_the_wire() -> None:
    report = ReplayReport(
        finished=True,
        entries=3,
        published=2,
        broken=1,
        answered=2,
        seconds=1.5,
        latency_p50=10.0,
        latency_p99=20.0,
        problems=('frame 1: truncated',),
    )
    assert ReplayReport.from_json(report.to_json()) == report
