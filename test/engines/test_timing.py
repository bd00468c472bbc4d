"""Timing an engine: the numbers and their forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from time import sleep

import pytest

from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine, fake_spec
from segformer_ros.engines.timing import STAGES, as_json, as_markdown, as_text, benchmark
from segformer_ros.engines.trt.network_runner import SETTLED
from segformer_ros.frame import Frame
from segformer_ros.segmentation import Segmentation
from tiny_models import painting


@pytest.fixture
def frames() -> list[Frame]:
    return [Frame.from_array(painting(90, 160, seed)[0]) for seed in range(3)]


def test_the_engine_s_own_delay_is_what_is_measured(frames: list[Frame]) -> None:
    with create_engine(fake_spec(), 'fake', EngineOptions(fake_delay=0.02)) as engine:
        result = benchmark(engine, frames, [1, 3], seconds=0.2)
    single, triple = result.batches
    assert (single.batch, triple.batch) == (1, 3)
    # Only floors: a busy machine adds to a sleep.
    assert 0 < single.fps <= 50 and 0 < triple.fps <= 50
    assert single.stages['inference'].p50 >= 20
    assert single.call.p99 >= single.call.p50 >= 20 and triple.call.p50 >= 60
    assert set(single.stages) == set(STAGES)
    assert triple.frames % 3 == 0 and triple.memory > 1 << 20


def test_what_is_set_up_in_the_first_calls_is_not_timed(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    with create_engine(fake_spec(), 'fake') as engine:
        segment = engine.segment

        def slow_at_first(given: Sequence[Frame], wanted: Wanted) -> list[Segmentation]:
            calls.append(len(given))
            if len(calls) <= SETTLED + 1:  # with the capture of a CUDA graph
                sleep(0.05)
            return segment(given, wanted)

        monkeypatch.setattr(engine, 'segment', slow_at_first)
        (result,) = benchmark(engine, frames, [3], seconds=0.01).batches
    assert set(calls) == {3}
    assert len(calls) >= SETTLED + 2 + 3
    assert result.calls <= len(calls) - (SETTLED + 1)


def test_three_forms_of_the_same_numbers(frames: list[Frame]) -> None:
    with create_engine(fake_spec(), 'fake') as engine:
        result = benchmark(engine, frames, [1], seconds=0.05)
    data = as_json(result)
    assert json.loads(json.dumps(data))['batches'][0]['fps'] == result.batches[0].fps
    assert data['batches'][0]['traffic'] == {'host': 0, 'upload': 0, 'download': 0}
    text, markdown = as_text(result), as_markdown(result)
    assert 'engine: fake' in text and '- engine: fake' in markdown
    head, rule, row = markdown.splitlines()[-5:-2]
    assert head.count('|') == rule.count('|') == row.count('|')
    assert f'| {result.batches[0].fps:.1f} |' in row
    assert result.batches[0].calls == result.batches[0].frames >= 3
    assert {'cpu', 'frames', 'input', 'date'} <= set(data['facts'])
    assert data['facts']['inference'] == 'whole' and data['facts']['upsampling'] == 'exact'
    assert 'Milliseconds' in text and 'Milliseconds' in markdown


def test_a_batch_that_the_model_does_not_take_is_refused(frames: list[Frame]) -> None:
    engine = create_engine(replace(fake_spec(), batch=2), 'fake')
    engine.facts = lambda: {'device': 'GPU'}  # type: ignore[method-assign]
    with pytest.raises(EngineError, match='batch 4 is above the 2 that fake takes; export it'):
        benchmark(engine, frames, [1, 4], 0.01)
    with pytest.raises(EngineError, match='batch 0; a batch has 1 frame or more'):
        benchmark(engine, frames, [0], 0.01)
