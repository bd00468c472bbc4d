# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node as a program: help, check of the arguments, start, work and orderly shutdown.

rcl merges the command line with its parameter files, and silently drops a value whose type differs
from that of an earlier one: after a file with `mask_width: 0`, `-p mask_width:=half` is ignored.
So each value is checked here as it is written.

The ROS-free folders log through Python's logging, which goes to the node's logger (`bridge_logs`).
"""

from __future__ import annotations

import logging
import os
import re
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from segformer_ros.documents import DocumentError, parse_yaml, read_yaml
from segformer_ros.errors import (
    EXIT_REFUSED,
    SegformerError,
    explained,
    in_words,
    is_expected,
    one_line,
    reason,
)
from segformer_ros.interrupts import Interrupts, interruptible
from segformer_ros.node.parameter import Parameter, Value, literal
from segformer_ros.node.transport import prepare_transport
from segformer_ros.resources import PACKAGE

_HELP = ('-h', '--help')
_WIDTH = 80
_WAY = '--ros-args -p NAME:=VALUE'


class Program(NamedTuple):
    """What a node's help shows: the program's name, what it does, its parameters.

    summary: a sentence without its full stop. hint: where to read on, in whole sentences.
    """

    name: str
    summary: str
    parameters: Tuple[Parameter, ...] = ()
    hint: str = ''

    def answer(self, arguments: List[str]) -> Optional[int]:
        """Print help, or refuse non-ROS arguments; returns the exit code then, else None.

        arguments: without the program's name.
        """
        from rclpy.utilities import remove_ros_args

        try:
            left = remove_ros_args([self.name, *arguments])[1:]
        except RuntimeError as error:
            refused = f'ROS refuses the arguments: {without_source_places(error)}'
            return self._refuse(refused + _quoting(arguments))
        if any(argument in _HELP for argument in left):
            return explained(self.name, self._print_help)
        if left:
            return self._refuse(f'unknown arguments: {" ".join(left)}')
        return None

    def check(self, arguments: Sequence[str]) -> Dict[str, Value]:
        """The parameters' values according to the command line, before ROS has read it.

        Raises ParameterError for an invalid value on the command line or in a file.
        arguments: as for `answer`.
        """
        return check_command_line(arguments, self.name, self.parameters)

    def help(self) -> str:
        """Usage, and all parameters with their defaults."""
        lines = [
            f'usage: {self.name} --ros-args [-p NAME:=VALUE]...',
            '           [--params-file FILE.yaml]... [-r TOPIC:=OTHER_TOPIC]...',
            '',
            textwrap.fill(f'{self.summary}. {self.hint}'.strip(), _WIDTH),
            '',
            'Parameters, with their defaults:',
        ]
        return '\n'.join([*lines, *self._parameter_lines()])

    def _print_help(self) -> int:
        print(self.help())
        return 0

    def _parameter_lines(self) -> Iterator[str]:
        for entry in self.parameters:
            meaning = entry.description + (f' ({entry.allowed})' if entry.limited else '')
            yield f'  {entry.name}: {literal(entry.default)}'
            yield textwrap.fill(meaning, _WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6)

    def _refuse(self, what: str) -> int:
        print(f'{self.name}: {what}; a parameter is given as {_WAY}, see --help', file=sys.stderr)
        return EXIT_REFUSED


def _quoting(arguments: Sequence[str]) -> str:
    """How to give a value like sample:, which YAML takes for a key; '' if there is none."""
    for argument in arguments:
        name, is_value, value = argument.partition(':=')
        if is_value and value.endswith(':'):
            return f'; a value that ends in a colon needs quotes: -p "{name}:=\'{value}\'"'
    return ''


def without_source_places(error: RuntimeError) -> str:
    """rcl's message without its prefix and without positions in its source code."""
    return re.sub(r', at \S+:\d+|^Failed to parse ROS arguments: ', '', str(error)).rstrip('.')


_KEY = 'ros__parameters'
_ANY_NODE = ('*', '**')


def check_command_line(
    arguments: Sequence[str], node: str, parameters: Sequence[Parameter]
) -> Dict[str, Value]:
    """Values by name, from the command line and the defaults; raises ParameterError if invalid.

    arguments: the command line. node: the node's name; parameters of other nodes are skipped, as
    is what ROS itself refuses (a missing file, invalid yaml).
    """
    table = {entry.name: entry for entry in parameters}
    values = {entry.name: entry.default for entry in parameters}
    for name, value in command_line_parameters(arguments, node):
        entry = table.get(name)
        if entry is not None and isinstance(value, (bool, int, float, str, list)):
            values[name] = entry.checked(_as_ros_reads(value, entry))
    return values


def is_renamed(arguments: Sequence[str], node: str) -> bool:
    """Whether the command line gives the node another name or namespace.

    Which parameters of a file are such a node's, ROS alone knows.
    """
    ours = {'__node': node, '__name': node, '__ns': '/'}
    remaps = (entry.rpartition(':=') for entry in arguments)
    return any(ours.get(what.rpartition(':')[2], name) != name for what, _, name in remaps)


