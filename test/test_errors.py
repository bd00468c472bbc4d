"""Which errors become one line."""

from __future__ import annotations

import errno
import os

import pytest

from segformer_ros.errors import EXIT_REFUSED, explained, reason
from segformer_ros.interrupts import EXIT_INTERRUPTED
from segformer_ros.sources import SourceError


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
