#!/usr/bin/env python3
# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Write doc/parameters.md and config/segment.yaml from the nodes' tables of parameters.

Without arguments both files are written; with --check it only says whether they are up to date.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from segformer_ros.node.evaluator.evaluator_node import EvaluatorSettings
from segformer_ros.node.parameter import Changeable, Parameter, literal, start_parameters_of
from segformer_ros.node.replay.replay_parameters import ReplaySettings
from segformer_ros.node.segmentation.parameters import node_parameters
from segformer_ros.text_table import markdown_table
from tools.demo.recorder_parameters import RecorderSettings

ROOT = Path(__file__).resolve().parents[1]

TYPE_NAMES: Dict[type, str] = {
    bool: 'bool',
    int: 'int',
    float: 'double',
    str: 'string',
    tuple: 'string[]',
}
CHANGES: Dict[Changeable, str] = {
    Changeable.START: 'no (read-only)',
    Changeable.CONFIGURE: 'while unconfigured',
    Changeable.LIVE: 'yes',
}

COLUMNS = ('Parameter', 'Type', 'Default', 'Allowed', 'Changes', 'Meaning')

MARKDOWN_HEAD = """\
# Parameters of the segmentation node

Made by `scripts/parameter_table.py` from the nodes' settings classes in
`segformer_ros/node/`; do not edit. Wrong values are refused with an explanation, at start and by
`ros2 param set`. "Changes" says when a parameter may be changed: `yes` means at any time, from the
next frame on; `while unconfigured` needs `ros2 lifecycle set /segmentation_node deactivate`, then
`cleanup`, first.

With several `cameras`, each has its own mount: `front.mount.height` and so on.
"""

REPLAY_HEAD = """
# Parameters of the replay node

All are set at start; the launch file `replay.launch.py` has arguments for the usual ones.
"""

EVALUATOR_HEAD = """
# Parameters of the evaluator node

All are set at start; the launch file `evaluate.launch.py` has arguments for the usual ones.
"""

RECORDER_HEAD = """
# Parameters of the recorder node

All are set at start, by `./run demo`.
"""

YAML_HEAD = """\
# Parameters of the segmentation node with their defaults; doc/parameters.md has their limits.
# Made by scripts/parameter_table.py. Copy this file and keep the lines that you change:
#   ros2 launch segformer_ros segment.launch.py params_file:=my.yaml
# With `cameras: [front, left]` the mounts are `front: {mount: {...}}` and `left: {mount: {...}}`.
/**:
  ros__parameters:
"""


def markdown() -> str:
    """Text of doc/parameters.md."""
    return (
        MARKDOWN_HEAD
        + markdown_tables(node_parameters())
        + REPLAY_HEAD
        + markdown_tables(start_parameters_of(ReplaySettings))
        + EVALUATOR_HEAD
        + markdown_tables(start_parameters_of(EvaluatorSettings))
        + RECORDER_HEAD
        + markdown_tables(start_parameters_of(RecorderSettings))
    )


def markdown_tables(entries: Sequence[Parameter]) -> str:
    """One table for each group of parameters, under its heading."""
    groups: Dict[str, List[Parameter]] = {}
    for entry in entries:
        groups.setdefault(_group(entry), []).append(entry)
    text = ''
    for group, members in groups.items():
        table = markdown_table(COLUMNS, map(_cells, members))
        text += f'\n## {f"`{group}`" if group else "Node"}\n\n{table}\n'
    return text


def _group(entry: Parameter) -> str:
    return entry.name.rpartition('.')[0]


def _cells(entry: Parameter) -> Tuple[str, ...]:
    return (
        f'`{entry.name}`',
        TYPE_NAMES[entry.type],
        f'`{literal(entry.default)}`',
        entry.allowed,
        CHANGES[entry.change],
        entry.description,
    )


def yaml_text() -> str:
    """Text of config/segment.yaml."""
    return YAML_HEAD + '\n'.join(_yaml_lines()) + '\n'


def _yaml_lines() -> Iterator[str]:
    groups: Tuple[str, ...] = ()
    for entry in node_parameters():
        *path, name = entry.name.split('.')
        shared = 0
        while shared < min(len(path), len(groups)) and path[shared] == groups[shared]:
            shared += 1
        for depth in range(shared, len(path)):
            yield '    ' + '  ' * depth + f'{path[depth]}:'
        groups = tuple(path)
        indent = '    ' + '  ' * len(path)
        comment = entry.description + (f' ({entry.allowed})' if entry.limited else '')
        yield from textwrap.wrap(
            comment, 99, initial_indent=f'{indent}# ', subsequent_indent=f'{indent}# '
        )
        yield f'{indent}{name}: {literal(entry.default)}'


FILES = {'doc/parameters.md': markdown, 'config/segment.yaml': yaml_text}


def main() -> int:
    """Write or check the files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='only say whether they are current')
    arguments = parser.parse_args()
    old = []
    for name, text in FILES.items():
        path = ROOT / name
        if not path.is_file() or path.read_text(encoding='utf-8') != text():
            old.append(name)
            if not arguments.check:
                path.write_text(text(), encoding='utf-8')
    if old and arguments.check:
        print(f'out of date: {", ".join(old)}; run scripts/parameter_table.py', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