def command_line_parameters(arguments: Sequence[str], node: str) -> Iterator[Tuple[str, Any]]:
    """All parameters given to a node, in the order of the command line."""
    for option, value in zip(arguments, arguments[1:]):
        try:
            if option in ('-p', '--param'):
                yield from _from_words(value, node)
            elif option == '--params-file':
                yield from _from_file(read_yaml(Path(value)), node)
        except (OSError, DocumentError):
            continue


def _from_words(text: str, node: str) -> Iterator[Tuple[str, Any]]:
    """NAME:=VALUE, or NODE:NAME:=VALUE."""
    name, separator, value = text.partition(':=')
    target, _, name = name.rpartition(':')
    if separator and (not target or _matches(target, node)):
        yield name, parse_yaml(value)


def _from_file(tree: Any, node: str) -> Iterator[Tuple[str, Any]]:
    """The parameters of a node in a parameter file, whose names may be nested."""
    for key, below in tree.items() if isinstance(tree, dict) else ():
        if isinstance(below, dict) and _KEY in below and _matches(str(key), node):
            yield from _flat(below[_KEY], [])
        elif key != _KEY:
            yield from _from_file(below, node)


def _flat(tree: Any, path: List[str]) -> Iterator[Tuple[str, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        here = [*path, str(key)]
        if isinstance(value, dict):
            yield from _flat(value, here)
        else:
            yield '.'.join(here), value


def _matches(target: str, node: str) -> bool:
    """Whether a node name or wildcard in an argument or a file means this node."""
    return target.rpartition('/')[2] in (node, *_ANY_NODE)


def _as_ros_reads(value: Any, entry: Parameter) -> Any:
    """The value; a number that yaml reads as a string (1e-7) as a number."""
    if isinstance(value, str) and entry.type is float:
        try:
            return float(value)
        except ValueError:
            pass
    return value


N = TypeVar('N', bound=Node)

_POLL = 0.1
"""Longest time until an interrupt is noticed, seconds."""


class StartError(SegformerError, RuntimeError):
    """ROS itself does not start; has its own message."""


def run_node(
    program: Program,
    create: Callable[[], N],
    work: Callable[[N], bool],
    close: Callable[[N], None],
    arguments: Optional[List[str]] = None,
) -> None:
    """Create a node, run it, and shut it down; exits with 1 if it cannot start or fails.

    Only prints help if asked for it; a non-ROS argument is refused, with exit code 2. `work`
    returns whether it succeeded, and is ended early by KeyboardInterrupt. `close` is always called
    after it, while the node can still publish. That is why signals are left to Python: rclpy's own
    handlers would shut ROS down while the node's threads still use it.
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
    """Spin a node until it is done or interrupted.

    KeyboardInterrupt is raised between two callbacks, never inside one or inside rclpy.
    """
    executor = QuietExecutor()
    executor.add_node(node)
    interrupts = Interrupts()
    try:
        with interrupts.held():
            while not (interrupts.noted or done()):
                executor.spin_once(timeout_sec=_POLL)
    finally:
        executor.remove_node(node)


class QuietExecutor(SingleThreadedExecutor):  # type: ignore[misc]
    """Builds its wait set once per callback.

    rclpy's own executors trigger their guard condition after each callback, for other threads that
    wait for the same group, and so build the wait set a second time for nothing: with a camera's
    topics that is half of the executor's cost.
    """

    _guard: Any

    def __init__(self) -> None:
        super().__init__()
        self._own_guard = self._guard

    def wake(self) -> None:
        """Look for work again; from any thread."""
        if self._guard:
            self._own_guard.trigger()

    def _make_handler(self, *arguments: Any) -> Any:
        self._guard = _NoGuard
        try:
            return super()._make_handler(*arguments)
        finally:
            self._guard = self._own_guard


class _NoGuard:
    """Stands in for the guard condition by which an executor wakes itself."""

    @staticmethod
    def trigger() -> None:
        """Do nothing."""


class LogBridge(logging.Handler):
    """Forwards log records to a logger of rclpy, which has a method for each level."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its level; an error in that loses only the line."""
        try:
            self._log(record.levelno, one_line(self.format(record)))
        except Exception:
            self.handleError(record)

    def _log(self, level: int, text: str) -> None:
        # Separate calls: rclpy does not allow a call site to change its level.
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
    """Forward the package's log records to a logger of rclpy, in place of an earlier one."""
    package = logging.getLogger(PACKAGE)
    for handler in [h for h in package.handlers if isinstance(h, LogBridge)]:
        package.removeHandler(handler)
    package.addHandler(LogBridge(logger))
    package.setLevel(logging.INFO)
    package.propagate = False


def _start_ros(name: str, arguments: List[str]) -> None:
    """Start ROS without what this machine lacks, and say what that is; raises StartError."""
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
    """Why ROS cannot write into its log folder, without which it would not start; or ''."""
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
    """Run `action`; prints an error that the user can correct as one line, and returns False."""
    try:
        return action()
    except Exception as error:
        if not is_expected(error):
            raise
        _say(name, in_words(error))
        return False


def _say(name: str, line: str) -> None:
    print(f'{name}: {line}', file=sys.stderr)
