# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The kernels as machine code of one GPU: prebuilt, from the cache, or compiled now."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import logging
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple, TypeVar

from segformer_ros.engines.cache import read_if_own, write_atomically
from segformer_ros.engines.cuda.launches import KERNELS
from segformer_ros.engines.engine import EngineError

PREBUILT = Path(__file__).with_name('prebuilt')

RELEASED = (53, 62, 72, 75, 80, 86, 87, 89, 90, 100, 120)
"""Compute capabilities whose code a release carries; others are compiled on first use."""

NEWER = (103, 110, 121)
"""Further ones that a release carries where its NVRTC knows them (CUDA 12.9, 13)."""

_SINCE = {
    80: (11, 0), 86: (11, 1), 87: (11, 4), 89: (11, 8), 90: (11, 8),
    100: (12, 8), 120: (12, 8), 103: (12, 9), 121: (12, 9), 110: (13, 0),
}  # fmt: skip
"""Versions of CUDA that brought these; the others are older than any version that is used."""

_OLDEST_OF_13 = 75

Version = Tuple[int, int]

NVRTC_NAMES = ('libnvrtc.so', *(f'libnvrtc.so.{n}' for n in ('13', '12', '11.2', '10.2')))

Compiler = Callable[[int], bytes]
Loaded = TypeVar('Loaded')

_log = logging.getLogger(__name__)


class CompilerMissing(EngineError):
    """A compiler that is not on this machine."""


class UnknownGpu(EngineError):
    """A compute capability that a compiler does not make code for."""


def should_know(version: Version, sm: int) -> bool:
    """Whether CUDA of a version makes code for a compute capability, by its release notes."""
    oldest = _OLDEST_OF_13 if version >= (13, 0) else 0
    return sm >= oldest and version >= _SINCE.get(sm, (0, 0))


def source_hash() -> str:
    """Hash of the kernels' source, for file names."""
    return hashlib.sha256(KERNELS.read_bytes()).hexdigest()[:16]


def file_name(sm: int) -> str:
    """Name of the kernels' code for one GPU."""
    return f'kernels-{source_hash()}.sm_{sm}.cubin'


def load_kernels(sm: int, cache: Optional[Path], load: Callable[[bytes], Loaded]) -> Loaded:
    """Load the kernels' code for a GPU, cubin or PTX: the first that its driver takes.

    A driver refuses code of a toolkit much newer than itself, so JetPack 4 and 5 cannot load what
    a release carries: there JetPack's own toolkit compiles the kernels.

    cache: the folder of what was compiled before, None for none. load: raises EngineError for
    code that the driver refuses. Raises EngineError with all reasons where none is left.
    """
    reasons: List[str] = []
    kept = cache / file_name(sm) if cache else None
    for code in _stored(PREBUILT / file_name(sm), kept):
        try:
            return load(code)
        except EngineError as error:
            reasons.append(str(error))
    for code in compiled_kernels(sm, reasons):
        try:
            loaded = load(code)
        except EngineError as error:
            reasons.append(str(error))
            continue
        if kept:
            _keep(kept, code)
        return loaded
    raise EngineError(
        f'no kernels for sm_{sm}: {"; ".join(dict.fromkeys(reasons))}. Install the CUDA toolkit '
        "of this driver's version, or its NVRTC (pip install nvidia-cuda-nvrtc-cu12==12.9.86 "
        'serves sm_50 to sm_121 on drivers for CUDA 12 and later, nvidia-cuda-nvrtc sm_110, Thor)'
    )


def _stored(prebuilt: Path, kept: Optional[Path]) -> Iterator[bytes]:
    """Code that exists already: prebuilt, then cached."""
    if prebuilt.is_file():
        yield prebuilt.read_bytes()
    code = read_if_own(kept) if kept else None
    if code:
        yield code


def _keep(file: Path, code: bytes) -> None:
    try:
        write_atomically(file, code)
    except OSError as error:
        _log.warning('the compiled kernels are not kept: %s', error)


def compiled_kernels(sm: int, reasons: List[str]) -> Iterator[bytes]:
    """The kernels, compiled by each compiler of this machine; failures are added to `reasons`."""
    for compiler in compilers():
        try:
            code = compiler(sm)
        except EngineError as error:
            reasons.append(str(error))
        else:
            yield code


