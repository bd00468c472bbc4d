# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""ShardWorker: scores shards with one engine; reads ahead, and scores in the background."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import (
    Any,
    Callable,
    Deque,
    Generator,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from segformer_ros.camera import Camera
from segformer_ros.classes import IGNORE_ID
from segformer_ros.drawing.birdseye import draw_map
from segformer_ros.engines import EngineError, Outcome
from segformer_ros.evaluation.frame_views import MAP_HEIGHT, Picture, WorstFrames
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.shards import FrameRecord, Predictions, Shard, ShardResult
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.metrics.free_space import MAP_EVERY
from segformer_ros.metrics.metric import MetricError, unknown_note
from segformer_ros.metrics.scorer import Scorer
from segformer_ros.recordings import Source, SourceFrame
from segformer_ros.recordings.source import read_ahead
from segformer_ros.segmenter.segmented_frame import (
    Background,
    FrameFinisher,
    FrameMapper,
    segmented_entries,
)


class Segmented(NamedTuple):
    """One entry of a recording after the engine.

    result: None where the frame cannot be segmented. labels: (H, W) uint8 train ids of the truth,
    None where there is none. note: what is wrong, '' for nothing.
    """

    entry: SourceFrame
    result: Optional[Segmentation]
    labels: Optional[np.ndarray]
    note: str = ''


class ScoredFrame(NamedTuple):
    """A frame's record, and its (K, K + 1) confusion matrix if it was scored."""

    record: FrameRecord
    matrix: Optional[np.ndarray]


@dataclass
class FrameScorer:
    """Scores frames in the order of their recording.

    inputs: the recordings' names. finisher: makes what adds the drivable area to a camera's
    frames. predictions: where the masks are written, None for nowhere.
    """

    scorer: Scorer
    worst: WorstFrames
    inputs: Sequence[str]
    finisher: Callable[[Camera], FrameFinisher]
    predictions: Optional[Predictions] = None
    _finisher: Optional[FrameFinisher] = None
    _mapper: Optional[FrameMapper] = None

    def begin(self, camera: Camera) -> None:
        """Start a new sequence with the next frame, seen by this camera."""
        self.scorer.begin(camera)
        self._finisher = None if camera.lacks else self.finisher(camera)
        self._mapper = None

    def score(self, source: int, segmented: Segmented) -> ScoredFrame:
        """Score one frame; what cannot be scored becomes the record's note."""
        started = perf_counter()
        entry, result, labels, note = segmented
        record = FrameRecord(source, entry.index, entry.key, note=note)
        if entry.frame is not None:
            record = replace(record, stamp_ns=entry.frame.stamp.ns)
        if result is None:
            self.scorer.restart()
            return ScoredFrame(record, None)
        record = replace(record, **result.times._asdict())
        if self.predictions is not None:
            self.predictions.write(self.inputs[source], entry.key, result.labels)
        if labels is None:
            self.scorer.restart()
            return ScoredFrame(replace(record, note=note or 'no truth for this frame'), None)
        try:
            score = self.scorer.update(labels, result, entry.truth.instances)
        except MetricError as error:
            self.scorer.restart()
            return ScoredFrame(replace(record, note=str(error)), None)
        draw = self._map(entry, entry.frame, result)
        total = int(score.matrix.sum())
        hits = int(np.trace(score.matrix[:, :-1]))
        if entry.frame is not None and total:
            self.worst.offer(
                entry.index, 1.0 - hits / total, entry.frame.bgr(), labels, result.labels, draw
            )
        record = replace(
            record,
            note=note or unknown_note(score.unknown),
            scored=True,
            stays=score.stays,
            changed=score.changed,
            columns=score.columns,
            false_free=score.false_free,
            false_blocked=score.false_blocked,
            score=(perf_counter() - started) * 1e3,
        )
        return ScoredFrame(record, score.matrix)

    def follow(self, segmented: Segmented) -> None:
        """Take a frame as the predecessor of the next one, without scoring it."""
        self.scorer.restart()
        if segmented.result is not None and segmented.labels is not None:
            try:
                self.scorer.follow(segmented.labels, segmented.result)
            except MetricError:
                self.scorer.restart()

    def pictures(self) -> List[Picture]:
        """The worst frames since the last call, worst first; starts a new map."""
        self._mapper = None
        return self.worst.take()

    def _map(
        self, entry: SourceFrame, frame: Optional[Frame], result: Segmentation
    ) -> Callable[[], Optional[np.ndarray]]:
        """Add a frame to the map, and score that where the world is known; returns its drawer."""
        if frame is None or entry.place is None or self._finisher is None:
            return lambda: None
        if self._mapper is None:
            self._mapper = FrameMapper(self.scorer.classes.class_map)
        finished = self._finisher.finish(entry, frame, result)
        numbers = self._mapper.add(finished, entry.place)
        if numbers is None:
            return lambda: None
        if entry.truth.ground is not None and entry.index % MAP_EVERY == MAP_EVERY - 1:
            self.scorer.map.update(self._mapper.map, numbers, entry.place, entry.truth.ground)
        return partial(draw_map, MAP_HEIGHT, numbers, entry.place, finished.area)


AHEAD = 8
"""Frames that are read ahead."""

Progress = Callable[[int], object]
"""Called with the number of frames that were finished since the last call."""


def no_progress(frames: int) -> None:
    """Report nothing."""


class ShardWorker:
    """Scores shards of a job, one after another; a context manager.

    Shards in order are read in one pass; any other order gives the same results.
    sources: the job's recordings, if they are open already.
    """

    def __init__(self, job: EvaluationJob, sources: Optional[Sequence[Source]] = None) -> None:
        self._job = job
        self._sources = job.open_sources() if sources is None else sources
        self._wanted = job.wanted
        self._frames = FrameScorer(
            job.scorer(),
            WorstFrames(job.worst),
            job.input_names(self._sources),
            job.finisher,
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
        """The result of the shard; resets the counts for the next one."""
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
        """The shard's frames, once the scorer has seen the one before the first."""
        if self._next != (shard.source, shard.start):
            self._go_to(shard)
        while self._next[1] < shard.stop:
            entry = self._read()
            if entry is None:
                return
            yield entry

    def _go_to(self, shard: Shard) -> None:
        """Start reading at the frame before a shard, and let the scorer see that frame."""
        if self._reader:
            self._reader.close()
        source = self._sources[shard.source]
        self._scoring.submit(self._frames.begin, self._job.camera(source))
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
        """Each entry with the results of the engine and the reference."""
        for entry, outcomes in segmented_entries(entries, self._engines, self._wanted):
            segmented = _joined(entry, *outcomes)
            table = self._tables[self._next[0]]
            if table is not None and segmented.labels is not None:
                segmented = segmented._replace(
                    labels=table[segmented.labels], entry=_translated(segmented.entry, table)
                )
            yield segmented


def _translated(entry: SourceFrame, table: np.ndarray) -> SourceFrame:
    """The entry with the classes of its world mapped by a table (256,)."""
    world = entry.truth.ground
    if world is None:
        return entry

    def ground(points: np.ndarray) -> np.ndarray:
        own = world(points)  # (n, classes) bool
        mapped = np.zeros((len(points), 256), bool)
        for class_id in range(own.shape[1]):
            mapped[:, table[class_id]] |= own[:, class_id]
        mapped[mapped[:, IGNORE_ID]] = False
        return mapped

    return replace(entry, truth=entry.truth._replace(ground=ground))


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
