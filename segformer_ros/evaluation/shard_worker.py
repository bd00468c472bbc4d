"""ShardWorker: one engine that scores shards, reading ahead and scoring beside the inference."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack
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
)

import numpy as np

from segformer_ros.engines import EngineError, Outcome
from segformer_ros.evaluation.frame_scoring import FrameScorer, ScoredFrame, Segmented
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.shards import Shard, ShardResult
from segformer_ros.evaluation.worst_frames import WorstFrames
from segformer_ros.recordings import Source, SourceFrame
from segformer_ros.recordings.source import read_ahead
from segformer_ros.segmentation import Segmentation
from segformer_ros.segmenter.streams import Background, segmented_entries

AHEAD = 8
"""Frames that are read ahead."""

Progress = Callable[[int], object]
"""Called with the number of frames that were finished since the last call."""


def no_progress(frames: int) -> None:
    """Tell nobody."""


class ShardWorker:
    """Scores shards of a job, one after another; a context manager.

    Shards in their own order are read in one pass; any other order gives the same results.
    sources: the job's recordings, where they are open already.
    """

    def __init__(self, job: EvaluationJob, sources: Optional[Sequence[Source]] = None) -> None:
        self._job = job
        self._sources = job.open_sources() if sources is None else sources
        self._wanted = job.wanted
        self._frames = FrameScorer(
            job.scorer(),
            WorstFrames(job.worst),
            job.input_names(self._sources),
            job.mask_folder(),
        )
        self._tables = job.truth_tables(self._sources)
        self._engines = [choice.create() for choice in job.choices]
        self._reader: Optional[Generator[SourceFrame, None, None]] = None
        self._next: Tuple[int, int] = (-1, 0)  # source and index that the reader gives next
        self._scoring = Background('scoring')

    def __enter__(self) -> ShardWorker:
        with ExitStack() as opened:
            for engine in self._engines:
                opened.enter_context(engine)
            opened.enter_context(self._scoring)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._reader:
            self._reader.close()
        self._open.__exit__(*error)

    def score(
        self, shards: Iterable[Shard], progress: Progress = no_progress
    ) -> Iterator[ShardResult]:
        """Score shards; each result comes while frames of the next shard are segmented."""
        unfinished: Deque[Future[ShardResult]] = deque()
        for shard in shards:
            scored: List[Future[ScoredFrame]] = []
            for segmented in self._segmented(self._entries(shard)):
                scored.append(self._scoring.submit(self._frames.score, shard.source, segmented))
                progress(1)
                while unfinished and unfinished[0].done():
                    yield unfinished.popleft().result()
            unfinished.append(self._scoring.submit(self._finish, shard, scored))
        for future in unfinished:
            yield future.result()

    def _finish(self, shard: Shard, futures: Sequence[Future[ScoredFrame]]) -> ShardResult:
        """What all the shard's frames gave; the next shard is counted from nothing."""
        scored = [future.result() for future in futures]
        scorer = self._frames.scorer
        classes = len(scorer.classes)
        matrices = [frame.matrix for frame in scored if frame.matrix is not None]
        result = ShardResult(
            number=shard.number,
            frames=[frame.record for frame in scored],
            matrices=np.array(matrices, np.uint32).reshape(-1, classes, classes + 1),
            counts=scorer.counts(),
            pictures=self._frames.pictures(),
            facts=self._engines[0].facts(),
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
        self._scoring.submit(self._frames.scorer.begin, self._job.camera(source))
        self._next = (shard.source, max(0, shard.start - 1))
        self._reader = read_ahead(source.frames(self._next[1]), AHEAD)
        before = self._read() if shard.start else None
        for segmented in self._segmented(iter([before] if before else [])):
            self._scoring.submit(self._frames.follow, segmented)

    def _read(self) -> Optional[SourceFrame]:
        assert self._reader is not None
        entry = next(self._reader, None)
        if entry is not None:
            self._next = (self._next[0], entry.index + 1)
        return entry

    def _segmented(self, entries: Iterator[SourceFrame]) -> Iterator[Segmented]:
        """Each entry with what the engine, and the reference, made of it."""
        for entry, outcomes in segmented_entries(entries, self._engines, self._wanted):
            segmented = _joined(entry, *outcomes)
            table = self._tables[self._next[0]]
            if table is not None and segmented.labels is not None:
                segmented = segmented._replace(labels=table[segmented.labels])
            yield segmented


def _joined(
    entry: SourceFrame, mask: Optional[Outcome] = None, truth: Optional[Outcome] = None
) -> Segmented:
    if mask is None:
        return Segmented(entry, None, None, entry.error or 'no image')
    for outcome in (mask, truth):
        if isinstance(outcome, EngineError):
            return Segmented(entry, None, None, str(outcome))
    assert isinstance(mask, Segmentation) and not isinstance(truth, EngineError)
    labels = truth.labels if truth else entry.labels
    return Segmented(entry, mask, labels, entry.error or '')
