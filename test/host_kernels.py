# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""kernels.cu compiled for the CPU, so that its numbers are tested without a GPU."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from segformer_ros.engines.cuda.launches import KERNELS, Launch

SHIM = Path(__file__).with_name('host_kernels.cpp')

SANITIZED = 'HOST_KERNELS_SANITIZED'
"""Environment variable with which they look at every access to memory (test_sanitized.py)."""
SANITIZERS = ('-fsanitize=address,undefined', '-fno-sanitize-recover=all')


@functools.lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The compiled shim; skips the test where there is no C++ compiler."""
    compiler = shutil.which('g++') or shutil.which('c++')
    if compiler is None:
        import pytest

        pytest.skip('no C++ compiler (g++) to compile the kernels for the CPU')
    flags = ['-O1', '-g', *SANITIZERS] if os.environ.get(SANITIZED) else ['-O2']
    sources = KERNELS.read_bytes() + SHIM.read_bytes() + ' '.join(flags).encode()
    key = hashlib.sha256(sources).hexdigest()[:16]
    target = Path(tempfile.gettempdir(), f'segformer-host-kernels-{os.getuid()}-{key}.so')
    if not target.exists():
        made = target.with_suffix(f'.{os.getpid()}')
        # -ffp-contract=off: the golden cases are compared with plain IEEE arithmetic.
        subprocess.run(
            [
                *(compiler, *flags, '-shared', '-fPIC', '-ffp-contract=off', '-w', '-x', 'c++'),
                *(f'-DKERNELS="{KERNELS}"', '-o', str(made), str(SHIM)),
            ],
            check=True,
        )
        os.replace(made, target)
    return ctypes.CDLL(str(target))


def run(job: Launch) -> None:
    """Run a job whose addresses are those of host memory."""
    argument = np.array(job.argument)
    function = getattr(library(), f'host_{job.kernel}')
    function(ctypes.c_void_p(argument.ctypes.data), *map(ctypes.c_int, job.grid))
