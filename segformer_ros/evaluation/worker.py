"""Worker: one engine that scores shards, reading ahead and scoring beside the inference."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import tee
from typing import (
    Any,
    Callable,
    Deque,
    Generator,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import numpy as np

from segformer_ros.engines import EngineError, Outcome
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.marking import Marked, Marker, Segmented
from segformer_ros.evaluation.shards import Shard, ShardResult
from segformer_ros.evaluation.worst import WorstFrames
from segformer_ros.frame import Frame
from segformer_ros.segmentation import Segmentation
from segformer_ros.sources import SourceFrame
from segformer_ros.sources.read_ahead import read_ahead

AHEAD = 8
"""Frames that are read ahead, and that are left waiting to be scored."""

ResultT = TypeVar('ResultT')

Progress = Callable[[int], object]
"""Called with the number of frames that were finished since the last call."""


def no_progress(frames: int) -> None:
    """Tell nobody."""


class Worker:
    """Scores shards of a job, one after another; a context manager.

    Shards in their own order are read in one pass; any other order gives the same results.
    """

    def __init__(self, job: EvaluationJob) -> None:
        self._job = job
        self._sources = job.open_sources()
        self._wanted = job.wanted
        self._marker = Marker(
            job.scorer(),
            WorstFrames(job.worst),
            job.input_names(self._sources),
            job.mask_folder(),
        )
        self._engine = job.model.create()
        self._reference = job.reference.create() if job.reference else None
        self._reader: Optional[Generator[SourceFrame, None, None]] = None
        self._next: Tuple[int, int] = (-1, 0)  # source and index that the reader gives next
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='scoring')
        self._waiting: Deque[Future[Any]] = deque()  # for the scoring thread

    def __enter__(self) -> Worker:
        self._engine.activate()
        if self._reference:
            self._reference.activate()
        return self

    def __exit__(self, *error: object) -> None:
        if self._reader:
            self._reader.close()
        self._thread.shutdown()
        self._engine.deactivate()
        if self._reference:
            self._reference.deactivate()

    def score(
        self, shards: Iterable[Shard], progress: Progress = no_progress
    ) -> Iterator[ShardResult]:
        """Score shards; each result comes while frames of the next shard are segmented."""
        unfinished: Deque[Future[ShardResult]] = deque()
        for shard in shards:
            marks: List[Future[Marked]] = []
            for segmented in self._segmented(self._entries(shard)):
                marks.append(self._score(self._marker.mark, shard.source, segmented))
                progress(1)
                while len(self._waiting) > AHEAD:
                    self._waiting.popleft().result()
                while unfinished and unfinished[0].done():
                    yield unfinished.popleft().result()
            unfinished.append(self._score(self._finish, shard, marks))
        for future in unfinished:
            yield future.result()

    def _score(self, work: Callable[..., ResultT], *arguments: object) -> Future[ResultT]:
        """Have something done by the scoring thread, in turn."""
        future = self._thread.submit(work, *arguments)
        self._waiting.append(future)
        return future

    def _finish(self, shard: Shard, marks: Sequence[Future[Marked]]) -> ShardResult:
        """What all the shard's frames gave; the next shard is counted from nothing."""
        marked = [mark.result() for mark in marks]
        scorer = self._marker.scorer
        classes = len(scorer.classes)
        matrices = [mark.matrix for mark in marked if mark.matrix is not None]
        result = ShardResult(
            number=shard.number,
            frames=[mark.record for mark in marked],
            matrices=np.array(matrices, np.uint32).reshape(-1, classes, classes + 1),
            counts=scorer.counts(),
            pictures=self._marker.pictures(),
            facts=self._engine.facts(),
        )
        scorer.reset_counts()
        return result

    def _entries(self, shard: Shard) -> Iterator[SourceFrame]:
        """The shard's frames, after the scorer saw the one before the first."""
        if self._next != (shard.source, shard.start):
            self._go_to(shard)
        while self._next[1] < shard.stop:
            entry = self._read()
            if entry is None:
                return
            yield entry

    def _go_to(self, shard: Shard) -> None:
        """Begin to read at a shard."""
        if self._reader:
            self._reader.close()
        source = self._sources[shard.source]
        self._score(self._marker.scorer.begin, self._job.camera(source))
        self._next = (shard.source, max(0, shard.start - 1))
        self._reader = read_ahead(source.frames(self._next[1]), AHEAD)
        before = self._read() if shard.start else None
        for segmented in self._segmented(iter([before] if before else [])):
            self._score(self._marker.follow, segmented)

    def _read(self) -> Optional[SourceFrame]:
        assert self._reader is not None
        entry = next(self._reader, None)
        if entry is not None:
            self._next = (self._next[0], entry.index + 1)
        return entry

    def _segmented(self, entries: Iterator[SourceFrame]) -> Iterator[Segmented]:
        """Each entry with what the engine, and the reference, made of it."""
        read: Deque[SourceFrame] = deque()
        for mask, truth in self._outcomes(_frames(entries, read)):
            yield from _without_frame(read)
            yield _joined(read.popleft(), mask, truth)
        yield from _without_frame(read)

    def _outcomes(self, frames: Iterator[Frame]) -> Iterator[Tuple[Outcome, Optional[Outcome]]]:
        """What the engine, and the reference, made of each frame."""
        if self._reference is None:
            return ((mask, None) for mask in self._engine.stream(frames, self._wanted))
        ours, theirs = tee(frames)
        masks = self._engine.stream(ours, self._wanted)
        return zip(masks, self._reference.stream(theirs, self._wanted))


def _frames(entries: Iterator[SourceFrame], read: Deque[SourceFrame]) -> Iterator[Frame]:
    """The frames of entries, all of which are noted as read."""
    for entry in entries:
        read.append(entry)
        if entry.frame is not None:
            yield entry.frame


def _without_frame(read: Deque[SourceFrame]) -> Iterator[Segmented]:
    """The entries that come before the next frame."""
    while read and read[0].frame is None:
        entry = read.popleft()
        yield Segmented(entry, None, None, entry.error or 'no image')


def _joined(entry: SourceFrame, mask: Outcome, truth: Optional[Outcome]) -> Segmented:
    for outcome in (mask, truth):
        if isinstance(outcome, EngineError):
            return Segmented(entry, None, None, str(outcome))
    assert isinstance(mask, Segmentation) and not isinstance(truth, EngineError)
    labels = truth.labels if truth else entry.labels
    return Segmented(entry, mask, labels, entry.error or '')
