# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""./run fuzz: hostile messages, files and signals, and changes, for as long as one likes.

./run fuzz --minutes 10
./run fuzz --parts raw compressed --whole 5000          20,000 faults among 5,000 whole images
./run fuzz --parts raw compressed --only 'a JPEG cut short' --seed 7
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic

import numpy as np
import rclpy
from robustness import file_fuzz
from robustness.all_faults import FAULTS, Leg
from robustness.liveness import Liveness, StuckError
from robustness.message_fuzz import MessageFuzz
from robustness.report import Findings
from robustness.signal_fuzz import try_signal
from robustness.watch import Violation
from tqdm import tqdm

from segformer_ros.cli.arguments import number, whole
from segformer_ros.text_table import format_table

PARTS = {'raw': 0.3, 'compressed': 0.3, 'files': 0.2, 'signals': 0.2, 'changes': 0.2}
"""What is fuzzed, and its share of the time: the node by Image, by CompressedImage; and more.

changes: cameras, subscribers, parameters, the lifecycle and the engine, stopped and started.
"""


class Result:
    """Counts of all parts, and what was found."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.findings = Findings()

    def text(self) -> str:
        """Tables of the counts and of the findings."""
        lines = []
        for part, counts in self.counts.items():
            lines += [format_table((part, ''), list(counts.items())), '']
        lines.append(self.findings.table() if len(self.findings) else 'no rule was broken')
        return '\n'.join(lines)


def fuzz_messages(
    result: Result, leg: Leg, seed: int, seconds: float, groups: int | None, only: Sequence[str]
) -> None:
    """Fuzz one leg for a time, or for a number of groups."""
    with tempfile.TemporaryDirectory() as folder:
        fuzz = MessageFuzz(leg, seed, Path(folder), result.findings, only)
        if not fuzz.alive:
            return
        with fuzz:
            end = monotonic() + seconds
            turns = itertools.count() if groups is None else range(groups)
            for group in tqdm(turns, leg.value, unit='group', leave=False, disable=None):
                fuzz.run(group)
                if groups is None and monotonic() > end:
                    break
            fuzz.finish()
            peak = f'{fuzz.peak:.0f} ({fuzz.peak_of})'
            result.counts[f'{leg.value} messages'] = fuzz.counts
            fuzz.counts['peak MiB above idle'] = round(fuzz.peak)
            print(f'{leg.value}: peak {peak}', flush=True)


def fuzz_signals(result: Result, seed: int, seconds: float) -> None:
    """Interrupt starts for a time."""
    counts = result.counts.setdefault('signals', Counter())
    end = monotonic() + seconds
    for start in itertools.count():
        try_signal(np.random.default_rng([seed, start]), counts, result.findings)
        if monotonic() > end:
            return


def fuzz_files(result: Result, seed: int, seconds: float) -> None:
    """Try hostile files for a time."""
    counts = result.counts.setdefault('files', Counter())
    end = monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        for _ in file_fuzz.fuzz_files(seed, Path(folder), counts, result.findings):
            if monotonic() > end:
                return


def fuzz_changes(result: Result, seed: int, seconds: float) -> None:
    """Stop and start all around a node for a time; masks are to come again."""
    counts = result.counts.setdefault('changes', Counter())
    end = monotonic() + seconds
    for start in itertools.count():
        with Liveness(seed * 1000 + start) as liveness:
            try:
                for _ in range(10):
                    liveness.run()
            except StuckError as error:
                result.findings.add(Violation('masks come again', str(error)), 'changes', 'raw')
            counts.update(liveness.counts)
        if monotonic() > end:
            return


def run(
    minutes: float,
    seed: int,
    parts: Sequence[str] = tuple(PARTS),
    wholes: int | None = None,
    only: Sequence[str] = (),
) -> Result:
    """Fuzz for a time; or the node until so many whole images were sent, half of each kind."""
    result = Result()
    os.environ.setdefault('ROS_LOG_DIR', tempfile.gettempdir())
    seconds = {
        part: 60 * minutes * PARTS[part] / sum(PARTS[other] for other in parts) for part in parts
    }
    owned = not rclpy.ok()
    if owned:
        rclpy.init()
    try:
        for leg in (Leg.RAW, Leg.COMPRESSED):
            if leg.value in parts:
                groups = None if wholes is None else wholes // 2
                fuzz_messages(result, leg, seed, seconds[leg.value], groups, only)
        if 'changes' in parts:
            fuzz_changes(result, seed, seconds['changes'])
    finally:
        if owned:
            rclpy.try_shutdown()
    if 'files' in parts:
        fuzz_files(result, seed, seconds['files'])
    if 'signals' in parts:
        fuzz_signals(result, seed, seconds['signals'])
    return result


def main() -> int:
    """Fuzz as the command line says; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(
        prog='./run fuzz', description='Send hostile messages, files and signals.'
    )
    parser.add_argument('--minutes', type=number(0, above=True), default=1.0)
    parser.add_argument('--seed', type=whole(0), default=0)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument(
        '--whole', type=whole(2), help='whole images among four times as many faults, not minutes'
    )
    parser.add_argument('--only', nargs='+', choices=FAULTS, default=(), metavar='FAULT')
    options = parser.parse_args()
    started = monotonic()
    result = run(options.minutes, options.seed, options.parts, options.whole, options.only)
    print(result.text())
    date = datetime.now(timezone.utc)
    print(f'\nseed {options.seed}, {monotonic() - started:.0f} s, {date:%d %B %Y %H:%M} UTC')
    return 1 if len(result.findings) else 0


if __name__ == '__main__':
    sys.exit(main())
