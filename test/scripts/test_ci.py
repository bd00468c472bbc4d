"""What CI runs is ./run test, from the root of the repository."""

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
    assert (answer.stdout, answer.returncode) == (f'{tmp_path} test -m not slow\n', 3)
