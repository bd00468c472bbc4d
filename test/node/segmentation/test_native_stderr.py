# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What comes again and again on stderr is left out and counted; last words are printed."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from segformer_ros.node.segmentation.native_stderr import FEW, PERIOD, Sieve


def printed(sieve: Sieve, lines: list[bytes], now: float = 1.0) -> list[bytes]:
    """What a sieve lets through."""
    return [line for given in lines for line in sieve.pass_on(given, now)]


def test_lines_that_differ_in_numbers_are_of_a_kind() -> None:
    lines = [b'bad JPEG at 0x%x: %d bytes\n' % (number, number) for number in range(1000)]
    assert printed(Sieve(), lines) == lines[:FEW]


def test_what_was_left_out_is_told_after_a_while() -> None:
    sieve = Sieve()
    printed(sieve, [b'libpng error\n'] * 1000)
    lines = printed(sieve, [b'libpng error\n'], now=2.0 + PERIOD)
    words = f'({1000 - FEW} further lines like those before were left out)\n'.encode()
    assert lines == [words, b'libpng error\n']
    assert sieve.tell(3.0 + 2 * PERIOD) == []


def test_the_log_of_the_node_is_never_left_out() -> None:
    lines = [
        b'[WARN] [1796019883.3] [segmentation_node]: camera: silent\n',
        b'\x1b[33m[WARN] [1796019883.3] [segmentation_node]: camera: silent\x1b[0m\n',
    ] * 100
    assert printed(Sieve(), lines) == lines


def test_lines_of_ever_new_kinds_are_a_flood_too() -> None:
    lines = [
        b'%s\n' % bytes([65 + n // 1000, 65 + n // 100 % 10, 65 + n % 100]) for n in range(5000)
    ]
    assert len(printed(Sieve(), lines)) < 200


def test_a_line_of_megabytes_is_cut() -> None:
    assert len(b''.join(printed(Sieve(), [b'x' * 3_000_000 + b'\n']))) < 5000


PROGRAM = """
import os, sys
from segformer_ros.node.segmentation.native_stderr import sieved_stderr
print('before', file=sys.stderr)
with sieved_stderr():
    for number in range(20000):
        os.write(2, b'Fast CDR exception %d\\n' % number)
    os.write(2, b'a prompt without an end')
    print('\\nof Python', file=sys.stderr)
    {end}
print('after', file=sys.stderr)
"""


@pytest.mark.parametrize(
    ('end', 'code'),
    [
        ('', 0),
        ('os._exit(3)', 3),
        ('raise SystemExit(4)', 4),
        ('os.abort()', -signal.SIGABRT),
        ('os.kill(os.getpid(), 9)', -signal.SIGKILL),
    ],
)
def test_a_process_has_its_last_words(end: str, code: int) -> None:
    program = [sys.executable, '-c', PROGRAM.format(end=end)]
    # The pipe ends only when the process that sieves has ended too.
    done = subprocess.run(program, stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == code
    lines = done.stderr.decode().splitlines()
    assert lines[0] == 'before'
    assert 'a prompt without an end' in lines
    assert 'of Python' in lines
    assert ('after' in lines) == (code == 0)
    assert sum('Fast CDR exception' in line for line in lines) == FEW
    assert f'({20000 - FEW} further lines like those before were left out)' in lines


CLOSED = """
import sys
from segformer_ros.node.segmentation.native_stderr import sieved_stderr
with sieved_stderr():
    print('said', file=sys.stderr)
    sys.stdout.write('done')
"""


@pytest.mark.parametrize('closing', ['2>&-', '2>/dev/full'])
def test_a_stderr_that_takes_nothing_stops_nothing(closing: str) -> None:
    done = subprocess.run(
        ['bash', '-c', f'exec "$0" -c "$1" {closing}', sys.executable, CLOSED],
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert done.stdout.endswith(b'done')
