# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""driver.cpp compiled, used by another process, and asked from Python."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import host_kernels
import numpy as np

SOURCE = Path(__file__).with_name('driver.cpp')
NAME = 'libcuda.so.1'
COMPLAINT = 'libcuda of the host: '
"""What each line begins with that the driver prints of a wrong use."""


def build_driver(folder: Path, user: Path | None = None) -> Path:
    """Compile libcuda.so.1 into a folder; skips the test where there is no compiler.

    user: a library that loads only where all of the driver's calls that it names are there.
    """
    if None in map(shutil.which, ('g++', 'nm')):
        import pytest

        pytest.skip('no g++ and nm to make a driver for the host')
    target = folder / NAME
    _compile(target, [SOURCE])
    if user is not None:
        missing = _symbols(user, '--undefined-only') - _symbols(target, '--defined-only')
        lines = [f'extern "C" int {name}() {{ return 801; }}' for name in sorted(missing)]
        rest = folder / 'rest.cpp'
        rest.write_text('\n'.join(lines))
        _compile(target, [SOURCE, rest])
    return target


def environment(driver: Path, integrated: bool = False) -> dict[str, str]:
    """The environment of a process that is to use a driver for the host."""
    folders = [str(driver.parent), os.environ.get('LD_LIBRARY_PATH', '')]
    return {
        **os.environ,
        'LD_LIBRARY_PATH': os.pathsep.join(filter(None, folders)),
        'HOST_KERNELS': str(host_kernels.library()._name),
        'HOST_INTEGRATED': str(int(integrated)),
    }


def _compile(target: Path, sources: list[Path]) -> None:
    options = ['-std=c++17', '-O1', '-shared', '-fPIC', f'-Wl,-soname,{NAME}', '-o', str(target)]
    subprocess.run(['g++', *options, *map(str, sources), '-ldl'], check=True)


def _symbols(library: Path, kind: str) -> set[str]:
    """The driver's calls among a library's symbols."""
    asked = ['nm', '--dynamic', '--format=just-symbols', kind, str(library)]
    names = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    plain = {name.partition('@')[0] for name in names}
    return {name for name in plain if name.startswith('cu') and name[2:3].isupper()}


class HostStream:
    """A PyCUDA stream, by its handle, for work that is not PyCUDA's."""

    def __init__(self, cuda: HostCuda, handle: int) -> None:
        self._cuda, self._handle = cuda, handle

    def put(self, work: Callable[[], None]) -> None:
        """Queue work, or note it while a graph is captured."""
        self._cuda.put(self._handle, work)


class HostCuda:
    """The driver as `FakeTensorRt` uses it, and what a test asks of it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(NAME)
        self._works: list[Callable[[], None]] = []
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_long)(lambda number: self._works[number]())

    def needs_context(self, thing: object, name: str) -> None:
        """Nothing here: what outlives its context shows by its memory."""

    def stream(self, handle: int) -> HostStream:
        """The stream of a handle."""
        return HostStream(self, handle)

    def put(self, handle: int, work: Callable[[], None]) -> None:
        """Put work into a stream."""
        self._works.append(work)
        number = ctypes.c_long(len(self._works) - 1)
        self._library.host_put(ctypes.c_void_p(handle), self._call, number)

    def put_elsewhere(self, pixels: np.ndarray) -> tuple[int, int, object]:
        """What another library puts on the device: its address, the stream, and what holds it."""
        library, context = self._library, ctypes.c_void_p()
        place, stream = ctypes.c_uint64(), ctypes.c_void_p()
        library.cuInit(0)
        assert library.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
        assert library.cuCtxPushCurrent_v2(context) == 0
        size = ctypes.c_size_t(pixels.nbytes)
        assert library.cuMemAlloc_v2(ctypes.byref(place), size) == 0
        source = np.ascontiguousarray(pixels)
        source_place = ctypes.c_void_p(source.ctypes.data)
        assert library.cuMemcpyHtoD_v2(place, source_place, size) == 0
        assert library.cuStreamCreate(ctypes.byref(stream), 0) == 0
        assert library.cuCtxPopCurrent_v2(ctypes.byref(context)) == 0
        return int(place.value), int(stream.value or 0), None

    def fail(self, error: int) -> None:
        """Have the next kernel leave its context with a CUresult."""
        self._library.host_fail(error)

    def count(self, call: str) -> int:
        """How often the driver was called."""
        return int(self._library.host_calls(call.encode()))

    @property
    def blocks(self) -> int:
        """Pieces of memory, of the device and page-locked, that are not freed."""
        return int(self._library.host_blocks())
