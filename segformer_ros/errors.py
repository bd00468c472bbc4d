# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Errors: their common base, and how programs report those that the user can fix."""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, NoReturn, Tuple

from segformer_ros.interrupts import EXIT_INTERRUPTED, interrupted, interruptible

EXIT_REFUSED = 2

LONGEST = 1000
"""Most characters of a line that is shown to people."""

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
    """Any text in a form that can be shown: one printable line of limited length.

    Text from messages and files may be megabytes long or contain terminal escapes, and some
    libraries write many lines. Long text is cut in the middle, since the end often says most.
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


class SegformerError(Exception):
    """Base of this package's errors. The message says what is wrong, and what to do about it."""


class ArgumentParser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, without a page of usage that would hide it."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how to get help; exit with EXIT_REFUSED."""
        self.exit(
            EXIT_REFUSED, f'{self.prog}: error: {one_line(message)}; see {self.prog} --help\n'
        )


def explained(command: str, action: Callable[[], int]) -> int:
    """Run `action` and return its exit code; an expected error is one line and EXIT_REFUSED.

    This package's own errors and those of the operating system are expected. Anything else is a
    bug and keeps its traceback.
    """
    try:
        code = interruptible(action)
        if code == 0 and interrupted():
            raise KeyboardInterrupt
        return code
    except KeyboardInterrupt:
        print(f'{command}: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of the output (`| head`) has closed it.
        sys.stderr.close()
        return 0
    except (SegformerError, OSError) as error:
        print(f'{command}: {in_words(error)}', file=sys.stderr)
        return EXIT_REFUSED


def is_expected(error: Exception) -> bool:
    """Whether the user can do something about an error; any other error is a bug."""
    return isinstance(error, (SegformerError, OSError))


def in_words(error: Exception) -> str:
    """An expected error in one line; for the operating system's: path, reason, what to do."""
    if isinstance(error, OSError) and error.filename is not None:
        advice = _SYSTEM_ERRORS.get(error.errno or 0, ('', 'see whether it can be used'))[1]
        return f'{one_line(str(error.filename))}: {reason(error)}; {advice}'
    return reason(error)


def reason(error: Exception) -> str:
    """An error's message in one line, without errno and path, to be put after a path."""
    words = getattr(error, 'strerror', None)  # PyAV's errors have it too
    if words:
        known = _SYSTEM_ERRORS.get(getattr(error, 'errno', None) or 0)
        return known[0] if known else one_line(str(words))
    return one_line(str(error))


@contextmanager
def errors_alone(logger: str = '') -> Iterator[None]:
    """Suppress a logger's messages below errors within the block; '' is the root logger."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
