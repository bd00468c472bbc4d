# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The kernels' tests once more, with every access to memory and every number looked at.

What compute-sanitizer does on a GPU, the compiler's sanitizers do on the host: accesses beyond an
array, shifts and conversions that C++ leaves undefined.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from host_kernels import SANITIZED

# Without OpenVINO, which loads libraries in a way that the sanitizers do not allow.
KERNELS = ('test_kernels.py', 'test_postprocess.py', 'test_preprocess.py')
ENGINE = ('test_contract.py', '-k', 'tensorrt')


@pytest.fixture(scope='module')
def runtime() -> str:
    """The sanitizers' libraries, which must be there before Python allocates anything."""
    libraries = []
    for name in ('libasan.so', 'libubsan.so'):
        asked = ['g++', f'-print-file-name={name}']
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip('no g++ to compile the kernels for the CPU')
        if not Path(done.stdout.strip()).is_absolute():
            pytest.skip(f'this g++ is without its {name}')
        libraries.append(done.stdout.strip())
    return ' '.join(libraries)


@pytest.mark.parametrize(
    ('folder', 'tests'), [('cuda', KERNELS), ('.', ENGINE)], ids=['kernels', 'engine']
)
def test_nothing_beyond_its_memory_is_touched(
    repo: Path, runtime: str, folder: str, tests: tuple[str, ...]
) -> None:
    variables = {
        **os.environ,
        SANITIZED: '1',
        'LD_PRELOAD': runtime,
        'ASAN_OPTIONS': 'detect_leaks=0',  # Python keeps much to its end
        'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',
    }
    options = ['-p', 'pytest_timeout', '-p', 'no:cacheprovider', '--capture=no', '--quiet']
    command = [sys.executable, '-m', 'pytest', *options, *tests]
    done = subprocess.run(
        command,
        cwd=repo / 'test' / 'engines' / folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert ' passed' in done.stdout and ' skipped' not in done.stdout
