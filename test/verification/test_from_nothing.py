# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""From an empty environment to verify.md: a machine with pip and a driver alone, and an old one.

The driver is the one for the host. No TensorRT runs without a GPU, so that the one of `fake_gpu`
stands in its place there; TensorRT-RTX, the real one, builds engines where there is no driver.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from host_cuda.library import COMPLAINT, build_driver, environment

ASKED = 'SEGFORMER_TEST_FROM_NOTHING'
SOURCES = (
    'README.md', 'LICENSE', 'config', 'models', 'msg', 'samples', 'segformer_ros', 'setup.cfg',
    'setup.py',
)  # fmt: skip
TENSORRT = """
from fake_gpu import SURFACES, FakeTensorRt
from host_cuda.library import HostCuda

globals().update(FakeTensorRt(SURFACES['10.13.2.6'], HostCuda()).module.__dict__)
"""
# A CPU takes thousands of times what the copies of a GPU take, and does nothing meanwhile.
TIMED = {'time in float16', 'time in float32', 'frames overlap'}
QUICK = ('--precisions', 'fp16', '--batch', '1', '--seconds', '0.01', '--frame-size', '320x180')

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope='module')
def machine(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment made by pip, without a compiler in PATH; the package from its sources."""
    if not os.environ.get(ASKED):
        pytest.skip(f'installs 1.2 GB and takes minutes: set {ASKED}=1')
    folder = with_sources(repo, tmp_path_factory.mktemp('machine'))
    subprocess.run([sys.executable, '-m', 'venv', str(folder / 'venv')], check=True)
    pip = [str(folder / 'venv/bin/python'), '-m', 'pip', 'install', '--quiet']
    # Of wheels alone, but for the package itself and the small one that names TensorRT-RTX's.
    asked = ['--only-binary', ':all:', '--no-binary', 'tensorrt-rtx-cu13', './source[tensorrt]']
    done = subprocess.run(
        [*pip, *asked], cwd=folder, env=bare(folder), capture_output=True, text=True
    )
    if 'No matching distribution' in done.stderr or 'onnection' in done.stderr:
        pytest.skip(f'pip finds not all of it: {done.stderr.strip().splitlines()[-1]}')
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def old_machine(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The oldest Python that will do, and the oldest version of each library."""
    if not os.environ.get(ASKED):
        pytest.skip(f'installs 0.3 GB and takes minutes: set {ASKED}=1')
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    # In PATH may be a stand-in of pyenv that runs none.
    found = [*map(str, pyenv.glob('versions/3.8.*/bin/python3.8')), shutil.which('python3.8')]
    python = next(filter(None, found), None)
    if python is None:
        pytest.skip('no Python 3.8 is here, neither in PATH nor of pyenv')
    folder = with_sources(repo, tmp_path_factory.mktemp('old_machine'))
    uv, venv = str(Path(sys.executable).with_name('uv')), str(folder / 'venv')
    subprocess.run([uv, 'venv', '--quiet', '--python', python, venv], check=True)
    install = [uv, 'pip', 'install', '--quiet', '--python', f'{venv}/bin/python']
    oldest = ['--resolution', 'lowest-direct', '--only-binary', ':all:']
    # Jinja2 before 3.0 does not say that MarkupSafe must not be newer.
    asked = ['--no-binary', 'segformer-ros', 'MarkupSafe==2.0.1', './source']
    done = subprocess.run([*install, *oldest, *asked], cwd=folder, capture_output=True, text=True)
    if 'Failed to fetch' in done.stderr:
        pytest.skip(f'uv reaches no registry: {done.stderr.strip().splitlines()[-1]}')
    assert done.returncode == 0, done.stderr
    return folder


def with_sources(repo: Path, folder: Path) -> Path:
    """The folder, with the package's sources in it."""
    for name in SOURCES:
        source, target = repo / name, folder / 'source' / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    return folder


def bare(folder: Path) -> dict[str, str]:
    """The environment's variables: no compiler, no CUDA toolkit, nothing of these sources."""
    path = str(folder / 'venv/bin')
    assert not any(shutil.which(name, path=path) for name in ('cc', 'gcc', 'g++', 'nvcc'))
    foreign = ('PYTHONPATH', 'LD_LIBRARY_PATH', 'VIRTUAL_ENV')
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**kept, 'PATH': path, 'SEGFORMER_CACHE': str(folder / 'cache')}


