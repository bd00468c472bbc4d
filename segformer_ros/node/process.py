# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node's process: it starts, works until it is done or interrupted, and ends in order.

What the ROS-free folders log through Python's logging goes to the node's logger (`bridge_logs`).
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Callable, Iterator, List, Optional, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from segformer_ros.errors import SegformerError, in_words, is_expected, one_line, reason
from segformer_ros.interrupts import Interrupts, interruptible
from segformer_ros.node.program import Program, without_source_places
from segformer_ros.node.transport import prepare_transport
from segformer_ros.resources import PACKAGE

N = TypeVar('N', bound=Node)

_POLL = 0.1
"""Seconds at most until an interrupt is noticed."""


class StartError(SegformerError, RuntimeError):
    """ROS itself does not start; in its own words."""


def run_node(
    program: Program,
    create: Callable[[], N],
    work: Callable[[N], bool],
    close: Callable[[N], None],
    arguments: Optional[List[str]] = None,
) -> None:
    """Make a node, let it work, and take it down; exits with 1 where it cannot start or fails.

    Asked for help it gives that alone; an argument that is not ROS's is refused, with exit code 2.
    `work` tells whether all went well, and ends early by KeyboardInterrupt. `close` comes after
    it in any case, while the node can still publish. That is why signals are left to Python:
    rclpy's own handlers would shut ROS down while the node's threads still use it.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    code = program.answer(typed)
    if code is not None:
        sys.exit(code)
    nodes: List[N] = []

    def live() -> bool:
        program.check(typed)
        _start_ros(program.name, typed)
        with _ros_errors():
            nodes.append(create())
        return work(nodes[0])

    try:
        succeeded = _explained(program.name, lambda: interruptible(live))
    except KeyboardInterrupt:
        succeeded = True
    finally:
        closed = _explained(program.name, lambda: _take_down(nodes, close))
    if not (succeeded and closed):
        sys.exit(1)


def spin(node: Node, done: Callable[[], bool] = lambda: False) -> None:
    """Serve a node until it is done; an interrupt is noticed without a message, too.

    It is raised between two callbacks, never inside of one or of rclpy.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    interrupts = Interrupts()
    try:
        with interrupts.held():
            while not (interrupts.noted or done()):
                executor.spin_once(timeout_sec=_POLL)
    finally:
        executor.remove_node(node)


class LogBridge(logging.Handler):
    """Hands records to a logger of rclpy, which knows levels by its methods."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its own level; what goes wrong with that costs the line alone."""
        try:
            self._log(record.levelno, one_line(self.format(record)))
        except Exception:
            self.handleError(record)

    def _log(self, level: int, text: str) -> None:
        # A call for each level: rclpy lets none log at one level now and at another then.
        if level >= logging.CRITICAL:
            self._logger.fatal(text)
        elif level >= logging.ERROR:
            self._logger.error(text)
        elif level >= logging.WARNING:
            self._logger.warning(text)
        elif level >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def bridge_logs(logger: Any) -> None:
    """Send the package's records to a logger of rclpy, in place of any it went to before."""
    package = logging.getLogger(PACKAGE)
    for handler in [h for h in package.handlers if isinstance(h, LogBridge)]:
        package.removeHandler(handler)
    package.addHandler(LogBridge(logger))
    package.setLevel(logging.INFO)
    package.propagate = False


def _start_ros(name: str, arguments: List[str]) -> None:
    """Start ROS without what this machine lacks, which is said; raises StartError."""
    more = []
    fault = _log_fault()
    if fault:
        _say(name, f'{fault}: no log file is written; ROS_LOG_DIR names another place')
        more = ['--ros-args', '--disable-external-lib-logs']
    for note in prepare_transport():
        _say(name, note)
    with _ros_errors():
        rclpy.init(args=[name, *arguments, *more], signal_handler_options=SignalHandlerOptions.NO)


def _log_fault() -> str:
    """Why ROS cannot write into its folder of log files, for which it would not start, or ''."""
    home = os.environ.get('ROS_HOME') or '~/.ros'
    folder = Path(os.environ.get('ROS_LOG_DIR') or f'{home}/log').expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return ''
    except OSError as error:
        return f'{folder}: {reason(error)}'


@contextmanager
def _ros_errors() -> Iterator[None]:
    try:
        yield
    except rclpy_implementation.RCLError as error:
        raise StartError(f'ROS does not start: {without_source_places(error)}') from error


def _take_down(nodes: List[N], close: Callable[[N], None]) -> bool:
    try:
        for node in nodes:
            close(node)
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return True


def _explained(name: str, action: Callable[[], bool]) -> bool:
    """Do `action`; an error that the user can correct is one line, and False."""
    try:
        return action()
    except Exception as error:
        if not is_expected(error):
            raise
        _say(name, in_words(error))
        return False


def _say(name: str, line: str) -> None:
    print(f'{name}: {line}', file=sys.stderr)
