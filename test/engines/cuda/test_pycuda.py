"""The real PyCUDA, where it is installed, on a driver that runs on the host.

Every other test has a PyCUDA of its own (`fake_gpu.cuda`), which knows only what we think of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from host_cuda.library import COMPLAINT, build_driver, environment


@pytest.fixture(scope='module')
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = importlib.util.find_spec('pycuda')
    if package is None or package.origin is None:
        pytest.skip('PyCUDA is not installed: pip install pycuda, with the CUDA toolkit in PATH')
    (extension,) = Path(package.origin).parent.glob('_driver*.so')
    return build_driver(tmp_path_factory.mktemp('driver'), extension)


def run_session(
    driver: Path, repo: Path, cache: Path, inference: str, integrated: bool
) -> dict[str, Any]:
    paths = [str(repo), str(repo / 'test'), os.environ.get('PYTHONPATH', '')]
    variables = {
        **environment(driver, integrated),
        'LD_PRELOAD': str(driver),
        'PYTHONPATH': os.pathsep.join(paths),
        'SEGFORMER_CACHE': str(cache),
    }
    command = [sys.executable, '-m', 'host_cuda.session', '--inference', inference]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and COMPLAINT not in done.stderr, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


@pytest.mark.parametrize('integrated', [False, True])
@pytest.mark.parametrize('inference', ['whole', 'slide'])
def test_an_engine_s_life(
    driver: Path, repo: Path, tmp_path: Path, inference: str, integrated: bool
) -> None:
    outcome = run_session(driver, repo, tmp_path, inference, integrated)
    assert outcome['agreement'] > 0.99
    assert 1 <= outcome['lost'] <= 2
    assert outcome['blocks'] == 0
    calls = outcome['calls']
    assert calls['cuCtxCreate'] == calls['cuCtxDetach'] == 2
    assert calls['cuGraphLaunch'] > 10
    assert (calls['cuMemcpyHtoDAsync'] == 0) == integrated
