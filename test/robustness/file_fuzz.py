# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fuzz of files: hostile ones of every kind, each given to the command that reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from robustness.hostile_files import close, hostile_files, try_file
from robustness.report import Findings
from robustness.watch import Violation

FINE = ('accepted', 'refused')


def fuzz_files(
    seed: int, folder: Path, counts: Counter[str], findings: Findings
) -> Iterator[None]:
    """Try file after file; yields after each."""
    try:
        for kind, path in hostile_files(seed, folder):
            outcome = try_file(kind, path)
            counts['files'] += 1
            counts[outcome.verdict] += 1
            counts['peak MiB'] = max(counts['peak MiB'], round(outcome.peak))
            if outcome.verdict not in FINE:
                findings.add(Violation(outcome.verdict, outcome.detail[-160:]), kind, '')
            yield
    finally:
        close()
