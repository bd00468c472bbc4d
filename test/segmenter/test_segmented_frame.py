# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""One thread that works off what it is given."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from segformer_ros.engines import EngineError, Wanted, fake_spec
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.recordings import SourceFrame
from segformer_ros.segmenter.segmented_frame import Background, segmented_entries
from tiny_models import painting


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


SIZE = (64, 128)
FRAMES = [Frame.from_array(painting(*SIZE, seed=seed)[0]) for seed in range(3)]


def entries() -> list[SourceFrame]:
    """Three frames, between, before and after which entries have none."""
    frames = (None, FRAMES[0], FRAMES[1], None, None, FRAMES[2], None)
    return [SourceFrame(index, str(index), frame) for index, frame in enumerate(frames)]


@pytest.mark.parametrize('count', [1, 2])
def test_each_entry_comes_in_its_turn(count: int) -> None:
    engines = [FakeEngine(fake_spec(SIZE)) for _ in range(count)]
    for engine in engines:
        engine.activate()
    given = entries()
    found = list(segmented_entries(iter(given), engines, Wanted()))
    assert [entry for entry, _ in found] == given
    for entry, outcomes in found:
        assert len(outcomes) == (count if entry.frame else 0)
        for outcome in outcomes:
            assert entry.frame is not None
            assert isinstance(outcome, Segmentation)
            wanted = engines[0].segment([entry.frame])[0].labels
            np.testing.assert_array_equal(outcome.labels, wanted)


def test_a_frame_that_fails_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = FakeEngine.start

    def failing(self: FakeEngine, frames: list[Frame], wanted: Any) -> Any:
        if frames[0] is FRAMES[1]:
            raise EngineError('no memory')
        return original(self, frames, wanted)

    monkeypatch.setattr(FakeEngine, 'start', failing)
    engine = FakeEngine(fake_spec(SIZE))
    engine.activate()
    found = list(segmented_entries(iter(entries()), [engine], Wanted()))
    failed = [entry.index for entry, given in found if isinstance((*given, None)[0], EngineError)]
    assert failed == [2]
    assert len(found) == 7
