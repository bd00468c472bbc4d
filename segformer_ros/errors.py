"""Errors on the terminal: those that a user can mend, as one line without a traceback."""

from __future__ import annotations

import argparse
import errno
import sys
from typing import Callable, Dict, NoReturn, Tuple

from segformer_ros.interrupts import EXIT_INTERRUPTED, interruptible
from segformer_ros.resources import PACKAGE, TOOLS

EXIT_REFUSED = 2

LONGEST = 1000
"""Characters of a line at most that is shown to people."""

_ELSEWHERE = 'change its permissions, or name another place'

_SYSTEM_ERRORS: Dict[int, Tuple[str, str]] = {
    errno.ENOENT: ('no such file or folder', 'check the path'),
    errno.EEXIST: ('something of this name is in the way', 'remove it, or name another place'),
    errno.ENOTDIR: ('a part of the path is a file, not a folder', 'check the path'),
    errno.EISDIR: ('it is a folder, not a file', 'name a file'),
    errno.EACCES: ('permission denied', _ELSEWHERE),
    errno.EPERM: ('permission denied', _ELSEWHERE),
    errno.EROFS: ('the file system is read-only', 'name another place'),
    errno.ENOSPC: ('the disk is full', 'free some space, or name another place'),
    errno.EDQUOT: ('the disk has no room left for this user', 'free some, or name another place'),
    errno.EFBIG: ('it is larger than a file may be (ulimit -f)', 'raise that limit'),
    errno.ENAMETOOLONG: ('the name is too long', 'check the path'),
}
"""By errno: the reason, and what to do next."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Text of any origin as it is fit to be shown: one line, printable, and not long.

    What comes from messages and files may be megabytes, or control a terminal; some libraries
    explain themselves in many lines. Long text is cut in its middle: its end often says the most.
    """
    near = text
    if len(text) > 4 * longest:
        near = f'{text[: 2 * longest]}{text[-2 * longest :]}'
    line = ' '.join(near.split())
    if not line.isprintable():
        line = ''.join(
            character if character.isprintable() else character.encode('unicode_escape').decode()
            for character in line
        )
    if len(line) <= longest and near is text:
        return line
    note = f' ({len(text)} characters)'
    tail = max(1, longest // 3 - len(note))
    head = longest - len(note) - len('...') - tail
    return f'{line[:head]}...{line[-tail:]}{note}'


class ArgumentParser(argparse.ArgumentParser):
    """Refuses a command line in one line: a page of usage before it hides what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit code EXIT_REFUSED."""
        self.exit(
            EXIT_REFUSED, f'{self.prog}: error: {one_line(message)}; see {self.prog} --help\n'
        )


def explained(command: str, action: Callable[[], int]) -> int:
    """Do `action` and return its exit code; an expected error becomes a line and EXIT_REFUSED.

    Expected are this package's own errors and those of the operating system; others are bugs and
    keep their traceback.
    """
    try:
        return interruptible(action)
    except KeyboardInterrupt:
        print(f'{command}: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output (`| head`) has seen enough.
        sys.stderr.close()
        return 0
    except (ValueError, RuntimeError, OSError) as error:
        if not is_expected(error):
            raise
        print(f'{command}: {in_words(error)}', file=sys.stderr)
        return EXIT_REFUSED


def is_expected(error: Exception) -> bool:
    """Whether an error is one that the user can mend."""
    return isinstance(error, OSError) or type(error).__module__.split('.')[0] in (PACKAGE, TOOLS)


def in_words(error: Exception) -> str:
    """An expected error as one line; of the operating system's: path, reason, what to do."""
    if isinstance(error, OSError) and error.filename is not None:
        advice = _SYSTEM_ERRORS.get(error.errno or 0, ('', 'see whether it can be used'))[1]
        return f'{one_line(str(error.filename))}: {reason(error)}; {advice}'
    return reason(error)


def reason(error: Exception) -> str:
    """What an error says, in one line without a number or the path: to stand behind a path."""
    words = getattr(error, 'strerror', None)  # PyAV's errors have it too
    if words:
        known = _SYSTEM_ERRORS.get(getattr(error, 'errno', None) or 0)
        return known[0] if known else one_line(str(words))
    return one_line(str(error))
