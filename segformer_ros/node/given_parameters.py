"""Given parameters: what the command line and its parameter files say, as it is written there.

rcl merges them, and drops without a word a value whose type is not that of an earlier one: behind
a file with `mask_width: 0`, `-p mask_width:=half` is simply not there. So each is looked at here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, List, Sequence, Tuple

from segformer_ros.documents import DocumentError, parse_yaml, read_yaml
from segformer_ros.node.parameter import Parameter

Given = Tuple[str, Any]
"""Name and value of a parameter."""

_KEY = 'ros__parameters'
_ANY_NODE = ('*', '**')


def check_given(arguments: Sequence[str], node: str, parameters: Sequence[Parameter]) -> None:
    """Raises ParameterError for the first value of the table's parameters that is wrong.

    arguments: the command line. node: the node's name; what is said to others is passed over, as
    is what ROS itself refuses (a file that is not there, text that is not yaml).
    """
    table = {entry.name: entry for entry in parameters}
    for name, value in given_parameters(arguments, node):
        entry = table.get(name)
        if entry is not None and isinstance(value, (bool, int, float, str, list)):
            entry.checked(_as_ros_reads(value, entry))


def given_parameters(arguments: Sequence[str], node: str) -> Iterator[Given]:
    """All parameters that are said to a node, in the order of the command line."""
    for option, value in zip(arguments, arguments[1:]):
        try:
            if option in ('-p', '--param'):
                yield from _from_words(value, node)
            elif option == '--params-file':
                yield from _from_file(read_yaml(Path(value)), node)
        except (OSError, DocumentError):
            continue


def _from_words(text: str, node: str) -> Iterator[Given]:
    """NAME:=VALUE, or NODE:NAME:=VALUE."""
    name, given, value = text.partition(':=')
    to, _, name = name.rpartition(':')
    if given and (not to or _is_meant(to, node)):
        yield name, parse_yaml(value)


def _from_file(tree: Any, node: str) -> Iterator[Given]:
    """The parameters of a node in a parameter file, whose names may be nested."""
    for key, below in tree.items() if isinstance(tree, dict) else ():
        if isinstance(below, dict) and _KEY in below and _is_meant(str(key), node):
            yield from _flat(below[_KEY], [])
        elif key != _KEY:
            yield from _from_file(below, node)


def _flat(tree: Any, path: List[str]) -> Iterator[Given]:
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
