"""One thread that works off what it is given."""

from __future__ import annotations

import threading

import pytest

from segformer_ros.segmenting.background import Background


def test_work_is_done_in_turn_by_another_thread() -> None:
    done: list[tuple[int, int]] = []
    with Background('work') as background:
        for number in range(50):
            background.submit(lambda n: done.append((n, threading.get_ident())), number)
    assert [number for number, _ in done] == list(range(50))
    assert {thread for _, thread in done}.isdisjoint({threading.get_ident()})
    assert len({thread for _, thread in done}) == 1


def test_no_more_waits_than_the_limit() -> None:
    gate, given = threading.Event(), threading.Semaphore(0)
    with Background('work', waiting=2) as background:

        def give() -> None:
            for _ in range(5):
                background.submit(gate.wait)
                given.release()

        giver = threading.Thread(target=give)
        giver.start()
        assert all(given.acquire(timeout=10) for _ in range(2))
        assert not given.acquire(timeout=0.2)
        gate.set()
        giver.join(10)
        assert not giver.is_alive()


def test_an_error_is_raised_at_the_latest_on_leaving() -> None:
    with pytest.raises(OSError, match='disk full'), Background('work') as background:
        background.submit(_fail)


def test_the_callers_own_error_comes_first() -> None:
    with pytest.raises(KeyboardInterrupt), Background('work') as background:
        _interrupted(background)


def _interrupted(background: Background) -> None:
    background.submit(_fail)
    raise KeyboardInterrupt


def _fail() -> None:
    raise OSError('disk full')
