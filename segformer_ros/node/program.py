# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node as a program: its help, the refusal of wrong arguments, its start, work and orderly end.

rcl merges the command line with its parameter files, and drops without a word a value whose type
is not that of an earlier one: behind a file with `mask_width: 0`, `-p mask_width:=half` is simply
not there. So each value is looked at here as it is written.

What the ROS-free folders log through Python's logging goes to the node's logger (`bridge_logs`).
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
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

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
from segformer_ros.node.parameter import Parameter, literal
from segformer_ros.node.transport import prepare_transport
from segformer_ros.resources import PACKAGE

_HELP = ('-h', '--help')
_WIDTH = 80
_WAY = '--ros-args -p NAME:=VALUE'


class Program(NamedTuple):
    """What a node's help says: the program's name, what it does, its parameters.

    summary: a sentence without its full stop. hint: where to read on, as whole sentences.
    """

    name: str
    summary: str
    parameters: Tuple[Parameter, ...] = ()
    hint: str = ''

    def answer(self, arguments: List[str]) -> Optional[int]:
        """Give help, or refuse what is not ROS's: the exit code then, None where all is right.

        arguments: those without the program's name.
        """
        from rclpy.utilities import remove_ros_args

        try:
            left = remove_ros_args([self.name, *arguments])[1:]
        except RuntimeError as error:
            return self._refuse(f'ROS refuses the arguments: {without_source_places(error)}')
        if any(argument in _HELP for argument in left):
            return explained(self.name, self._print_help)
        if left:
            return self._refuse(f'unknown arguments: {" ".join(left)}')
        return None

    def check(self, arguments: List[str]) -> None:
        """Raises ParameterError for a parameter's value that is wrong as it is written.

        arguments: as for `answer`.
        """
        check_command_line(arguments, self.name, self.parameters)

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


def without_source_places(error: RuntimeError) -> str:
    """rcl's words, without its first and without the places in its source."""
    return re.sub(r', at \S+:\d+|^Failed to parse ROS arguments: ', '', str(error)).rstrip('.')


_KEY = 'ros__parameters'
_ANY_NODE = ('*', '**')


def check_command_line(
    arguments: Sequence[str], node: str, parameters: Sequence[Parameter]
) -> None:
    """Raises ParameterError for the first value of the table's parameters that is wrong.

    arguments: the command line. node: the node's name; what is said to others is passed over, as
    is what ROS itself refuses (a file that is not there, text that is not yaml).
    """
    table = {entry.name: entry for entry in parameters}
    for name, value in command_line_parameters(arguments, node):
        entry = table.get(name)
        if entry is not None and isinstance(value, (bool, int, float, str, list)):
            entry.checked(_as_ros_reads(value, entry))


def command_line_parameters(arguments: Sequence[str], node: str) -> Iterator[Tuple[str, Any]]:
    """All parameters that are said to a node, in the order of the command line."""
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
    to, _, name = name.rpartition(':')
    if separator and (not to or _is_meant(to, node)):
        yield name, parse_yaml(value)


def _from_file(tree: Any, node: str) -> Iterator[Tuple[str, Any]]:
    """The parameters of a node in a parameter file, whose names may be nested."""
    for key, below in tree.items() if isinstance(tree, dict) else ():
        if isinstance(below, dict) and _KEY in below and _is_meant(str(key), node):
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


def _is_meant(to: str, node: str) -> bool:
    return to.rpartition('/')[2] in (node, *_ANY_NODE)


def _as_ros_reads(value: Any, entry: Parameter) -> Any:
    """The value; a number that yaml takes for a text (1e-7) as a number."""
    if isinstance(value, str) and entry.type is float:
        try:
            return float(value)
        except ValueError:
            pass
    return value


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
    """Prepares its waiting once for each callback.

    rclpy's own executors wake themselves after each, for threads that wait for the same group, and
    prepare in vain: with a camera's topics that is half of what the executor costs.
    """

    _guard: Any

    def __init__(self) -> None:
        super().__init__()
        self._alarm = self._guard

    def wake(self) -> None:
        """Look for work anew; from any thread."""
        if self._guard:
            self._alarm.trigger()

    def _make_handler(self, *arguments: Any) -> Any:
        self._guard = _Unheard
        try:
            return super()._make_handler(*arguments)
        finally:
            self._guard = self._alarm


class _Unheard:
    """In place of the guard condition that an executor wakes itself by."""

    @staticmethod
    def trigger() -> None:
        """Wake nobody."""


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
