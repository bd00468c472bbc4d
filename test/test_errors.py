"""Which errors become one line."""

from __future__ import annotations

import pytest

from segformer_ros.errors import EXIT_INTERRUPTED, EXIT_REFUSED, explained
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


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match='a bug'):
        explained('segformer segment', lambda: raising(ValueError('a bug')))


def test_an_interruption_has_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained('demo', lambda: raising(KeyboardInterrupt())) == EXIT_INTERRUPTED
    assert 'interrupted' in capsys.readouterr().err


def test_the_code_of_the_command_is_passed_on() -> None:
    assert explained('demo', lambda: 1) == 1
