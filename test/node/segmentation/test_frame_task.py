# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames that wait: their order, who hands them on, and the end of waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from segformer_ros.node.segmentation.frame_task import MOST, LateFrames


class Hand:
    """Hands numbers on while they are at most `limit`; `last` or errors as told."""

    def __init__(self) -> None:
        self.limit = 0
        self.gone: list[tuple[int, str]] = []
        self.forced: list[int] = []
        self.faulty: set[int] = set()
        self.errors: list[Exception] = []
        self.late = LateFrames[int](self.hand_on, self.errors.append)

    def hand_on(self, frame: int, last: bool) -> bool:
        if frame in self.faulty:
            self.faulty.remove(frame)
            raise ValueError(f'frame {frame}')
        if frame > self.limit and not last:
            return False
        if last:
            self.forced.append(frame)
        self.gone.append((frame, threading.current_thread().name))
        return True

    @property
    def order(self) -> list[int]:
        return [frame for frame, _ in self.gone]


@pytest.fixture
def hand() -> Iterator[Hand]:
    """Make a hand that is closed with the test."""
    made = Hand()
    yield made
    made.late.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait as long as it takes; the test's own limit ends it."""
    while not condition():
        time.sleep(0.005)


def test_what_can_go_at_once_goes_in_the_thread_that_puts_it(hand: Hand) -> None:
    hand.limit = 9
    for frame in (1, 2):
        hand.late.put(frame)
    here = threading.current_thread().name
    assert hand.gone == [(1, here), (2, here)]


def test_what_waits_goes_in_order_and_nothing_overtakes_it(hand: Hand) -> None:
    hand.limit = 1
    for frame in (1, 3, 1, 2):  # the third could go
        hand.late.put(frame)
    assert hand.order == [1]
    hand.limit = 3
    wait_until(lambda: len(hand.gone) == 4)
    assert hand.order == [1, 3, 1, 2]
    assert {name for _, name in hand.gone[1:]} == {'late frames'}


def test_when_too_many_wait_the_oldest_waits_no_longer(hand: Hand) -> None:
    for frame in range(1, MOST + 4):
        hand.late.put(frame)
    wait_until(lambda: len(hand.gone) == 3)
    time.sleep(0.05)
    assert hand.forced == hand.order == [1, 2, 3]


def test_an_error_costs_its_frame_alone(hand: Hand) -> None:
    hand.late.put(1)
    hand.faulty.add(1)
    hand.late.put(2)
    wait_until(lambda: bool(hand.errors))
    hand.limit = 2
    wait_until(lambda: hand.order == [2])
    hand.faulty.add(3)
    wait_until(lambda: not hand.late._waiting)
    with pytest.raises(ValueError, match='frame 3'):
        hand.late.put(3)


def test_what_is_given_up_never_goes(hand: Hand) -> None:
    hand.late.put(1)
    hand.late.clear()
    hand.limit = 9
    wait_until(lambda: not hand.late._waiting)
    hand.late.put(2)
    wait_until(lambda: bool(hand.gone))
    assert hand.order == [2]


def test_after_the_end_nothing_waits(hand: Hand) -> None:
    hand.late.put(1)
    hand.late.close()
    hand.late.put(2)
    assert (hand.order, hand.forced) == ([2], [2])
    assert not any(thread.name == 'late frames' for thread in threading.enumerate())