def verify(folder: Path, *options: str, **more: str) -> tuple[int, dict[str, Any]]:
    """Run it to its end; the exit code and verify.json."""
    out = folder / 'out'
    command = [str(folder / 'venv/bin/segformer'), 'verify', '--out', str(out), *options]
    variables = {**bare(folder), **more}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert 'Traceback' not in done.stderr and COMPLAINT not in done.stderr, done.stderr
    report = json.loads((out / 'verify.json').read_text())
    text = (out / 'verify.md').read_text()
    assert report['complete'] and 'Not complete' not in text
    assert platform.node() not in text and str(Path.home()) not in text
    for check in report['checks']:
        assert f'| {check["name"]} | {check["verdict"]} |' in text
    return done.returncode, report


def failed(report: dict[str, Any]) -> dict[str, str]:
    return {one['name']: one['figure'] for one in report['checks'] if one['verdict'] == 'fail'}


def test_with_a_driver_every_check_is_made(machine: Path, repo: Path) -> None:
    (machine / 'stand_in').mkdir()
    (machine / 'stand_in/tensorrt.py').write_text(TENSORRT)
    (machine / 'driver').mkdir()
    driver = build_driver(machine / 'driver')
    variables = {
        name: value
        for name, value in environment(driver).items()
        if name in ('LD_LIBRARY_PATH', 'HOST_KERNELS')
    }
    code, report = verify(
        machine,
        *QUICK,
        **variables,
        LD_PRELOAD=str(driver),
        PYTHONPATH=os.pathsep.join([str(machine / 'stand_in'), str(repo / 'test')]),
    )
    wrong = failed(report)
    assert set(wrong) <= TIMED, wrong
    assert code == int(bool(wrong))
    figures = {f'{one["part"]}: {one["name"]}': one['figure'] for one in report['checks']}
    assert figures['GPU: CUDA binding'].startswith('cuda-bindings')
    assert 'not applicable' not in {
        one['verdict'] for one in report['checks'] if one['part'] in ('kernels', 'fp16')
    }
    assert list(report['speed']) == ['CPU', 'fp16']


def test_without_a_driver_tensorrt_rtx_builds(machine: Path) -> None:
    code, report = verify(machine, *QUICK)
    assert code == 0 and failed(report) == {}
    (built,) = (one for one in report['checks'] if one['name'].startswith('built by TensorRT-RTX'))
    assert built['verdict'] == 'pass' and 'fp16' in built['figure']
    assert 'Without a GPU' in report['notes'][0]


def test_with_the_oldest_libraries_masks_are_right_and_everything_is_written(
    old_machine: Path,
) -> None:
    code, report = verify(old_machine)
    assert code == 0 and failed(report) == {}
    for command in (
        ('doctor',),
        ('segment', 'sample:', '--out', 'segmented'),
        ('segment', 'segmented/overlay.mp4', '--out', 'again'),
        ('evaluate', 'sample:', '--out', 'one'),
        ('evaluate', 'sample:', '--out', 'other', '--model', 'tiny'),
        ('compare', 'one', 'other'),
    ):
        done = subprocess.run(
            [str(old_machine / 'venv/bin/segformer'), *command],
            cwd=old_machine,
            env=bare(old_machine),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert 'too old' not in done.stdout
    metrics = json.loads((old_machine / 'one/metrics.json').read_text())
    assert metrics['frames'] == {'total': 60, 'scored': 60, 'noted': 0}
    assert 'street_drive' in (old_machine / 'one/report.html').read_text()
