"""Who scores what: long runs for each worker, and nothing lost with a lost worker."""

import pytest

from segformer_ros.evaluation import EvaluationError
from segformer_ros.evaluation.schedule import Schedule
from segformer_ros.evaluation.shards import Shard


def shards(*counts: int) -> list[Shard]:
    """Shards of 10 frames: `counts` of them in each recording."""
    pairs = [(source, place) for source, count in enumerate(counts) for place in range(count)]
    return [Shard(n, source, 10 * p, 10 * p + 10) for n, (source, p) in enumerate(pairs)]


def numbers(schedule: Schedule, worker: str, count: int) -> list[int]:
    """Numbers of the next shards of a worker that finishes each."""
    found = []
    for _ in range(count):
        shard = schedule.next(worker)
        assert shard is not None
        found.append(shard.number)
        schedule.done(worker)
    return found


def test_one_worker_goes_through_in_order() -> None:
    schedule = Schedule(shards(5))
    assert numbers(schedule, 'a', 5) == [0, 1, 2, 3, 4]
    assert schedule.next('a') is None


def test_the_second_worker_takes_the_second_half() -> None:
    schedule = Schedule(shards(9))
    assert numbers(schedule, 'a', 1) == [0]
    assert numbers(schedule, 'b', 4) == [5, 6, 7, 8]
    assert numbers(schedule, 'a', 2) == [1, 2]
    assert numbers(schedule, 'b', 1) == [4]


def test_recordings_are_not_cut_while_whole_ones_are_left() -> None:
    schedule = Schedule(shards(2, 3))
    assert numbers(schedule, 'a', 3) == [2, 3, 4]
    assert numbers(schedule, 'a', 2) == [0, 1]


def test_a_lost_workers_shards_are_given_to_others() -> None:
    schedule = Schedule(shards(4))
    first = schedule.next('a')
    assert first is not None
    schedule.lost('a')
    assert numbers(schedule, 'b', 4) == [0, 1, 2, 3]


def test_a_shard_that_kills_gives_up() -> None:
    schedule = Schedule(shards(1))
    for worker in 'ab':
        assert schedule.next(worker) is not None
        schedule.lost(worker)
    assert schedule.next('c') is not None
    with pytest.raises(EvaluationError, match='3 workers died on frames 0 to 9 of input 0'):
        schedule.lost('c')


def test_losing_an_idle_worker_is_no_matter() -> None:
    schedule = Schedule(shards(1))
    assert numbers(schedule, 'a', 1) == [0]
    schedule.lost('a')
    assert schedule.next('b') is None
