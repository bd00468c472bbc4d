# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What CI runs is ./run test from the root of the repository, with the Python whose turn it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def test_ci_runs_the_tests_from_the_root(repo: Path, tmp_path: Path) -> None:
    (tmp_path / '.ci').mkdir()
    shutil.copy(repo / '.ci/run', tmp_path / '.ci')
    run = tmp_path / 'run'
    run.write_text('#!/bin/sh\necho "$PWD" "$@"\nexit 3\n')
    run.chmod(0o755)
    command = ['bash', str(tmp_path / '.ci/run'), '-m', 'not slow']
    answer = subprocess.run(command, cwd='/', capture_output=True, text=True, check=False)
    assert answer.stdout == f'{tmp_path} test --python turn -m not slow\n'
    assert answer.returncode == 3