def compilers() -> Iterator[Compiler]:
    """Every NVRTC library of this machine, the system's first, then nvcc."""
    found = False
    for library in _nvrtc_libraries():
        found = True
        yield partial(_compile_with, library)
    if not found:
        yield compile_with_nvrtc  # which says that there is none
    yield compile_with_nvcc


def compile_with_nvrtc(sm: int) -> bytes:
    """Compile with the first NVRTC library that knows this GPU; no toolkit and no GPU needed."""
    failure: Optional[EngineError] = None
    for library in _nvrtc_libraries():
        try:
            return _compile_with(library, sm)
        except EngineError as error:
            failure = error
    raise failure or CompilerMissing('no NVRTC library (libnvrtc.so) found')


def nvrtc_versions() -> List[Version]:
    """The versions of the NVRTC libraries that `compile_with_nvrtc` tries, in their order."""
    return list(dict.fromkeys(_Nvrtc(library).version() for library in _nvrtc_libraries()))


def _compile_with(library: Any, sm: int) -> bytes:
    return _Nvrtc(library).compile(KERNELS.read_text(encoding='utf-8'), sm)


def compile_with_nvcc(sm: int) -> bytes:
    """Compile with the CUDA toolkit's compiler."""
    nvcc = shutil.which('nvcc') or shutil.which('nvcc', path='/usr/local/cuda/bin')
    if nvcc is None:
        raise CompilerMissing('no nvcc in PATH or /usr/local/cuda/bin')
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, 'kernels.cubin')
        done = subprocess.run(
            [nvcc, '-cubin', f'-arch=sm_{sm}', '-o', str(target), str(KERNELS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise EngineError(f'nvcc for sm_{sm}: {_last_line(done.stdout)}')
        return target.read_bytes()


class _Nvrtc:
    """NVRTC through ctypes (its C API: nvrtcCreateProgram ... nvrtcGetCUBIN)."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def compile(self, source: str, sm: int) -> bytes:
        """Cubin for the GPU; PTX where the library is older than CUDA 11.1."""
        cubin = hasattr(self._library, 'nvrtcGetCUBIN')
        program = ctypes.c_void_p()
        self._check(
            self._library.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), b'kernels.cu', 0, None, None
            )
        )
        try:
            option = f'--gpu-architecture={"sm" if cubin else "compute"}_{sm}'.encode()
            result = self._library.nvrtcCompileProgram(program, 1, (ctypes.c_char_p * 1)(option))
            if result:
                log = self._read(program, 'nvrtcGetProgramLog').decode(errors='replace')
                text = _last_line(log) or self._text(result)
                kind = UnknownGpu if 'gpu-architecture' in text else EngineError
                major, minor = self.version()
                raise kind(f'NVRTC {major}.{minor} for sm_{sm}: {text}')
            return self._read(program, 'nvrtcGetCUBIN' if cubin else 'nvrtcGetPTX')
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, program: ctypes.c_void_p, call: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f'{call}Size')(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, call)(program, buffer))
        return buffer.raw

    def version(self) -> Version:
        """Major and minor, as of CUDA."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return major.value, minor.value

    def _text(self, result: int) -> str:
        return bytes(self._library.nvrtcGetErrorString(result)).decode()

    def _check(self, result: int) -> None:
        if result:
            raise EngineError(f'NVRTC: {self._text(result)}')


def _nvrtc_libraries() -> Iterator[Any]:
    """NVRTC libraries of the system and of the pip packages, newest first."""
    packages = importlib.util.find_spec('nvidia')
    folders = packages.submodule_search_locations if packages else None
    wheels = [
        str(file)
        for folder in folders or ()
        for file in sorted(Path(folder).glob('*/lib/libnvrtc.so.*'), reverse=True)
        if file.name.count('.') <= 3
    ]
    for name in (*NVRTC_NAMES, *wheels):
        try:
            yield ctypes.CDLL(name)
        except OSError:
            continue


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in lines if 'error' in line), lines[-1] if lines else '').strip()
