"""Errors on the terminal: those that a user can mend, as one line without a traceback."""

from __future__ import annotations

import sys
from typing import Callable

from segformer_ros.resources import PACKAGE

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


def explained(command: str, action: Callable[[], int]) -> int:
    """Do `action` and return its exit code; an expected error becomes a line and EXIT_REFUSED.

    Expected are this package's own errors and those of the operating system; others are bugs and
    keep their traceback.
    """
    try:
        return action()
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
        line = ' '.join(str(error).split())  # some libraries explain themselves in many
        print(f'{command}: {line}', file=sys.stderr)
        return EXIT_REFUSED


def is_expected(error: Exception) -> bool:
    """Whether an error is one that the user can mend."""
    return isinstance(error, OSError) or type(error).__module__.split('.')[0] == PACKAGE
