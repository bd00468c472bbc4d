"""Pacing by the recording's time."""

from __future__ import annotations

import pytest

from segformer_ros.node.pacer import Pacer

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
