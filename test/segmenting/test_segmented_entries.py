"""Entries of a recording with what engines make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segformer_ros.engines import EngineError, Wanted, fake_spec
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.recordings import SourceFrame
from segformer_ros.segmentation import Segmentation
from segformer_ros.segmenting.segmented_entries import segmented_entries
from tiny_models import painting

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
    original: Any = FakeEngine._run

    def failing(self: FakeEngine, frame: Frame) -> Any:
        if frame is FRAMES[1]:
            raise EngineError('no memory')
        return original(self, frame)

    monkeypatch.setattr(FakeEngine, '_run', failing)
    engine = FakeEngine(fake_spec(SIZE))
    engine.activate()
    found = list(segmented_entries(iter(entries()), [engine], Wanted()))
    failed = [entry.index for entry, given in found if isinstance((*given, None)[0], EngineError)]
    assert failed == [2]
    assert len(found) == 7
