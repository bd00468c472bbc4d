# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Keeps C libraries from flooding the terminal and the log files through stderr.

For each message that it cannot read, the middleware writes a dozen lines, image decoders one or
two. That cannot be switched off, and a camera sends thirty messages a second. Repeated lines are
left out and counted, by a small separate process that reads all that the node writes to stderr, so
that the last lines of a node that crashes are printed as well.

Run as a program, this module is that process. It imports nothing of the package, and starts in
20 ms.
"""

from __future__ import annotations

import os
import re
import select
import sys
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Dict, Iterator, List

FEW = 10
"""Lines of one kind that are printed in each period."""

PERIOD = 60.0
"""Seconds."""

_KINDS = 100  # in each period; lines of further kinds are left out
_LONGEST = 4000  # bytes of a line that are printed
_CHUNK = 65536
_PARTIAL = 0.2  # seconds after which an unfinished line is printed: a prompt, or a progress bar

# The node's own log, whose repeated lines are throttled at their source.
_LOG = re.compile(rb'(\x1b\[\d+m)?\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[')
_NUMBERS = re.compile(rb'0x[0-9a-fA-F]+|\d+')


class Sieve:
    """Decides which lines are printed; lines that differ only in numbers are of one kind."""

    def __init__(self) -> None:
        self._counts: Dict[bytes, int] = {}
        self._left_out = 0
        self._end = 0.0

    def pass_on(self, line: bytes, now: float) -> List[bytes]:
        """Take a line, including its newline, at a time in seconds; returns the lines to print."""
        printed = self.tell(now)
        if len(line) > _LONGEST:
            line = line[:_LONGEST] + b'...\n'
        if _LOG.match(line):
            return [*printed, line]
        kind = _NUMBERS.sub(b'#', line)
        if kind not in self._counts and len(self._counts) >= _KINDS:
            self._left_out += 1
            return printed
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count > FEW:
            self._left_out += 1
            return printed
        return [*printed, line]

    def tell(self, now: float, at_once: bool = False) -> List[bytes]:
        """Begin a new period if one is over; returns the line on what was left out, if any."""
        if now < self._end and not at_once:
            return []
        lines = []
        if self._left_out:
            lines.append(b'(%d further lines like those before were left out)\n' % self._left_out)
        self._counts.clear()
        self._left_out, self._end = 0, now + PERIOD
        return lines


@contextmanager
def sieved_stderr() -> Iterator[None]:
    """Send everything that this process writes to stderr through a sieve."""
    import subprocess

    if sys.stderr is None:  # closed from the start: descriptor 2 may be any file now
        yield
        return
    kept = os.dup(2)
    read, write = os.pipe()
    try:
        # In a session of its own: Ctrl-C must not end it before the node's last lines.
        child = subprocess.Popen(
            [sys.executable, '-I', '-S', __file__],
            stdin=read,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.dup2(write, 2)
    except OSError:  # no further process may be started here
        os.close(kept)
        yield
        return
    finally:
        os.close(read)
        os.close(write)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)  # which closes the pipe
        os.close(kept)
        with suppress(subprocess.TimeoutExpired):  # a child of the node may still hold the pipe
            child.wait(timeout=2.0)


def main() -> None:
    """Filter stdin to stderr, until its end."""
    sieve, rest = Sieve(), b''
    while True:
        ready = select.select([0], [], [], _PARTIAL if rest else PERIOD)[0]
        now = monotonic()
        if not ready:
            _print([*sieve.tell(now), rest])
            rest = b''
            continue
        data = os.read(0, _CHUNK)
        *lines, rest = (rest + data).split(b'\n')
        for line in lines:
            _print(sieve.pass_on(line + b'\n', now))
        if len(rest) > _CHUNK:
            _print(sieve.pass_on(rest, now))
            rest = b''
        if not data:
            _print([rest, *sieve.tell(now, at_once=True)])
            return


def _print(lines: List[bytes]) -> None:
    data = b''.join(lines)
    with suppress(OSError):  # nobody reads it; the node must not wait for that
        while data:
            data = data[os.write(2, data) :]


if __name__ == '__main__':
    main()
