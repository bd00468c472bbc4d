"""Ctrl-C while a native library works, and calls back into Python."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator


class Interrupts:
    """Ctrl-C, noted while a library works: raised in one of its callbacks it would be lost there.

    noted: whether it came.
    """

    def __init__(self) -> None:
        self.noted = False

    @contextmanager
    def held(self, stops: bool = True) -> Iterator[None]:
        """Have what Ctrl-C does wait until the library is done.

        stops: whether the library asks for `noted`; one that nothing can stop ends with its
        process, at once. Only the main thread is interrupted, so that in others nothing is held.
        """
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield
            return
        signal.signal(signal.SIGINT, self._note if stops else signal.SIG_DFL)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            noted, self.noted = self.noted, False
            if noted:
                signal.raise_signal(signal.SIGINT)

    def _note(self, *_: Any) -> None:
        self.noted = True
