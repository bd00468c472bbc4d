"""Ctrl-C before a program of the demo is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segformer_ros.errors import EXIT_INTERRUPTED


@pytest.mark.parametrize('module', ['tools.demo', 'tools.demo.evaluate_live'])
def test_interrupted_while_its_libraries_load(module: str, tmp_path: Path) -> None:
    library = tmp_path / 'yaml.py'
    library.write_text(f'import os\nos.kill(os.getpid(), {signal.SIGINT.value})\n')
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ended = subprocess.run(
        [sys.executable, '-m', module],
        env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (EXIT_INTERRUPTED, '')
