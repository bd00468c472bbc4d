"""Ctrl-C while a program's libraries load, which takes a second."""

from __future__ import annotations

import os
import signal
from typing import Any

from segformer_ros.errors import EXIT_INTERRUPTED


def end_quietly_while_loading() -> None:
    """Let Ctrl-C end the process without a traceback, until `run_explained` takes over."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not as nohup leaves it
        signal.signal(signal.SIGINT, _end)


def _end(*_: Any) -> None:
    # An exception could be caught, or wrapped in another, by the import that it comes out of.
    os._exit(EXIT_INTERRUPTED)
