"""A node's process: it starts, works until it is done or interrupted, and ends in order."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Callable, Iterator, List, Optional, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from segformer_ros.errors import SegformerError, in_words, is_expected, reason
from segformer_ros.interrupts import Interrupts, interruptible
from segformer_ros.node.program import Program, without_source_places
from segformer_ros.node.transport import prepare_transport

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
    it in any case, while the node can still publish: that is why signals are left to Python, for
    rclpy's own handlers would shut ROS down under the feet of the node's threads.
    """
    given = sys.argv[1:] if arguments is None else arguments
    code = program.answer(given)
    if code is not None:
        sys.exit(code)
    nodes: List[N] = []

    def live() -> bool:
        program.check(given)
        _start_ros(program.name, given)
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
    """Do `action`; an error that the user can mend is one line, and False."""
    try:
        return action()
    except Exception as error:
        if not is_expected(error):
            raise
        _say(name, in_words(error))
        return False


def _say(name: str, line: str) -> None:
    print(f'{name}: {line}', file=sys.stderr)
