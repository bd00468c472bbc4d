"""Timing an engine: the numbers, their forms, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import sleep

import cv2
import pytest

from segformer_ros.cli import main
from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine, fake_spec
from segformer_ros.engines.trt.runner import SETTLED
from segformer_ros.frame import Frame
from segformer_ros.measuring import power
from segformer_ros.measuring.benchmark import STAGES, as_json, as_markdown, as_text, benchmark
from segformer_ros.measuring.power import PowerMeter
from segformer_ros.segmentation import Segmentation
from tiny_models import painting, save_network


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
    assert result.call.p99 < 50


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
    assert 'Milliseconds' in text and 'Milliseconds' in markdown


def test_a_batch_that_the_model_does_not_take_is_refused(frames: list[Frame]) -> None:
    engine = create_engine(replace(fake_spec(), batch=2), 'fake')
    engine.facts = lambda: {'device': 'GPU'}  # type: ignore[method-assign]
    with pytest.raises(EngineError, match='batch 4 is above the 2 that fake takes; export it'):
        benchmark(engine, frames, [1, 4], 0.01)
    with pytest.raises(EngineError, match='batch 0; a batch has 1 frame or more'):
        benchmark(engine, frames, [0], 0.01)


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A command that takes no time."""
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / '0.png'), painting(48, 64)[0])
    options = ['--input', str(tmp_path / 'images'), '--frame-size', '64x48', '--seconds', '0.05']
    return ['benchmark', *options]


def test_the_command_writes_a_table(asked: list[str], tmp_path: Path) -> None:
    model, out = save_network(tmp_path / 'palette.onnx'), tmp_path / 'new' / 'table.md'
    asked += ['--model', str(model), '--engine', 'openvino']
    asked += ['--batch', '1,2', '--format', 'markdown']
    assert main([*asked, '--out', str(out)]) == 0
    assert out.read_text().count('\n| ') == 3  # a header and two batch sizes


def test_the_family_is_timed_with_its_size_and_work(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked += ['--family', 'mit-b0', '--sizes', '32', '--engine', 'openvino']
    assert main([*asked, '--format', 'json']) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row['model'] == 'mit-b0' and row['input'] == '32x32'
    assert row['M parameters'] == pytest.approx(3.7, abs=0.2)
    assert row['FPS'] > 0 and row['engine'] == 'openvino'


def test_the_family_s_cost_alone_needs_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ['benchmark', '--family', 'fan-base,mit-b5', '--sizes', '1024', '--seconds', '0']
    assert main([*asked, '--format', 'markdown']) == 0
    assert capsys.readouterr().out.splitlines() == [
        '| model | input | M parameters | GMACs |',
        '|---|---|---|---|',
        '| fan-base | 1024x1024 | 48.5 | 639.5 |',
        '| mit-b5 | 1024x1024 | 84.6 | 561.0 |',
        '',
    ]


@pytest.mark.parametrize(
    ('option', 'value', 'words'),
    [
        ('--family', 'mit-b9', "no member 'mit-b9' in the family"),
        ('--device', '63', 'no NVIDIA driver|no GPU 63'),
    ],
)
def test_wrong_arguments_are_one_line(
    asked: list[str], option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ['--engine', 'tensorrt'] if option == '--device' else []
    assert main([*asked, option, value, *engine]) == 2
    assert re.search(words, capsys.readouterr().err)


def test_power_is_read_or_not_told() -> None:
    with PowerMeter() as meter:
        sum(range(200_000))
    assert meter.watts is None or 0 < meter.watts < 2000


def test_a_jetson_s_board_power(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / '1-0040' / 'hwmon' / 'hwmon3'
    folder.mkdir(parents=True)
    (folder / 'in1_input').write_text('5000\n')
    (folder / 'curr1_input').write_text('2400\n')
    monkeypatch.setattr(power, '_JETSON', f'{tmp_path}/*/hwmon/hwmon*')
    monkeypatch.setattr(power, '_PERIOD', 0.001)
    with PowerMeter() as meter:
        while not meter._samples:
            pass
    assert meter.watts == pytest.approx(12.0) and meter.source == 'board (INA3221)'
