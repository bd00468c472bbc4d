# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The API reference is built from the docstrings without a warning, and has the whole face."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import segformer_ros


def test_the_reference_names_what_is_public(repo: Path) -> None:
    page = (repo / 'doc/api/index.rst').read_text()
    named = re.findall(r'^\.\. auto\w+:: segformer_ros\.(\w+)$', page, re.MULTILINE)
    assert sorted(named) == segformer_ros.__all__


@pytest.mark.slow
def test_it_is_built_without_a_warning(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip('sphinx', reason='no Sphinx: it is in requirements/dev.txt')
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', str(repo / 'doc/api')]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / 'index.html').read_text()
    assert [n for n in segformer_ros.__all__ if f'id="segformer_ros.{n}"' not in html] == []
    # Parameters are a list of their own, not one paragraph.
    assert '<li><p><strong>calibration, pose</strong>: the camera' in html
