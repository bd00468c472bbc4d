# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Lost frames, overtaken frames, and frames that were never sent, told apart."""

from __future__ import annotations

import random
import tracemalloc
from functools import partial

import pytest

from segformer_ros.node.segmentation.losses import (
    Losses,
    PublicationNumbers,
    RecentCount,
    StampGaps,
)

MS = 1_000_000


def one() -> int:
    """How many publishers there are."""
    return 1


# --- Counts -----------------------------------------------------------------------------------


def test_a_count_is_of_the_last_seconds() -> None:
    count = RecentCount()
    count.add(1.0, 7)
    count.add(2.0, 2)
    assert [count.count(now) for now in (3.0, 11.5, 60.0)] == [9, 2, 0]


def test_no_number_of_losses_takes_memory() -> None:
    """As stamps that are 1 ns apart and then 2 s, which would be billions of lost frames."""
    losses = Losses()
    tracemalloc.start()
    for tick in range(22):
        losses.arrived(tick * 0.1, tick if tick < 20 else 2_000_000_000 + tick, None, one)
    losses.reported(3.0, 10**12)
    assert losses.figures(3.0).recently_lost == 10**12
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


# --- Numbers of the middleware ----------------------------------------------------------------


def test_a_step_in_numbers_is_a_gap() -> None:
    numbers = PublicationNumbers()
    given = [7, 8, 11, 12, 20]
    assert [numbers.missing(n, i / 30, one) for i, n in enumerate(given)] == [0, 0, 2, 0, 7]


@pytest.mark.parametrize(
    ('given', 'publishers'),
    [
        ([500, 501, 1, 2, 3], 1),  # the camera driver was started again
        ([5, 6, 50_000, 50_001], 1),  # another one, which had been running, took its place
        ([5, 900, 6, 901, 7, 902], 2),
    ],
)
def test_numbers_of_another_publisher_are_no_gap(given: list[int], publishers: int) -> None:
    numbers = PublicationNumbers()
    missing = [numbers.missing(n, i / 30, lambda: publishers) for i, n in enumerate(given)]
    assert sum(missing) == 0


@pytest.mark.parametrize('seed', range(20))
def test_what_was_sent_is_what_was_taken_lost_and_overtaken(seed: int) -> None:
    chance = random.Random(seed)
    losses = Losses()
    losses.resumed(reports=True)
    counts = {'taken': 0, 'lost': 0, 'overtaken': 0}
    found = 0
    for tick in range(3000):
        now = tick / 30
        fate = 'taken' if tick in (0, 2999) else chance.choice(list(counts))
        counts[fate] += 1
        if fate == 'taken':
            found += losses.arrived(now, tick * 33 * MS, tick + 1, one)
        if chance.random() < 0.7:  # the report may come after the next frame
            losses.reported(now, counts['lost'])
    losses.reported(100.0, counts['lost'])
    found += losses.overtaken(101.0)
    assert losses.figures(101.0).lost == counts['lost']
    assert found == pytest.approx(counts['overtaken'], abs=0.01 * counts['lost'])


def test_what_came_before_the_first_frame_is_in_no_gap() -> None:
    losses = Losses()
    losses.resumed(reports=True)
    losses.reported(0.5, 21)
    assert losses.arrived(1.0, 0, 22, one) == 0
    losses.arrived(1.1, 33 * MS, 25, one)
    assert losses.overtaken(2.0) == 2
    assert losses.figures(2.0).lost == 21


def test_numbers_without_reports_are_losses() -> None:
    losses = Losses()
    losses.resumed(reports=False)
    assert [losses.arrived(n / 30, n * MS, n, one) for n in (1, 2, 6, 7)] == [0, 0, 0, 0]
    assert losses.figures(1.0).lost == 3


def test_a_driver_that_skips_frames_has_lost_none() -> None:
    """Its stamps have gaps, its messages are numbered without one."""
    losses = Losses()
    losses.resumed(reports=True)
    chance = random.Random(3)
    sent = [tick for tick in range(300) if chance.random() < 0.9]
    for number, tick in enumerate(sent):
        losses.arrived(tick / 30, tick * 33 * MS, number + 1, one)
    figures = losses.figures(10.0)
    assert figures.lost == 0
    assert figures.recently_skipped == pytest.approx(300 - len(sent), abs=5)


def test_lost_frames_are_not_skipped_too() -> None:
    losses = Losses()
    losses.resumed(reports=True)
    chance = random.Random(3)
    for tick in range(300):
        if chance.random() < 0.8:
            losses.arrived(tick / 30, tick * 33 * MS, tick + 1, one)
    assert losses.figures(10.0).recently_skipped == 0


# --- Stamps -----------------------------------------------------------------------------------


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


BURSTS = {
    'microseconds apart': [1_000] * 3 + [99_997_000],
    'in fours': [1 * MS] * 3 + [97 * MS],
    'in fours, slowly': [20 * MS] * 3 + [140 * MS],
    'in twos': [20 * MS, 60 * MS],
    'two frames of three': [33 * MS, 66 * MS],
    'at once': [0, 0, 100 * MS],
    'backwards': [-5 * MS, 70 * MS],
}


@pytest.mark.parametrize('pattern', list(BURSTS.values()), ids=list(BURSTS))
def test_stamps_in_bursts_say_nothing_of_losses(pattern: list[int]) -> None:
    gaps = StampGaps()
    stamp = lost = 0
    for tick in range(3000):
        stamp += pattern[tick % len(pattern)]
        lost += gaps.add(stamp)
    assert lost <= 6, 'the first gaps, before there is a pattern'


@pytest.mark.parametrize('seed', range(5))
def test_bursts_of_any_length_say_nothing_of_losses(seed: int) -> None:
    """A USB camera of 30 Hz whose frames are stamped as its packets come."""
    chance = random.Random(seed)
    gaps = StampGaps()
    stamp = lost = frames = 0
    while frames < 3000:
        size = chance.randint(2, 6)
        for _ in range(size):
            stamp += chance.randint(2, 5) * MS
            lost += gaps.add(stamp)
        frames += size
        stamp += size * 30 * MS
    assert lost < 0.01 * frames


@pytest.mark.parametrize('seed', range(5))
def test_a_camera_without_a_rate_says_nothing_of_losses(seed: int) -> None:
    """One that is triggered by what passes it, evenly or by chance."""
    chance = random.Random(seed)
    for draw in (partial(chance.uniform, 0.1, 1.0), partial(chance.expovariate, 5.0)):
        gaps = StampGaps()
        stamp = lost = 0
        for _ in range(1000):
            stamp += round(draw() * 1e9)
            lost += gaps.add(stamp)
        assert lost < 10
