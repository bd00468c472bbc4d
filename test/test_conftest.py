# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the session says of tests that did not run, and what its processes share."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LACKING = """
import importlib.util
_find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in ('rclpy', 'torch') else _find(name)
"""
FILES = {
    'training/test_train.py': 'import nothing_like_torch\ndef test_a(): ...\ndef test_b(): ...\n',
    'test_ros.py': 'import nothing, pytest\npytestmark = [pytest.mark.ros]\ndef test_c(): ...\n',
    'test_some.py': """
import pytest
def test_d(): pytest.skip('no cable')
@pytest.mark.ros
def test_e(): ...
def test_f(): ...
""",
}


@pytest.mark.parametrize('workers', [0, 2])
def test_what_did_not_run_is_counted_by_reason(repo: Path, tmp_path: Path, workers: int) -> None:
    pytest.importorskip('xdist')
    text = (repo / 'test/conftest.py').read_text()
    future = 'from __future__ import annotations\n'
    (tmp_path / 'conftest.py').write_text(text.replace(future, future + LACKING, 1))
    (tmp_path / 'training').mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    options = ['-p', 'xdist.plugin', '-n', str(workers), '-p', 'no:cacheprovider']
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', *options, '-c', os.devnull, '--rootdir=.', '.'],
        cwd=tmp_path,
        env={
            **os.environ,
            'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',
            'SEGFORMER_NOT_RUN': str(tmp_path / 'said'),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    said = (tmp_path / 'said').read_text()
    assert said in done.stdout
    assert said.startswith('5 tests did not run (2: ')
    for words in ('2: torch is not installed', '2: rclpy is not installed', '1: no cable'):
        assert words in said


def test_processes_that_test_together_have_domains_of_their_own(
    conftest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (1, 50, 101):
        monkeypatch.setenv('ROS_DOMAIN_ID', str(first))
        domains = [conftest.worker_domain(worker) for worker in range(8)]
        assert len({first, *domains}) == 9
        assert all(1 <= domain <= conftest.HIGHEST_DOMAIN for domain in domains)


def test_where_everything_ran_nothing_is_said(conftest: Any) -> None:
    assert conftest.not_run({}) == ''


@pytest.fixture
def conftest(repo: Path) -> Any:
    spec = importlib.util.spec_from_file_location('conftest_alone', repo / 'test/conftest.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
