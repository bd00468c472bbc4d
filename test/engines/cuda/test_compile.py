# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The kernels' machine code: compiled for every GPU in the field, without one."""

from __future__ import annotations

import ctypes
import shutil

import pytest

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
    for name in (b'segformer_preprocess', b'segformer_cells', b'segformer_postprocess'):
        assert name in code


@pytest.mark.parametrize('sm', kernels.NEWER)
@pytest.mark.usefixtures('nvrtc')
def test_newer_gpus_are_compiled_for_where_nvrtc_knows_them(sm: int) -> None:
    try:
        assert kernels.compile_with_nvrtc(sm).startswith(ELF)
    except kernels.UnknownGpu:
        pytest.skip(f'no NVRTC here knows sm_{sm}')


@pytest.mark.usefixtures('nvrtc')
def test_a_gpu_that_nvrtc_does_not_know_is_named() -> None:
    with pytest.raises(kernels.UnknownGpu, match=r'NVRTC \d+\.\d+ for sm_11: .*invalid value'):
        kernels.compile_with_nvrtc(11)


@pytest.mark.parametrize('sm', [*kernels.RELEASED, *kernels.NEWER])
@pytest.mark.usefixtures('nvrtc')
def test_what_a_version_should_know_is_what_it_knows(sm: int) -> None:
    versions = kernels.nvrtc_versions()
    try:
        kernels.compile_with_nvrtc(sm)
    except kernels.UnknownGpu:
        assert not any(kernels.should_know(version, sm) for version in versions)
    else:
        assert any(kernels.should_know(version, sm) for version in versions)


def test_nvcc_compiles_too() -> None:
    if shutil.which('nvcc') is None:
        pytest.skip('no nvcc on this machine')
    assert kernels.compile_with_nvcc(90).startswith(ELF)


@pytest.mark.usefixtures('nvrtc')
def test_every_nvrtc_is_tried_before_nvcc() -> None:
    first, *_, last = kernels.compilers()
    assert first(87).startswith(ELF)
    assert last is kernels.compile_with_nvcc


def test_without_any_compiler_each_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', missing)
    monkeypatch.setattr(shutil, 'which', lambda *names, **where: None)
    reasons: list[str] = []
    assert not list(kernels.compiled_kernels(87, reasons))
    nvrtc, nvcc = reasons
    assert 'no NVRTC library' in nvrtc and 'no nvcc in PATH' in nvcc
