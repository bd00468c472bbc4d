"""Segmented entries: what engines make of the frames of a recording."""

from __future__ import annotations

from collections import deque
from itertools import tee
from typing import Deque, Iterator, Sequence, Tuple

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
