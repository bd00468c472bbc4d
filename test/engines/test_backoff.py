"""The back-off: pauses that grow, until what broke works again."""

from __future__ import annotations

from segformer_ros.engines.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff()
    assert [backoff.pause() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.pause() == 1


def test_what_remains_of_a_pause() -> None:
    now = 5.0
    backoff = Backoff(lambda: now)
    assert backoff.remaining == 0
    backoff.pause()
    now = 5.25
    assert backoff.remaining == 0.75
    now = 7.0
    assert backoff.remaining == 0
