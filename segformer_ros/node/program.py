"""A node as a program that is typed: its help, and the refusal of arguments that are not ROS's."""

from __future__ import annotations

import re
import sys
import textwrap
from typing import Iterator, List, NamedTuple, Optional, Tuple

from rclpy.utilities import remove_ros_args

from segformer_ros.errors import EXIT_REFUSED, explained
from segformer_ros.node.given_parameters import check_given
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

    def answer(self, given: List[str]) -> Optional[int]:
        """Give help, or refuse what is not ROS's: the exit code then, None where all is right.

        given: the arguments without the program's name.
        """
        try:
            left = remove_ros_args([self.name, *given])[1:]
        except RuntimeError as error:
            return self._refuse(f'ROS refuses the arguments: {without_source_places(error)}')
        if any(argument in _HELP for argument in left):
            return explained(self.name, self._print_help)
        if left:
            return self._refuse(f'unknown arguments: {" ".join(left)}')
        return None

    def check(self, given: List[str]) -> None:
        """Raises ParameterError for a parameter's value that is wrong as it is written.

        given: as for `answer`.
        """
        check_given(given, self.name, self.parameters)

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
