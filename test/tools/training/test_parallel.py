# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Processes that train together, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, pathlib, sys, time
from tools.training.parallel import launch

def work(group):
    pathlib.Path(sys.argv[1], f'{group.rank}').write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == '__main__':
    launch(2, work)
"""


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely unburied."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_ended_from_outside_all_end(tmp_path: Path) -> None:
    script = tmp_path / 'program.py'
    script.write_text(PROGRAM)
    root = Path(__file__).parents[3]
    program = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, 'PYTHONPATH': str(root)}
    )
    files = [tmp_path / '0', tmp_path / '1']
    end = time.monotonic() + 100
    while not all(file.exists() and file.read_text() for file in files):
        assert program.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    assert program.wait(100) == 128 + signal.SIGTERM
    assert not any(is_running(int(file.read_text())) for file in files)
