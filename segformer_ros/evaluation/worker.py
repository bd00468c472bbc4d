"""Worker: one engine that scores shards, reading ahead and scoring beside the inference."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Generator, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines import Engine, EngineError
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.marking import Marked, Marker, Segmented
from segformer_ros.evaluation.shards import Shard, ShardResult
from segformer_ros.evaluation.worst import WorstFrames
from segformer_ros.frame import Frame
from segformer_ros.segmentation import Segmentation
from segformer_ros.sources import SourceFrame
from segformer_ros.sources.read_ahead import read_ahead

GROUP = 8
"""Frames that the engine is given together, read ahead, and left waiting to be scored."""

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

    def score(self, shard: Shard, progress: Progress = no_progress) -> ShardResult:
        """Score one shard; the frames that are waiting to be scored are bounded."""
        marked: List[Marked] = []
        pending: Deque[Future[Marked]] = deque()
        scorer = self._marker.scorer
        scorer.reset_counts()
        for group in self._groups(shard):
            for segmented in self._segment(group):
                if segmented.entry.index < shard.start:
                    self._thread.submit(self._marker.follow, segmented).result()
                    continue
                pending.append(self._thread.submit(self._marker.mark, shard.source, segmented))
                progress(1)
            while len(pending) > GROUP:
                marked.append(pending.popleft().result())
        marked.extend(future.result() for future in pending)
        classes = len(scorer.classes)
        matrices = [mark.matrix for mark in marked if mark.matrix is not None]
        return ShardResult(
            number=shard.number,
            frames=[mark.record for mark in marked],
            matrices=np.array(matrices, np.uint32).reshape(-1, classes, classes + 1),
            counts=scorer.counts(),
            pictures=self._marker.pictures(),
            facts=self._engine.facts(),
        )

    def _entries(self, shard: Shard) -> Iterator[SourceFrame]:
        """The shard's frames, after the frame before it where that was not just scored."""
        if self._reader is None or self._next != (shard.source, shard.start):
            if self._reader:
                self._reader.close()
            source = self._sources[shard.source]
            self._marker.scorer.begin(self._job.camera(source))
            self._next = (shard.source, max(0, shard.start - 1))
            self._reader = read_ahead(source.frames(self._next[1]), GROUP)
        while self._next[1] < shard.stop:
            entry = next(self._reader, None)
            if entry is None:
                return
            self._next = (shard.source, entry.index + 1)
            yield entry

    def _groups(self, shard: Shard) -> Iterator[List[SourceFrame]]:
        """The shard's frames in groups, which begin with the shard: the same in every run."""
        group: List[SourceFrame] = []
        for entry in self._entries(shard):
            group.append(entry)
            if len(group) == GROUP or entry.index < shard.start:
                yield group
                group = []
        if group:
            yield group

    def _segment(self, entries: Sequence[SourceFrame]) -> List[Segmented]:
        frames = [entry.frame for entry in entries if entry.frame is not None]
        try:
            masks = iter(self._masks(self._engine, frames))
            truths = iter(self._masks(self._reference, frames) if self._reference else ())
        except EngineError as error:
            if len(entries) == 1:
                return [Segmented(entries[0], None, None, str(error))]
            # One of them is at fault; the others go on.
            return [segmented for entry in entries for segmented in self._segment([entry])]
        return [
            Segmented(entry, None, None, entry.error or 'no image')
            if entry.frame is None
            else Segmented(
                entry,
                next(masks),
                next(truths).labels if self._reference else entry.labels,
                entry.error or '',
            )
            for entry in entries
        ]

    def _masks(self, engine: Engine, frames: Sequence[Frame]) -> List[Segmentation]:
        return engine.segment(frames, self._wanted) if frames else []
