"""Streams: the frames of a recording through engines, while earlier results are worked off."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import tee
from typing import Any, Callable, Deque, Iterator, Sequence, Tuple, TypeVar

from segformer_ros.engines import Engine, Outcome, Wanted
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.frame import Frame
from segformer_ros.sources import SourceFrame


def segmented_entries(
    entries: Iterator[SourceFrame], engines: Sequence[Engine], wanted: Wanted
) -> Iterator[Tuple[SourceFrame, Tuple[Outcome, ...]]]:
    """Each entry, in order, with what each engine made of its frame; () where it has none.

    The frames go through the engines as streams: the next are read and begun before one is given.
    """
    read: Deque[SourceFrame] = deque()
    frames = tee(_frames(entries, read), len(engines))
    streams = [Supervisor(engine).stream(each, wanted) for engine, each in zip(engines, frames)]
    for outcomes in zip(*streams):
        yield from _without_frame(read)
        yield read.popleft(), outcomes
    yield from _without_frame(read)


def _frames(entries: Iterator[SourceFrame], read: Deque[SourceFrame]) -> Iterator[Frame]:
    """The frames of entries, all of which are noted as read."""
    for entry in entries:
        read.append(entry)
        if entry.frame is not None:
            yield entry.frame


def _without_frame(
    read: Deque[SourceFrame],
) -> Iterator[Tuple[SourceFrame, Tuple[Outcome, ...]]]:
    """The entries that come before the next frame."""
    while read and read[0].frame is None:
        yield read.popleft(), ()


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
