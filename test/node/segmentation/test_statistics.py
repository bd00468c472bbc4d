# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Figures of a camera: rates, ages and lost frames."""

from __future__ import annotations

import math
import tracemalloc
from functools import partial

import pytest

from segformer_ros.errors import LONGEST
from segformer_ros.node.segmentation.statistics import (
    REMEMBERED,
    CameraStatistics,
    Pace,
    Rate,
)

MS = 1_000_000


def test_rate_is_of_the_last_seconds() -> None:
    rate = Rate()
    for tick in range(300):
        rate.add(tick / 30)
    assert rate.per_second(10.0) == pytest.approx(30, abs=0.2)
    assert rate.per_second(100.0) == 0


def test_what_was_not_let_in_is_not_lost() -> None:
    statistics = CameraStatistics()
    for tick in range(100):
        if tick == 50:
            statistics.resumed()
        at = tick + 30 * (tick >= 50)
        statistics.arrived(at / 30, at * 33 * MS)
    assert statistics.snapshot(5.0).losses.lost == 0


def test_a_new_subscription_counts_from_nothing() -> None:
    statistics = CameraStatistics()
    statistics.lost_in_transport(1.0, 7)
    statistics.resumed()
    statistics.lost_in_transport(2.0, 1)
    assert statistics.snapshot(2.0).losses.lost == 8


def test_snapshot() -> None:
    statistics = CameraStatistics()
    assert statistics.snapshot(0.0).silence is None
    assert math.isnan(statistics.snapshot(0.0).age.p50)
    for tick in range(100):
        statistics.arrived(tick * 0.1, tick * 100 * MS)
        statistics.published(tick * 0.1, 0.010 if tick else 0.5, {})
    statistics.problem(9.9, 'truncated')
    figures = statistics.snapshot(10.0)
    assert figures.rate_in == pytest.approx(10, abs=0.3)
    assert figures.recently_received == 100
    assert statistics.snapshot(12.05).recently_received == 79
    assert figures.age.p50 == pytest.approx(0.010)
    assert figures.age.p99 > 0.010
    assert figures.silence == pytest.approx(0.1)
    assert figures.last_problem == 'truncated'
    assert figures.recent_problem
    assert not statistics.snapshot(30.0).recent_problem


def test_the_last_problem_ages() -> None:
    statistics = CameraStatistics()
    statistics.problem(9.9, 'truncated')
    assert statistics.snapshot(29.9).problem_age == pytest.approx(20)
    assert statistics.snapshot(9.9 + REMEMBERED).last_problem == 'truncated'
    assert statistics.snapshot(10.0 + REMEMBERED).last_problem == ''


def test_a_problem_of_any_length_is_kept_in_a_line() -> None:
    statistics = CameraStatistics()
    statistics.problem(0.0, 'unknown encoding ' + '\x1b[31m\n' * 10**6)
    assert len(statistics.snapshot(0.0).last_problem) <= LONGEST
    assert statistics.snapshot(0.0).last_problem.isprintable()


def test_overtaken_frames_are_received_frames() -> None:
    statistics = CameraStatistics()
    statistics.resumed(reports=True)
    overtaken = 0
    for tick in range(100):
        statistics.arrived(tick * 0.05, tick, 3 * tick)
        if tick == 50:
            overtaken = statistics.overtaken(2.5)
            assert 90 < overtaken <= 100
    assert overtaken + statistics.overtaken(5.2) == 198
    figures = statistics.snapshot(5.2)
    assert figures.losses.lost == 0
    assert figures.rate_in == pytest.approx(60, abs=3)
    assert figures.recently_received == 298


def test_publishers_are_those_at_the_time_of_the_frame() -> None:
    """The numbers of two publishers have gaps; that one of them is gone by now changes nothing."""
    statistics = CameraStatistics()
    asked: list[float] = []

    def two(now: float) -> int:
        asked.append(now)
        return 2

    for tick in range(40):
        now = tick / 30
        statistics.arrived(now, tick * 33 * MS, 5 * tick, partial(two, now))
    assert len(asked) == 39
    statistics.arrived(40 / 30, 40 * 33 * MS, 5 * 39 + 1, partial(two, 0.0))
    assert len(asked) == 39, 'a frame without a gap'
    assert statistics.overtaken(2.0) == 0
    assert statistics.snapshot(2.0).losses.lost == 0


