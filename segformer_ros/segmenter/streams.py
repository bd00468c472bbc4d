# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Streams: a recording's frames through engines, with results processed in the background."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import tee
from typing import Any, Callable, Deque, Iterator, Sequence, Tuple, TypeVar

from segformer_ros.engines import Engine, Outcome, Wanted
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.frame import Frame
from segformer_ros.recordings import SourceFrame


def segmented_entries(
    entries: Iterator[SourceFrame], engines: Sequence[Engine], wanted: Wanted
) -> Iterator[Tuple[SourceFrame, Tuple[Outcome, ...]]]:
    """Each entry, in order, with each engine's result for its frame; () where it has no frame.

    The engines work ahead: the next frames are read and started before a result is yielded.
    """
    read: Deque[SourceFrame] = deque()
    frames = tee(_frames(entries, read), len(engines))
    streams = [Supervisor(engine).stream(each, wanted) for engine, each in zip(engines, frames)]
    for outcomes in zip(*streams):
        yield from _without_frame(read)
        yield read.popleft(), outcomes
    yield from _without_frame(read)


def _frames(entries: Iterator[SourceFrame], read: Deque[SourceFrame]) -> Iterator[Frame]:
    """The frames of entries; every entry is appended to `read`."""
    for entry in entries:
        read.append(entry)
        if entry.frame is not None:
            yield entry.frame


def _without_frame(
    read: Deque[SourceFrame],
) -> Iterator[Tuple[SourceFrame, Tuple[Outcome, ...]]]:
    """Remove the entries before the next one with a frame."""
    while read and read[0].frame is None:
        yield read.popleft(), ()


ResultT = TypeVar('ResultT')

WAITING = 8
"""Calls that may wait, which bounds the memory."""


class Background:
    """Runs calls one after another in a thread of its own; a context manager.

    An exception of a call is raised by a later `submit`, at the latest on leaving the context.
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
        """Queue a call behind those before it; blocks while too many wait."""
        future = self._thread.submit(work, *arguments)
        self._waiting.append(future)
        self._wait(self._limit)
        return future

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            self._waiting.popleft().result()
