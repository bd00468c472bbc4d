# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The comparisons of kernels on the CPU's own: right ones pass, wrong ones do not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import host_kernels
import numpy as np
import pytest
from fake_gpu import Machine, MakeMachine

from segformer_ros.engines.cuda.device import CudaDevice
from segformer_ros.engines.cuda.driver import select_gpu
from segformer_ros.engines.cuda.launches import BYTE_ORDER, Launch
from segformer_ros.verification import kernel_checks
from segformer_ros.verification.kernel_checks import (
    DeviceKernels,
    KernelTime,
    bandwidth,
    compare_encoding,
    compare_mosaic,
    kernel_times,
)


class Host:
    """Memory and kernels of the CPU. spoil: end of the name of a kernel that does nothing."""

    def __init__(self, spoil: str = '-') -> None:
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
        if not job.kernel.endswith(self._spoil):
            host_kernels.run(job)


@pytest.mark.parametrize('encoding', BYTE_ORDER)
def test_right_kernels_pass(encoding: str) -> None:
    results = list(compare_encoding(Host(), encoding))
    assert len(results) == 50 and not [result for result in results if result.wrong]


def test_right_windows_pass() -> None:
    assert [result.wrong for result in compare_mosaic(Host())] == [0.0, 0.0]


@pytest.mark.parametrize('kernel', ['preprocess', 'cells', 'postprocess'])
def test_a_wrong_kernel_is_found(kernel: str) -> None:
    wrong = [str(one) for one in compare_encoding(Host(f'_{kernel}'), 'bgr8') if one.wrong]
    assert any(line.startswith(f'{kernel} of ') for line in wrong)


def test_wrong_windows_are_found() -> None:
    assert all(one.wrong > 0.5 for one in compare_mosaic(Host('_mosaic')))


@pytest.fixture
def machine(make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(kernel_checks, 'COPIED', 1 << 20)
    monkeypatch.setattr(kernel_checks, 'FRAME', (108, 192))
    monkeypatch.setattr(kernel_checks, 'NETWORK', (128, 128))
    return make_machine()


@pytest.fixture
def kernels(machine: Machine) -> Iterator[DeviceKernels]:
    device = CudaDevice(select_gpu(0))
    with device.current():
        device.load_kernels(b'cubin')
        yield DeviceKernels(device)


def test_work_is_timed_as_a_graph(machine: Machine, kernels: DeviceKernels) -> None:
    done = []

    def work() -> None:
        done.append(machine.cuda.count('launch'))

    # Two events of the clock, which counts them.
    assert kernels.time(work, runs=4, rounds=3) == pytest.approx(1e3 / 12)
    assert len(done) == 5  # once to warm up, and four times to be captured
    assert machine.driver.launches == 4 and machine.driver.alive == set()


def test_slow_work_is_not_timed_for_long(
    kernels: DeviceKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_checks, 'BUDGET', 2500.0)  # the clock gives 1000 to each run
    done: list[int] = []
    assert kernels.time(lambda: done.append(1), runs=4, rounds=3) == pytest.approx(1e3 / 2)
    assert len(done) == 1 + 2


def test_without_graphs_it_is_timed_all_the_same(
    machine: Machine, kernels: DeviceKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(machine.driver), 'cuGraphInstantiateWithFlags')
    done = []
    kernels.time(lambda: done.append(1), runs=4, rounds=3)
    assert len(done) == 1 + 4 + 12


def test_times_stand_beside_their_floor(
    kernels: DeviceKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(self: DeviceKernels, work: Callable[[], None], runs: int = 20) -> float:
        work()
        return 20.0

    monkeypatch.setattr(DeviceKernels, 'time', timed)
    moved = bandwidth(kernels)
    assert moved == 2 * (1 << 20) / 20
    times = kernel_times(kernels, moved, np.dtype(np.float16))
    assert [one.name.split(',')[0] for one in times] == [
        'pre', 'post', 'post with confidence', 'post with overlay', 'post with blocked rows'
    ]  # fmt: skip
    floor = (19 * 32 * 32 * 2 + 108 * 192) / moved
    assert str(times[1]) == f'post, float16: 20.0 us, {20 / floor:.2f}x'


@pytest.mark.parametrize(
    ('name', 'microseconds', 'within'),
    [('pre, float16', 155, True), ('pre, float16', 156, False), ('post, float16', 205, True)],
)
def test_what_is_promised_is_asked_for(name: str, microseconds: float, within: bool) -> None:
    assert KernelTime(name, microseconds, 100.0).within is within
    assert KernelTime('post with overlay, float16', 900.0, 100.0).within
