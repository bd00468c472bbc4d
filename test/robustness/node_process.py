# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The segmentation node as a process, and what it takes of the machine."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) that asks for a signal when the parent ends."""

_PATIENCE = ((signal.SIGINT, 30.0), (signal.SIGKILL, 10.0))


def with_tests() -> dict[str, str]:
    """The environment in which a further process of this folder finds its modules."""
    path = os.pathsep.join([str(ROOT / 'test'), str(ROOT), os.environ.get('PYTHONPATH', '')])
    return {**os.environ, 'PYTHONPATH': path}


class Usage(NamedTuple):
    """Of a process now: memory and its peak in MiB, CPU time in seconds."""

    memory: float
    peak: float
    threads: int
    descriptors: int
    cpu: float


class NodeProcess:
    """Runs the node until the end of its context, or of this process.

    parameters: of the node, by their names. address_space: MiB that it may have at most, so that
    what swallows memory ends this process and not the machine. stderr: where its log goes.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        stderr: IO[bytes] | int = subprocess.DEVNULL,
        address_space: int | None = None,
    ) -> None:
        command = [str(ROOT / 'scripts/segmentation_node'), '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={str(value).lower()}']

        def prepare() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if address_space is not None:
                resource.setrlimit(resource.RLIMIT_AS, (address_space * MIB,) * 2)

        # Each warning is shown, not the first of its kind alone.
        environment = {**os.environ, 'PYTHONWARNINGS': 'always::RuntimeWarning'}
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=stderr, env=environment, preexec_fn=prepare
        )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *error: Any) -> None:
        self.end()

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        """Interrupt it, and kill it where that does not help; returns the exit code."""
        for number, patience in _PATIENCE:
            if self._process.poll() is None:
                self._process.send_signal(number)
            try:
                return self._process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        raise RuntimeError(f'the node (process {self._process.pid}) cannot be ended')

    def usage(self) -> Usage:
        """What the process takes now; raises OSError or KeyError where it has ended."""
        folder = Path(f'/proc/{self._process.pid}')
        status = dict(
            line.split(':', 1) for line in (folder / 'status').read_text().splitlines() if line
        )
        fields = (folder / 'stat').read_text().rpartition(')')[2].split()
        return Usage(
            memory=int(status['VmRSS'].split()[0]) / 1024,
            peak=int(status['VmHWM'].split()[0]) / 1024,
            threads=int(status['Threads']),
            descriptors=len(os.listdir(folder / 'fd')),
            cpu=(int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK'),
        )

    def forget_peak(self) -> None:
        """Let the peak of the memory count anew from now on (proc(5), clear_refs)."""
        Path(f'/proc/{self._process.pid}/clear_refs').write_text('5')
