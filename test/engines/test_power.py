"""Power: read of what runs, or not told."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeCuda, FakeDriver

from segformer_ros.engines import EngineError, create_engine, fake_spec, power
from segformer_ros.engines.cuda import driver
from segformer_ros.engines.power import PowerMeter
from segformer_ros.engines.timing import benchmark
from segformer_ros.frame import Frame


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
    monkeypatch.setattr(power, '_board_watts', lambda: None)
    monkeypatch.setattr(power, '_RAPL', tmp_path / 'none')
    monkeypatch.setattr(power, '_PERIOD', 0.01)
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
