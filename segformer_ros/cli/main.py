# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The `segformer` command: parses the command line and runs one verb."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, List, Optional

from segformer_ros.errors import ArgumentParser, explained
from segformer_ros.interrupts import interruptible, segformer

VERBS = (
    'benchmark',
    'build',
    'compare',
    'doctor',
    'evaluate',
    'inspect',
    'mount',
    'quantize',
    'segment',
    'verify',
)
"""Each is a module of `segformer_ros.cli` with SUMMARY, add_arguments and run."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a verb; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parsed, unknown = _parser(words).parse_known_args(words)
    if unknown:
        parsed.refuse(f'unrecognized arguments: {" ".join(unknown)}')
    if parsed.debug:
        return interruptible(lambda: int(parsed.run(parsed)))
    return explained(f'segformer {parsed.verb}', lambda: parsed.run(parsed))


def _parser(words: List[str]) -> ArgumentParser:
    """A parser for the verb that `words` begin with, else for all verbs.

    Only the modules of these verbs are imported.
    """
    parser = ArgumentParser(
        prog='segformer', description='Street segmentation with SegFormer, without ROS.'
    )
    subparsers = parser.add_subparsers(dest='verb', metavar='VERB', required=True)
    asked = [verb for verb in VERBS if verb in words[:1]]
    for verb in asked or VERBS:
        module: Any = import_module(f'segformer_ros.cli.{verb}')
        subparser = subparsers.add_parser(
            verb, help=module.SUMMARY, description=f'{module.SUMMARY[0].upper()}'
            f'{module.SUMMARY[1:]}.',
        )  # fmt: skip
        module.add_arguments(subparser)
        subparser.add_argument(
            '--debug', action='store_true', help='show where an error comes from'
        )
        subparser.set_defaults(run=module.run, refuse=subparser.error)
    return parser


if __name__ == '__main__':
    segformer()
