"""The kernels' machine code: compiled for every GPU in the field, without one."""

from __future__ import annotations

import ctypes
import shutil
import stat
from pathlib import Path

import pytest

from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda import compile as kernels

ELF = b'\x7fELF'


@pytest.fixture(scope='module')
def nvrtc() -> None:
    if not any(True for _ in kernels._nvrtc_libraries()):
        pytest.skip('no NVRTC: pip install -r requirements/tensorrt.txt')


@pytest.mark.parametrize('sm', kernels.RELEASED)
@pytest.mark.usefixtures('nvrtc')
def test_nvrtc_compiles_for_every_gpu_in_the_field(sm: int) -> None:
    code = kernels.compile_with_nvrtc(sm)
    assert code.startswith(ELF)
    for name in (b'segformer_preprocess', b'segformer_best', b'segformer_postprocess'):
        assert name in code


@pytest.mark.usefixtures('nvrtc')
def test_a_gpu_that_nvrtc_does_not_know_is_named() -> None:
    with pytest.raises(EngineError, match=r'NVRTC \d+\.\d+ for sm_11: .*invalid value'):
        kernels.compile_with_nvrtc(11)


def test_nvcc_compiles_too() -> None:
    if shutil.which('nvcc') is None:
        pytest.skip('no nvcc on this machine')
    assert kernels.compile_with_nvcc(90).startswith(ELF)


def test_code_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []

    def compiler(sm: int) -> bytes:
        compiled.append(sm)
        return ELF + bytes(8)

    monkeypatch.setattr(kernels, 'COMPILERS', (compiler,))
    for _ in range(2):
        assert kernels.load_kernels(87, tmp_path / 'cache').startswith(ELF)
    assert compiled == [87]
    (kept,) = (tmp_path / 'cache').glob('*.cubin')
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kernels.load_kernels(72, tmp_path / 'cache')
    kernels.load_kernels(87, None)
    assert compiled == [87, 72, 87]


def test_code_of_a_release_is_used_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, 'PREBUILT', tmp_path)
    (tmp_path / kernels.file_name(53)).write_bytes(b'prebuilt')
    assert kernels.load_kernels(53, None) == b'prebuilt'


def test_a_cache_that_cannot_be_written_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, 'COMPILERS', (lambda sm: ELF,))
    (tmp_path / 'file').write_text('')
    assert kernels.load_kernels(87, tmp_path / 'file') == ELF
    assert 'kernels for sm_87 are not kept' in caplog.text


def test_without_any_compiler_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', missing)
    monkeypatch.setattr(shutil, 'which', lambda *names, **where: None)
    with pytest.raises(
        EngineError, match='cannot be compiled for sm_87: no NVRTC .*; no nvcc .*pip install nvi'
    ):
        kernels.compile_kernels(87)
