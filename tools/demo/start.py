# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the demo and the live evaluation have in common: their arguments, and how they end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, List, Optional

from segformer_ros.cli.arguments import (
    LOCATION_HELP,
    add_merge_argument,
    add_source_arguments,
)
from segformer_ros.errors import explained
from tools.demo.node_commands import add_node_arguments

DEFAULT_DRIVE = 'street:'


def add_drive_arguments(parser: argparse.ArgumentParser, out: Path, rate: float) -> None:
    """--input, --out, and those of sources and nodes; `out` and `rate` are the defaults."""
    parser.add_argument(
        '--input', default=DEFAULT_DRIVE,
        help=f'{LOCATION_HELP} (default: a generated drive with exact labels)',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path, default=out, help=f'folder for the results (default: {out})'
    )
    add_source_arguments(parser)
    add_merge_argument(parser)
    add_node_arguments(parser, rate)


def run_explained(
    name: str,
    run: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    arguments: Optional[List[str]],
) -> int:
    """Parse and run, with errors in words; returns the exit code.

    arguments: None for those of the command line.
    """
    return explained(name, lambda: run(parser.parse_args(arguments)))
