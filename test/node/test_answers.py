"""Answers to frames in flight."""

from __future__ import annotations

import math
from threading import Timer

import pytest

from segformer_ros.node.answers import KEPT_IN_FLIGHT, Answers


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
