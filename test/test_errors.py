# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which errors become one line."""

from __future__ import annotations

import errno
import logging
import os
from functools import partial

import pytest

from segformer_ros.errors import (
    EXIT_REFUSED,
    LONGEST,
    ArgumentParser,
    errors_alone,
    explained,
    one_line,
    reason,
)
from segformer_ros.interrupts import EXIT_INTERRUPTED
from segformer_ros.recordings import SourceError


def raising(error: BaseException) -> int:
    """A command that fails."""
    raise error


@pytest.mark.parametrize('error', [SourceError('no such recording: x'), PermissionError('x')])
def test_what_a_user_can_mend_is_one_line(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained('segformer segment', lambda: raising(error)) == EXIT_REFUSED
    assert capsys.readouterr().err == f'segformer segment: {error}\n'


def test_what_takes_many_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    error = SourceError('cannot run it:\n  Check failed\n\n  no rule for SegHead\n')
    assert explained('segformer segment', lambda: raising(error)) == EXIT_REFUSED
    words = 'cannot run it: Check failed no rule for SegHead'
    assert capsys.readouterr().err == f'segformer segment: {words}\n'


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (errno.ENOENT, 'x/y.png: no such file or folder; check the path'),
        (errno.EISDIR, 'x/y.png: it is a folder, not a file; name a file'),
        (errno.ENOSPC, 'x/y.png: the disk is full; free some space, or name another place'),
        (errno.EIO, f'x/y.png: {os.strerror(errno.EIO)}; see whether it can be used'),
    ],
)
def test_the_operating_system_is_put_into_words(
    number: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, os.strerror(number), 'x/y.png')
    assert explained('segformer segment', lambda: raising(error)) == EXIT_REFUSED
    assert capsys.readouterr().err == f'segformer segment: {words}\n'
    assert reason(error) == words.partition(': ')[2].partition(';')[0]


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match='a bug'):
        explained('segformer segment', lambda: raising(ValueError('a bug')))


def test_an_interruption_has_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained('demo', lambda: raising(KeyboardInterrupt())) == EXIT_INTERRUPTED
    assert 'interrupted' in capsys.readouterr().err


def test_the_code_of_the_command_is_passed_on() -> None:
    assert explained('demo', lambda: 1) == 1


# --- Foreign text -----------------------------------------------------------------------------


@pytest.mark.parametrize('text', ['', 'bgr8', 'Straße 7', 'a b', "it's \\n as it is written"])
def test_text_of_one_line_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a\nb\tc\r\n', 'a b c'),
        ('\x1b[2J\x07', r'\x1b[2J\x07'),
        ('name\u202egnp.exe', r'name\u202egnp.exe'),
        ('zero\u200bwidth\x00', r'zero\u200bwidth\x00'),
        ('\udc80', r'\udc80'),  # a file name that is no UTF-8
    ],
)
def test_what_controls_a_terminal_is_escaped(text: str, words: str) -> None:
    assert one_line(text) == words
    assert one_line(words) == words


@pytest.mark.parametrize('character', ['x', '\x1b', '\u202e', '\U000e0001', 'ü'])
@pytest.mark.parametrize('longest', [80, LONGEST])
def test_long_text_is_cut_in_its_middle(character: str, longest: int) -> None:
    text = f'begin{character * 3_000_000}end'
    line = one_line(text, longest)
    assert len(line) <= longest
    assert line.isprintable()
    assert line.startswith('begin')
    assert line.endswith('end (3000008 characters)')
    assert one_line(line, longest) == line


def test_errors_show_foreign_text_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (
        SourceError('x' * 10**6),
        SourceError('\x1b[31m'),
        FileNotFoundError(errno.ENOENT, 'no', '\x1b[31m' + 'y' * 10**6),
    ):
        assert explained('segformer segment', partial(raising, error)) == EXIT_REFUSED
        printed = capsys.readouterr().err
        assert len(printed) < 1200
        assert printed.count('\n') == 1
        assert '\x1b' not in printed


def test_a_refused_argument_is_shown_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ArgumentParser(prog='segformer').parse_args(['--\x1b[31m' + 'x' * 10**6])
    printed = capsys.readouterr().err
    assert len(printed) < 1200
    assert '\x1b' not in printed


def test_warnings_are_kept_back_for_a_while_alone(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger('segformer_ros.engines')
    with caplog.at_level(logging.WARNING, 'segformer_ros'):
        with errors_alone('segformer_ros'):
            log.warning('advice')
            log.error('fault')
        log.warning('afterwards')
    assert caplog.messages == ['fault', 'afterwards']
