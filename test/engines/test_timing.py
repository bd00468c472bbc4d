# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Timing an engine: the numbers and their forms."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeCuda, FakeDriver

from segformer_ros.engines import (
    EngineError,
    EngineOptions,
    Wanted,
    create_engine,
    fake_spec,
    timing,
)
from segformer_ros.engines.cuda import driver
from segformer_ros.engines.timing import (
    STAGES,
    PowerMeter,
    as_json,
    as_markdown,
    as_text,
    benchmark,
)
from segformer_ros.engines.trt.network_runner import SETTLED
from segformer_ros.frame import Frame, Segmentation
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


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Calls of nvidia-smi, which reads 100 W from bus 16 and 30 W from bus 15."""
    made: list[list[str]] = []

    real = subprocess.run

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != 'nvidia-smi':
            return real(command, **options)
        made.append(command)
        bus = command[command.index('-i') + 1]
        watts = {'00000000:10:00.0': '100.0\n', '00000000:0f:00.0': '30.0\n'}
        return subprocess.CompletedProcess(command, 0, watts[bus])

    monkeypatch.setattr(subprocess, 'run', run)
    monkeypatch.setattr(timing, '_MONITORS', tmp_path / 'no monitors')
    monkeypatch.setattr(timing, '_RAPL', tmp_path / 'none')
    monkeypatch.setattr(timing, '_PERIOD', 0.01)
    return made


@pytest.mark.parametrize(('device', 'watts'), [(0, 100.0), (1, 30.0)])
def test_the_gpu_that_is_named_is_read(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, device: int, watts: float
) -> None:
    fake = FakeDriver(FakeCuda(), 87, count=2)
    monkeypatch.setattr(driver, 'load_driver', lambda: fake)
    with PowerMeter(device) as meter:
        while len(calls) < 4:
            pass
    assert meter.watts == watts and meter.source == 'GPU (nvidia-smi)'


def test_without_a_gpu_nothing_is_asked(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise EngineError('no NVIDIA driver')

    monkeypatch.setattr(driver, 'load_driver', none)
    with PowerMeter(0) as meter:
        pass
    assert meter.watts is None and not calls


def test_the_gpu_is_not_asked_for_what_the_cpu_does(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, 'load_driver', lambda: FakeDriver(FakeCuda(), 87, count=2))
    with create_engine(fake_spec(), 'fake') as engine:
        frames = [Frame.from_array(np.zeros((48, 64, 3), np.uint8))]
        result = benchmark(engine, frames, [1], seconds=0.01)
    assert result.batches[0].watts is None and not calls
    assert 'power of' not in result.facts


def test_power_is_read_or_not_told() -> None:
    with PowerMeter() as meter:
        sum(range(200_000))
    assert meter.watts is None or 0 < meter.watts < 2000


def put_rails(root: Path, jetpack: int, chips: dict[str, list[tuple[str, float]]]) -> None:
    """The files of INA3221 monitors: (rail, watts) by channel for each address."""
    for number, (address, rails) in enumerate(chips.items()):
        if jetpack == 4:
            folder = root / f'ina3221x/{address}/iio:device{number}'
        else:
            folder = root / f'ina3221/{address}/hwmon/hwmon{number + 3}'
        folder.mkdir(parents=True)
        files: dict[str, object] = {} if jetpack == 4 else {'in7_label': 'sum of shunt voltages'}
        for channel, (rail, watts) in enumerate(rails):
            if jetpack == 4:
                files[f'rail_name_{channel}'] = rail
                files[f'in_power{channel}_input'] = round(1e3 * watts)
                files[f'in_current{channel}_input'] = round(watts / 5 * 1e3)
                files[f'in_voltage{channel}_input'] = 5000
            else:
                files[f'in{channel + 1}_label'] = rail
                files[f'in{channel + 1}_input'] = 5000
                files[f'curr{channel + 1}_input'] = round(watts / 5 * 1e3)
        for name, content in files.items():
            (folder / name).write_text(f'{content}\n')


TX = [('VDD_MUX', 9.0), ('VDD_5V0_IO_SYS', 2.0), ('VDD_3V3_SYS', 1.0)]
XAVIER = {
    '1-0040': [('GPU', 8.0), ('CPU', 2.0), ('SOC', 3.0)],
    '1-0041': [('CV', 0.5), ('VDDRQ', 1.0), ('SYS5V', 2.5)],
}
BOARDS = {
    'Nano': (4, {'6-0040': [('POM_5V_IN', 6.0), ('POM_5V_GPU', 2.0), ('POM_5V_CPU', 1.0)]}),
    'TX1': (4, {'1-0040': [('VDD_IN', 7.0), ('VDD_GPU', 3.0), ('VDD_CPU', 2.0)], '1-0042': TX}),
    'TX2': (
        4,
        {
            '0-0040': [('VDD_SYS_GPU', 3.0), ('VDD_SYS_SOC', 1.0), ('VDD_4V0_WIFI', 0.0)],
            '0-0041': [('VDD_IN', 9.5), ('VDD_SYS_CPU', 2.0), ('VDD_SYS_DDR', 1.0)],
            '0-0042': TX,
        },
    ),
    'AGX Xavier, JetPack 4': (4, XAVIER),
    'AGX Xavier, JetPack 5': (5, XAVIER),
    'AGX Orin': (
        6,
        {
            '1-0040': [('VDD_GPU_SOC', 10.0), ('VDD_CPU_CV', 3.0), ('VIN_SYS_5V0', 5.0)],
            '1-0041': [('NC', 0.0), ('VDDQ_VDD2_1V8AO', 1.0), ('NC', 0.0)],
        },
    ),
    'Orin NX': (6, {'1-0040': [('VDD_IN', 11.0), ('VDD_CPU_GPU_CV', 5.0), ('VDD_SOC', 2.0)]}),
}
READ = {
    'Nano': ('POM_5V_IN', 6.0),
    'TX1': ('VDD_IN', 7.0),
    'TX2': ('VDD_IN', 9.5),
    'AGX Xavier, JetPack 4': ('GPU + CPU + SOC + CV + VDDRQ + SYS5V', 17.0),
    'AGX Xavier, JetPack 5': ('GPU + CPU + SOC + CV + VDDRQ + SYS5V', 17.0),
    'AGX Orin': ('VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0', 18.0),  # its DDR counts once
    'Orin NX': ('VDD_IN', 11.0),
}


@pytest.mark.parametrize('board', BOARDS)
def test_a_jetson_s_power_is_read_by_its_rails(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, board: str
) -> None:
    jetpack, chips = BOARDS[board]
    put_rails(tmp_path, jetpack, chips)
    monkeypatch.setattr(timing, '_MONITORS', tmp_path)
    with PowerMeter() as meter:
        while not meter._samples:
            pass
    rails, watts = READ[board]
    assert meter.watts == pytest.approx(watts) and meter.source == f'module ({rails})'


@pytest.mark.parametrize('lost', ['in1_label', 'curr2_input', 'all labels'])
def test_rails_that_are_not_known_give_no_figure(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: str
) -> None:
    put_rails(tmp_path, *BOARDS['AGX Orin'])
    for file in tmp_path.glob('ina3221/1-0040/hwmon/*/' + ('*_label' if ' ' in lost else lost)):
        file.unlink()
    monkeypatch.setattr(timing, '_MONITORS', tmp_path)
    with PowerMeter() as meter:
        pass
    assert meter.watts is None and meter.source == ''
