# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The real PyCUDA and cuda-bindings, where they are installed, on a driver that runs on the host.

Every other test has a PyCUDA of its own (`fake_gpu.cuda`), which knows only what we think of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_gpu.machine import REAL_BINDING
from host_cuda.library import COMPLAINT, build_driver, environment

from segformer_ros.engines.cuda.device import BINDINGS


@pytest.fixture(scope='module', params=BINDINGS, ids=['pycuda', 'cuda-bindings'])
def binding(request: pytest.FixtureRequest) -> str:
    if request.param == BINDINGS[1]:
        pytest.importorskip('cuda.bindings', reason='pip install cuda-bindings')
    return str(request.param)


@pytest.fixture(scope='module')
def driver(tmp_path_factory: pytest.TempPathFactory, binding: str) -> Path:
    """A driver that has all that PyCUDA's extension names; cuda-bindings ask for each call."""
    if binding == BINDINGS[1]:
        return build_driver(tmp_path_factory.mktemp('driver'))
    package = importlib.util.find_spec('pycuda')
    if package is None or package.origin is None:
        pytest.skip('PyCUDA is not installed: pip install pycuda, with the CUDA toolkit in PATH')
    (extension,) = Path(package.origin).parent.glob('_driver*.so')
    return build_driver(tmp_path_factory.mktemp('driver'), extension)


def run_on(driver: Path, repo: Path, command: list[str], **more: str) -> str:
    """Run Python on the driver; what it printed."""
    paths = [str(repo), str(repo / 'test'), os.environ.get('PYTHONPATH', '')]
    variables = {
        **environment(driver),
        'LD_PRELOAD': str(driver),
        'PYTHONPATH': os.pathsep.join(paths),
        **more,
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=repo,
        env=variables,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0 and COMPLAINT not in done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize('integrated', [False, True])
@pytest.mark.parametrize('inference', ['whole', 'slide'])
def test_an_engine_s_life(
    driver: Path, binding: str, repo: Path, tmp_path: Path, inference: str, integrated: bool
) -> None:
    command = ['-m', 'host_cuda.session', '--inference', inference, '--binding', binding]
    variables = {'SEGFORMER_CACHE': str(tmp_path), 'HOST_INTEGRATED': str(int(integrated))}
    outcome = json.loads(run_on(driver, repo, command, **variables).splitlines()[-1])
    assert outcome['agreement'] > 0.99
    assert 1 <= outcome['lost'] <= 2 and outcome['stays lost']
    assert outcome['blocks'] == 0
    calls = outcome['calls']
    assert calls['cuCtxCreate'] == calls['cuCtxDetach'] == 3
    assert calls['cuGraphLaunch'] > 10
    assert (calls['cuMemcpyHtoDAsync'] == 0) == integrated


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tests', 'sm'),
    [
        (['test/engines/test_contract.py', '-k', 'tensorrt'], '50'),
        (['test/verification/test_steps.py', '-k', 'right_engine'], '87'),
        (
            [
                'test/engines/cuda/test_device_frame.py',
                *(
                    '-k',
                    'read_where_it_is or padded or encodings or copy or let_go or stay or dlpack',
                ),
            ],
            '87',
        ),
    ],
    ids=['contract', 'verify', 'frames'],
)
def test_the_whole_contract(
    driver: Path, binding: str, repo: Path, tests: list[str], sm: str
) -> None:
    """The tests of the engine once more, `segformer verify`, and frames on the device."""
    options = ['-p', 'pytest_timeout', '-p', 'no:cacheprovider', '-q', '-s']
    variables = {
        'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',
        REAL_BINDING: binding,
        'HOST_SM': sm,
    }
    printed = run_on(driver, repo, ['-m', 'pytest', *options, *tests], **variables)
    assert ' passed' in printed and ' skipped' not in printed
