# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer compare: which classes and frames changed between two evaluations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Tuple

from segformer_ros.cli.arguments import whole
from segformer_ros.evaluation.comparison import (
    BLOCK,
    FEWEST_BLOCKS,
    Comparison,
    ScoreChange,
    compare_runs,
)
from segformer_ros.text_table import format_table

SUMMARY = 'compare two evaluations: which classes and frames changed, and what is noise'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument('before', type=Path, help='metrics.json of the first run, or its folder')
    parser.add_argument('after', type=Path, help='metrics.json of the second run, or its folder')
    parser.add_argument(
        '--block', type=whole(1), default=BLOCK, metavar='FRAMES',
        help='consecutive frames that are resampled together; 1 for unrelated images '
        f'(default: {BLOCK})',
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison."""
    print(comparison_text(compare_runs(arguments.before, arguments.after, arguments.block)))
    return 0


def comparison_text(comparison: Comparison) -> str:
    """A comparison as tables for the terminal."""
    rows = [_row('mIoU', comparison.miou), _row('pixel accuracy', comparison.pixel_accuracy)]
    rows += [_row(name, change) for name, change in comparison.classes.items()]
    header = ('', 'before', 'after', 'change', '95 % interval', '')
    lines = [
        f'{comparison.frames} frames in common; only before: {comparison.only_before}, '
        f'only after: {comparison.only_after}',
        format_table(header, rows),
    ]
    if comparison.other_truth:
        lines.insert(1, f'left out, as their truth differs: {comparison.other_truth}')
    if comparison.changed and comparison.blocks < FEWEST_BLOCKS:
        lines.append(
            f'no intervals: to tell a change from noise takes {FEWEST_BLOCKS} blocks of frames, '
            f'and there are {comparison.blocks}; use --block 1 only for unrelated images'
        )
    drivable = [
        (change.name, f'{change.before:.4f}', f'{change.after:.4f}',
         f'{change.after - change.before:+.4f}')
        for change in comparison.drivable
    ]  # fmt: skip
    if drivable:
        columns = ('drivable area, all frames of each run', 'before', 'after', 'change')
        lines += ['', format_table(columns, drivable)]
    if comparison.changed:
        frames = [
            (change.frame, f'{change.before:.4f}', f'{change.after:.4f}',
             f'{change.after - change.before:+.4f}')
            for change in comparison.changed
        ]  # fmt: skip
        columns = ('frames that changed the most', 'before', 'after', 'change')
        lines += ['', format_table(columns, frames)]
    else:
        lines += ['', 'no frame changed']
    return '\n'.join(lines)


def _row(name: str, change: ScoreChange) -> Tuple[str, ...]:
    return (
        name,
        f'{change.before:.4f}',
        f'{change.after:.4f}',
        f'{change.difference:+.4f}',
        f'{change.low:+.4f} .. {change.high:+.4f}' if change.decided else '-',
        _verdict(change),
    )


def _verdict(change: ScoreChange) -> str:
    if not change.decided:
        return 'too few frames to tell' if change.difference else ''
    if not change.significant:
        return 'within noise' if change.difference else ''
    return 'better' if change.difference > 0 else 'worse'
