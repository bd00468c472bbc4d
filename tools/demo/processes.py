# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Nodes, each a process of its own, and their orderly end."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Union

import numpy as np

from segformer_ros.interrupts import shielded

Value = Union[bool, int, float, str]

_PATIENCE = (
    (signal.SIGINT, 30.0),
    (signal.SIGTERM, 3.0),
    (signal.SIGKILL, 3.0),
)
"""How a node is ended: the signal, and the seconds that it then has."""


class NodeCommand(NamedTuple):
    """How a node is started: its module, its parameters, and the parameter files before those."""

    module: str
    parameters: Mapping[str, Value]
    files: Sequence[str] = ()
    log_level: str = 'warn'

    @property
    def arguments(self) -> List[str]:
        """The command line."""
        code = (
            'from segformer_ros.interrupts import end_with_parent, node; '
            f'end_with_parent(); node({self.module!r})'
        )
        arguments = [sys.executable, '-c', code, '--ros-args', '--log-level', self.log_level]
        for file in self.files:
            arguments += ['--params-file', file]
        for name, value in self.parameters.items():
            arguments += ['-p', f'{name}:={_yaml(value)}']
        return arguments


class Nodes:
    """Starts nodes and ends them all at the end of its context, the last started first.

    Each node is a session of its own: Ctrl-C reaches this process alone, which then ends them in
    order, so that what they write is whole. A second Ctrl-C ends them at once.
    """

    def __init__(self) -> None:
        self._running: Dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            for name in reversed(list(self._running)):
                self.end(name)
        except KeyboardInterrupt:
            for process in self._running.values():
                process.kill()
            raise

    def start(self, name: str, command: NodeCommand) -> None:
        """Start a node under a name."""
        with shielded():
            self._running[name] = subprocess.Popen(
                command.arguments, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def code(self, name: str) -> Union[int, None]:
        """Exit code of a node; None while it runs."""
        return self._running[name].poll()

    def failure(self, name: str) -> str:
        """That a node ended, in words."""
        return f'the {name} ended with exit code {self.code(name)}; its last lines stand above'

    def end(self, name: str) -> None:
        """End a node if it still runs, harder each time that it does not."""
        process = self._running[name]
        for number, seconds in _PATIENCE:
            if process.poll() is not None:
                return
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue


def _yaml(value: Value) -> str:
    """A parameter's value as ROS reads it from the command line (YAML)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # In quotes, or else an empty text, a number or a colon would be read as something else.
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        # YAML takes 1e-07 for a text.
        return str(np.format_float_positional(value, trim='0'))
    return str(value)
