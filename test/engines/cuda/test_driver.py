# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The driver is asked before anything else, and its answers are put into words."""

from __future__ import annotations

import ctypes

import pytest
from fake_gpu import FakeDriver

from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda import driver


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeDriver) -> None:
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: fake)


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeDriver(sm=87, integrated=True, count=2))
    first, second = driver.find_gpus()
    assert first == (0, 'Test GPU', 87, 8 << 30, True, 'CUDA 12.6', 16, '00000000:10:00.0')
    assert first.label == 'Test GPU (sm_87)'
    assert driver.select_gpu(1) == second


@pytest.mark.parametrize(
    ('result', 'words'),
    [
        (100, 'CUDA error 100: the driver sees no GPU; check nvidia-smi'),
        (34, 'a stub without a driver; remove the stubs folder'),
        (803, 'of different versions; reboot'),
        (999, 'CUDA error 999: see CUresult'),
    ],
)
def test_a_driver_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, result: int, words: str
) -> None:
    install(monkeypatch, FakeDriver(init=result))
    with pytest.raises(EngineError, match=words):
        driver.find_gpus()


def test_a_machine_without_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(ctypes, 'CDLL', missing)
    with pytest.raises(EngineError, match='no NVIDIA driver on this machine .*install it'):
        driver.find_gpus()


def test_a_gpu_is_made_that_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDriver(count=2)
    install(monkeypatch, fake)
    with driver.current_gpu(driver.select_gpu(1)):
        assert fake.contexts == [2]
    assert fake.contexts == []


def test_a_driver_without_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeDriver(count=0))
    with pytest.raises(EngineError, match='the driver sees no GPU'):
        driver.find_gpus()


def test_a_gpu_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeDriver(count=2))
    with pytest.raises(EngineError, match=r'no GPU 2 on this machine; there is 0: .*, 1: Test'):
        driver.select_gpu(2)
