# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Findings: rules that were broken, by what, and how often."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from robustness.watch import Violation

from segformer_ros.text_table import format_table


@dataclass
class Finding:
    """A rule broken by a fault: how often, and what was seen the first time."""

    rule: str
    by: str
    leg: str
    detail: str
    times: int = 1


class Findings:
    """All that was found, each once."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str, str], Finding] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._all.values())

    def add(self, violation: Violation, by: str, leg: str) -> None:
        """Enter a broken rule."""
        key = (violation.rule, by, leg)
        if key in self._all:
            self._all[key].times += 1
        else:
            self._all[key] = Finding(violation.rule, by, leg, violation.detail)
            print(f'{leg} {violation.rule}: {by}: {violation.detail}', file=sys.stderr, flush=True)

    def has(self, rule: str, by: str, leg: str) -> bool:
        """Whether this was found before."""
        return (rule, by, leg) in self._all

    def table(self) -> str:
        """As text."""
        rows = [
            (finding.rule, finding.by, finding.leg, finding.times, finding.detail)
            for finding in sorted(self._all.values(), key=lambda f: (f.rule, f.by, f.leg))
        ]
        return format_table(('rule broken', 'by', 'leg', 'times', 'the first time'), rows)
