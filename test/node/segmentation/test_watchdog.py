# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The watchdog: what is no longer known to be free is taken back in time, with the reason."""

from __future__ import annotations

import pytest

from segformer_ros.node.segmentation.watchdog import Now, Watchdog

pytestmark = pytest.mark.ros  # of its clock

MAX_AGE = 0.5
START = 1000.0


def at(seconds: float, ros: float | None = None) -> Now:
    """Return a moment `seconds` after the start, by both clocks unless told otherwise."""
    return Now(START + seconds, round((seconds if ros is None else ros) * 1e9))


def stamp(seconds: float) -> int:
    return round(seconds * 1e9)


@pytest.fixture
def watchdog() -> Watchdog:
    watchdog = Watchdog()
    assert watchdog.due(at(0), MAX_AGE, '') == ''
    return watchdog


def test_silence_from_the_start(watchdog: Watchdog) -> None:
    assert watchdog.due(at(0.49), MAX_AGE, '') == ''
    assert 'no image has come from the camera for 0.51 s' in watchdog.due(at(0.51), MAX_AGE, '')


def test_camera_gone_silent(watchdog: Watchdog) -> None:
    watchdog.arrival = at(1.0).steady
    watchdog.summary_published(at(1.1), stamp(1.0), valid=True)
    assert watchdog.due(at(1.49), MAX_AGE, '') == ''
    assert 'the camera is silent: its last image came 0.55 s ago' in watchdog.due(
        at(1.55), MAX_AGE, ''
    )


def test_engine_that_gives_nothing(watchdog: Watchdog) -> None:
    watchdog.summary_published(at(1.1), stamp(1.0), valid=True)
    watchdog.arrival = at(1.6).steady
    assert 'the image is 0.60 s old; at most 0.5 s' in watchdog.due(at(1.6), MAX_AGE, '')


def test_known_outage_is_the_reason(watchdog: Watchdog) -> None:
    watchdog.arrival = at(0.8).steady
    assert watchdog.due(at(0.9), MAX_AGE, 'the engine failed: x') == 'the engine failed: x'


def test_steady_clock_notices_silence_while_simulated_time_stands_still(
    watchdog: Watchdog,
) -> None:
    watchdog.arrival = at(1.0, ros=5.0).steady
    watchdog.summary_published(at(1.0, ros=5.0), stamp(5.0), valid=True)
    assert 'silent' in watchdog.due(at(1.6, ros=5.0), MAX_AGE, '')


def test_said_again_for_late_subscribers_but_not_at_every_look(watchdog: Watchdog) -> None:
    said = [bool(watchdog.due(at(0.05 * look), MAX_AGE, '')) for look in range(60)]
    assert 4 <= sum(said) <= 6


def test_invalid_summary_of_the_worker_counts_as_said(watchdog: Watchdog) -> None:
    watchdog.summary_published(at(0.9), stamp(0.1), valid=False)
    assert watchdog.due(at(1.0), MAX_AGE, '') == ''
    assert watchdog.due(at(1.5), MAX_AGE, '')


def test_nothing_is_stale_for_those_who_just_subscribed(watchdog: Watchdog) -> None:
    watchdog.summary_published(at(1.0), stamp(1.0), valid=True)
    watchdog.rest()
    assert watchdog.due(at(100), MAX_AGE, '') == ''
    assert watchdog.due(at(100.6), MAX_AGE, '')
