# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The node's log, read as it grows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from robustness.watch import Violation, judge_text

ALARMS = re.compile(
    r'Traceback \(most recent call last\)|\w*Warning: .*|MemoryError|Segmentation fault'
    r'|Exception ignored'
)
"""What no log may have."""

_LEAD = re.compile(r'\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[[\d.]+\] \[')
_AT_ONCE = 64 * 1024
"""Bytes of the log that one group may give: more is not read, but is too much."""


class Log:
    """What the node writes to stderr, into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open('wb')
        self.lines = self.foreign = 0
        """All lines so far, and those of them that the ROS logger did not write."""
        self._read = 0

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def judge(self) -> Iterator[Violation]:
        """What is wrong with what was written since the last call."""
        size = self.path.stat().st_size
        if size - self._read > _AT_ONCE:
            yield Violation('flood: log', f'{size - self._read} bytes at once')
        with self.path.open('rb') as file:
            file.seek(self._read)
            text = file.read(min(size - self._read, _AT_ONCE)).decode('utf-8', 'replace')
        self._read = size
        for line in text.split('\n'):
            self.lines += bool(line)
            self.foreign += bool(line) and not _LEAD.match(line)
            yield from judge_text('log', line)
            alarm = ALARMS.search(line)
            if alarm:
                yield Violation('alarm', alarm.group()[:200])

    @property
    def tail(self) -> str:
        """The last line."""
        with self.path.open('rb') as file:
            file.seek(max(0, self.path.stat().st_size - 2000))
            lines = file.read().decode('utf-8', 'replace').split('\n')
        return next((line for line in reversed(lines) if line.strip()), '')[:300]
