"""The checks of the GPU benchmark on the CPU's kernels: right ones pass, wrong ones do not."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import host_kernels
import numpy as np
import pytest
from host_cuda.library import COMPLAINT, build_driver, environment

from segformer_ros.engines.cuda.launches import Launch
from tools.benchmarks import gpu_kernels
from tools.benchmarks.gpu_checks import check_all


class Host:
    """Memory and kernels of the CPU."""

    def __init__(self, spoil: str = '') -> None:
        self._kept: list[np.ndarray] = []
        self._spoil = spoil

    def put(self, array: np.ndarray) -> int:
        self._kept.append(np.ascontiguousarray(array).copy())
        return int(self._kept[-1].ctypes.data)

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        result = np.empty_like(like)
        ctypes.memmove(result.ctypes.data, address, result.nbytes)
        return result

    def launch(self, job: Launch) -> None:
        if job.kernel.endswith(self._spoil or '-'):
            return
        host_kernels.run(job)


class HostGpu(Host, gpu_kernels.Gpu):
    """The CPU with what the timings ask of a GPU; everything takes 20 us."""

    def allocate(self, size: int) -> int:
        return self.put(np.zeros(size if size < 1 << 27 else 1, np.uint8))

    def time(self, work: Callable[[], None], runs: int = 200) -> float:
        if runs == 200:
            work()
        return 20.0


def test_right_kernels_pass_every_check() -> None:
    assert check_all(Host()) == []


@pytest.mark.parametrize('kernel', ['preprocess', 'cells', 'mosaic', 'postprocess'])
def test_a_wrong_kernel_is_found(kernel: str) -> None:
    wrong = check_all(Host(spoil=f'_{kernel}'))
    assert any(line.startswith(f'{kernel} of ') for line in wrong)


def test_timings_stand_beside_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kernels, 'FRAME', (108, 192))
    monkeypatch.setattr(gpu_kernels, 'NETWORK', (128, 128))
    table = gpu_kernels.timings(HostGpu())
    assert table.startswith('Copy within the device: 26.84 TB/s.')
    (line,) = [line for line in table.splitlines() if line.startswith('| post, float16')]
    moved, bandwidth = 19 * 32 * 32 * 2 + 108 * 192, 2 * (256 << 20) / 20
    assert line == f'| post, float16 | 20.0 | 0.1 | 0.0 | {20 * bandwidth / moved:.2f} | 2 |'


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', missing)
    monkeypatch.setattr(sys, 'argv', ['gpu_kernels'])
    with pytest.raises(SystemExit):
        gpu_kernels.main()
    assert 'error: no NVIDIA driver on this machine' in capsys.readouterr().err


def test_the_driver_is_called_as_it_is_declared(tmp_path: Path, repo: Path) -> None:
    """On a libcuda of the host: ctypes says nothing of arguments that are wrong."""
    driver = build_driver(tmp_path)
    command = [sys.executable, '-m', 'tools.benchmarks.gpu_kernels', '--check-only']
    done = subprocess.run(
        command, env=environment(driver), cwd=repo, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and COMPLAINT not in done.stderr, done.stderr
    assert 'Test GPU (sm_87), CUDA 13.0' in done.stdout
    assert 'Every kernel equals the golden reference.' in done.stdout
