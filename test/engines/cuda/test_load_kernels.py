# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Loading the kernels: what the driver refuses is passed over, what it takes is kept."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_gpu import MakeMachine
from fake_gpu.cuda import Error

from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda import compile as kernels
from segformer_ros.engines.cuda.device import CudaDevice
from segformer_ros.engines.cuda.driver import select_gpu


class Driver:
    """Takes code, but not of these toolkits."""

    def __init__(self, *refused: bytes) -> None:
        self.refused = refused
        self.seen: list[bytes] = []

    def __call__(self, code: bytes) -> bytes:
        self.seen.append(code)
        if code in self.refused:
            raise EngineError(f'refuses {code.decode()}')
        return code


class Compilers:
    """Compilers that each make one code, and how often one was asked."""

    def __init__(self, *codes: bytes) -> None:
        self._codes = codes
        self.asked = 0

    def __call__(self) -> list[Callable[[int], bytes]]:
        return [partial(self._compile, code) for code in self._codes]

    def _compile(self, code: bytes, sm: int) -> bytes:
        self.asked += 1
        return code


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kernels, 'PREBUILT', tmp_path / 'prebuilt')
    return tmp_path / 'cache'


@pytest.fixture
def prebuilt(cache: Path) -> bytes:
    """The code that a release carries for sm_53."""
    kernels.PREBUILT.mkdir()
    (kernels.PREBUILT / kernels.file_name(53)).write_bytes(b'prebuilt')
    return b'prebuilt'


def use(monkeypatch: pytest.MonkeyPatch, *codes: bytes) -> Compilers:
    compilers = Compilers(*codes)
    monkeypatch.setattr(kernels, 'compilers', compilers)
    return compilers


def test_code_is_compiled_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compilers = use(monkeypatch, b'compiled')
    for _ in range(2):
        assert kernels.load_kernels(87, cache, Driver()) == b'compiled'
    assert compilers.asked == 1
    (kept,) = cache.glob('*.cubin')
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kernels.load_kernels(72, cache, Driver())
    kernels.load_kernels(87, None, Driver())
    assert compilers.asked == 3


def test_code_of_a_release_is_used_unasked(
    cache: Path, prebuilt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilers = use(monkeypatch, b'compiled')
    assert kernels.load_kernels(53, cache, Driver()) == prebuilt
    assert not compilers.asked


def test_an_old_driver_gets_the_code_of_its_own_toolkit(
    cache: Path, prebuilt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilers = use(monkeypatch, b'NVRTC 13', b'NVRTC 10.2')
    driver = Driver(prebuilt, b'NVRTC 13')
    assert kernels.load_kernels(53, cache, driver) == b'NVRTC 10.2'
    assert driver.seen == [prebuilt, b'NVRTC 13', b'NVRTC 10.2']
    assert kernels.load_kernels(53, cache, driver) == b'NVRTC 10.2'  # what was refused is not kept
    assert compilers.asked == 2


def test_kept_code_that_another_driver_refuses_is_compiled_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, b'new')
    kernels.load_kernels(87, cache, Driver())
    use(monkeypatch, b'old')
    assert kernels.load_kernels(87, cache, Driver(b'new')) == b'old'
    (kept,) = cache.glob('*.cubin')
    assert kept.read_bytes() == b'old'


def test_where_all_is_refused_every_reason_is_said(
    cache: Path, prebuilt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, b'compiled')
    with pytest.raises(
        EngineError, match="no kernels for sm_53: refuses prebuilt; refuses compiled. .* driver's"
    ):
        kernels.load_kernels(53, cache, Driver(prebuilt, b'compiled'))


def test_a_cache_that_cannot_be_written_is_survived(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use(monkeypatch, b'compiled')
    cache.write_text('')
    assert kernels.load_kernels(87, cache, Driver()) == b'compiled'
    assert 'the compiled kernels are not kept' in caplog.text


def test_what_the_driver_says_of_the_code_is_told(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    device = CudaDevice(select_gpu(0))

    def refuse(image: bytes) -> Any:
        raise Error('cuModuleLoadDataEx failed: device kernel image is invalid')

    monkeypatch.setattr(device._cuda, 'module_from_buffer', refuse)
    with (
        device.current(),
        pytest.raises(EngineError, match='CUDA 12.6. refuses the kernels: .* image is invalid'),
    ):
        device.load_kernels(b'cubin')