def test_frames_are_counted_though_nobody_asks() -> None:
    """In a memory that does not grow with them."""
    statistics = CameraStatistics()
    tracemalloc.start()
    for tick in range(20_000):
        statistics.arrived(tick / 1000, tick * MS, tick)
        statistics.published(tick / 1000, 0.01, {})
    assert tracemalloc.get_traced_memory()[0] < 2_000_000
    tracemalloc.stop()
    figures = statistics.snapshot(20.0)
    assert figures.rate_in == pytest.approx(1000, rel=0.01)
    assert figures.rate_out == pytest.approx(1000, rel=0.01)
    assert figures.recently_received == pytest.approx(10_000, rel=0.02)


def test_valid_and_invalid_areas_are_counted() -> None:
    statistics = CameraStatistics()
    for tick in range(10):
        statistics.area_published(float(tick), 'too old' if tick % 2 else '')
    figures = statistics.snapshot(9.0)
    assert (figures.recently_valid, figures.recently_invalid) == (5, 5)
    assert figures.invalid_reason == 'too old'


def test_a_loss_that_stamps_and_middleware_both_tell_of_counts_once() -> None:
    statistics = CameraStatistics()
    lost = 0
    for tick in range(300):
        if tick > 100 and tick % 20 == 0:
            lost += 1
            statistics.lost_in_transport(tick / 30, lost)
        else:
            statistics.arrived(tick / 30, tick * 33 * MS)
    figures = statistics.snapshot(10.0)
    assert figures.losses.lost == figures.losses.recently_lost == lost == 9


def test_transport_losses_are_recent_for_a_while() -> None:
    statistics = CameraStatistics()
    statistics.lost_in_transport(1.0, 7)
    statistics.lost_in_transport(2.0, 9)
    assert statistics.snapshot(3.0).losses.recently_lost == 9
    assert statistics.snapshot(11.5).losses.recently_lost == 2
    assert statistics.snapshot(60.0).losses.recently_lost == 0
    assert statistics.snapshot(60.0).losses.lost == 9


def test_costs_are_those_of_the_frames_that_had_them() -> None:
    statistics = CameraStatistics()
    costs = {'mask': 0.001}
    statistics.published(0.0, 0.01, costs)
    costs['overlay'] = 0.005  # an output that comes after the mask
    for tick in range(1, 4):
        statistics.published(0.1 * tick, 0.01, {'mask': 0.001 * tick})
    assert statistics.snapshot(1.0).costs == {'mask': 0.0015, 'overlay': 0.005}


def test_numbers_tell_of_what_is_not_taken_where_one_publisher_numbers() -> None:
    statistics = CameraStatistics()
    assert not statistics.arrived(0.0, 0, None), 'a middleware without numbers'
    assert not statistics.arrived(0.1, 1, 5), 'the first may be any number'
    assert statistics.arrived(0.2, 2, 6)
    assert statistics.arrived(0.3, 3, 9, lambda: 1)
    assert not statistics.arrived(0.4, 4, 3, lambda: 2), 'another publisher'


def test_a_slow_first_frame_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is ready long before one would think by that frame alone."""
    now = 100.0
    monkeypatch.setattr('segformer_ros.node.segmentation.statistics.monotonic', lambda: now)
    pace = Pace()
    pace.started()
    pace.took('engine', 30.0)
    pace.took('publishing', 10.0)
    pace.started()
    assert pace.free == pace.due == now
    pace.took('engine', 0.02)
    pace.took('engine', 0.02)
    pace.started()
    assert pace.free == pytest.approx(now + 0.02)


def test_a_frame_is_due_when_the_slowest_stage_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr('segformer_ros.node.segmentation.statistics.monotonic', lambda: now)
    pace = Pace()
    for _ in range(3):
        pace.took('engine', 0.1)
        pace.took('labels', 0.02)
        pace.took('publishing', 0.3)
    pace.started()
    assert pace.due == pace.free + 0.3 - 0.1
    pace.took('publishing', 0.3)
    assert pace.due == pace.free == pytest.approx(now + 0.1)
