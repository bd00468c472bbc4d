"""Figures of a camera: rates, ages and lost frames."""

from __future__ import annotations

import math
import random

import pytest

from segformer_ros.node.statistics import CameraStatistics, Rate, StampGaps

MS = 1_000_000


def test_rate_is_of_the_last_seconds() -> None:
    rate = Rate()
    for tick in range(300):
        rate.add(tick / 30)
    assert rate.per_second(10.0) == pytest.approx(30, abs=0.2)
    assert rate.per_second(100.0) == 0


def arrived_stamps(period: int, jitter: int, keep: float, count: int = 600) -> list[int]:
    """Stamps in ns of a camera of which only a share arrives."""
    chance = random.Random(7)
    stamps = [tick * period + chance.randint(-jitter, jitter) for tick in range(count)]
    return [stamp for stamp in stamps if chance.random() < keep]


@pytest.mark.parametrize('jitter', [0, 5 * MS])
def test_no_loss_is_seen_where_none_is(jitter: int) -> None:
    gaps = StampGaps()
    assert sum(map(gaps.add, arrived_stamps(33 * MS, jitter, keep=1.0))) == 0


@pytest.mark.parametrize('keep', [0.99, 0.8, 0.4, 0.25])
def test_losses_are_estimated_even_where_most_are_lost(keep: float) -> None:
    stamps = arrived_stamps(33 * MS, 2 * MS, keep)
    gaps = StampGaps()
    lost = sum(map(gaps.add, stamps))
    true = round((stamps[-1] - stamps[0]) / (33 * MS)) + 1 - len(stamps)
    # What was lost before enough intervals were known is not counted.
    assert lost == pytest.approx(true, abs=12 / keep + 1)
    assert lost <= true


def test_a_pause_and_a_new_start_are_no_losses() -> None:
    gaps = StampGaps()
    stamps = [tick * 33 * MS for tick in range(50)]
    later = [10_000 * MS + stamp for stamp in stamps]
    assert sum(map(gaps.add, stamps + later + stamps)) == 0


@pytest.mark.parametrize('factor', [2, 3])
def test_a_camera_that_slows_down_loses_nothing(factor: int) -> None:
    """As one does at dusk, when its exposure grows."""
    gaps = StampGaps()
    fast = [tick * 33 * MS for tick in range(100)]
    slow = [fast[-1] + (tick + 1) * factor * 33 * MS for tick in range(100)]
    again = [slow[-1] + (tick + 1) * 33 * MS for tick in range(100)]
    assert sum(map(gaps.add, fast + slow + again)) == 0


def test_a_gap_counts_as_soon_as_the_camera_goes_on() -> None:
    gaps = StampGaps()
    stamps = [tick * 33 * MS for tick in range(60) if not 50 <= tick < 53]
    lost = [gaps.add(stamp) for stamp in stamps]
    assert lost[50:53] == [0, 3, 0]


def test_what_was_not_let_in_is_not_lost() -> None:
    statistics = CameraStatistics()
    for tick in range(100):
        if tick == 50:
            statistics.resumed()
        at = tick + 30 * (tick >= 50)
        statistics.arrived(at / 30, at * 33 * MS)
    assert statistics.snapshot(5.0).lost == 0


def test_a_new_subscription_counts_from_nothing() -> None:
    statistics = CameraStatistics()
    statistics.lost_in_transport(1.0, 7)
    statistics.resumed()
    statistics.lost_in_transport(2.0, 1)
    assert statistics.snapshot(2.0).lost == 8


def test_snapshot() -> None:
    statistics = CameraStatistics()
    assert statistics.snapshot(0.0).silence is None
    assert math.isnan(statistics.snapshot(0.0).age.p50)
    for tick in range(100):
        statistics.arrived(tick * 0.1, tick * 100 * MS)
        statistics.published(tick * 0.1, 0.010 if tick else 0.5)
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
    assert figures.lost == figures.recently_lost == lost == 9


def test_transport_losses_are_recent_for_a_while() -> None:
    statistics = CameraStatistics()
    statistics.lost_in_transport(1.0, 7)
    statistics.lost_in_transport(2.0, 9)
    assert statistics.snapshot(3.0).recently_lost == 9
    assert statistics.snapshot(11.5).recently_lost == 2
    assert statistics.snapshot(60.0).recently_lost == 0
    assert statistics.snapshot(60.0).lost == 9
