"""How far a build is, in the log: seldom enough to be read, often enough to be believed."""

from __future__ import annotations

import logging

import pytest

from segformer_ros.node.build_progress import BuildProgress


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def progress(now: list[float], caplog: pytest.LogCaptureFixture) -> BuildProgress:
    caplog.set_level(logging.INFO)
    return BuildProgress(lambda: now[0])


def test_every_tenth_of_the_build_is_told(
    progress: BuildProgress, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    progress('build', 0, 40)
    for step in range(40):
        progress('tactics', step, 40)
        now[0] += 1
        progress('build', step + 1, 40)
    progress('build', 40, 40)
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == 'building the engine: 10 % after 4 s'
    assert caplog.messages[-1] == 'building the engine: 100 % after 40 s'


def test_a_long_phase_is_told_from_time_to_time(
    progress: BuildProgress, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    progress('build', 0, 3)
    for step in range(100):
        now[0] += 1
        progress('tactics', step, 500)
    assert caplog.messages == [
        'building the engine: 0 % after 30 s (tactics, 29 of 500)',
        'building the engine: 0 % after 60 s (tactics, 59 of 500)',
        'building the engine: 0 % after 90 s (tactics, 89 of 500)',
    ]


def test_a_second_build_starts_from_nothing(
    progress: BuildProgress, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for step in range(3):
            now[0] += 1
            progress('build', step, 2)
    assert (
        caplog.messages
        == [
            'building the engine: 50 % after 1 s',
            'building the engine: 100 % after 2 s',
        ]
        * 2
    )
