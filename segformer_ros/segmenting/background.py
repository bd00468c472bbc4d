"""Background: one thread that works off what it is given, so that the giver can go on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, TypeVar

ResultT = TypeVar('ResultT')

WAITING = 8
"""Pieces of work that may wait; what bounds the memory."""


class Background:
    """Does one piece of work after another in a thread of its own; a context manager.

    What a piece raises is raised by a later `submit`, at the latest on leaving the context.
    """

    def __init__(self, name: str, waiting: int = WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._limit = waiting
        self._waiting: Deque[Future[Any]] = deque()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self._wait(0)
        finally:
            self._thread.shutdown()

    def submit(self, work: Callable[..., ResultT], *arguments: object) -> Future[ResultT]:
        """Have something done after all that was given before; waits while too much is left."""
        future = self._thread.submit(work, *arguments)
        self._waiting.append(future)
        self._wait(self._limit)
        return future

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            self._waiting.popleft().result()
