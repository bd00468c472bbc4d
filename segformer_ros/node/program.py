# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node as a program that is typed: its help, and the refusal of arguments that are wrong.

rcl merges the command line with its parameter files, and drops without a word a value whose type
is not that of an earlier one: behind a file with `mask_width: 0`, `-p mask_width:=half` is simply
not there. So each value is looked at here as it is written.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from segformer_ros.documents import DocumentError, parse_yaml, read_yaml
from segformer_ros.errors import EXIT_REFUSED, explained
from segformer_ros.node.parameter import Parameter, literal

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
