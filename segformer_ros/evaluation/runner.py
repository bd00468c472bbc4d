"""Runner: plan, score, resume, merge and write one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np

from segformer_ros.evaluation.errors import EvaluationError
from segformer_ros.evaluation.job import EvaluationJob, describe
from segformer_ros.evaluation.partials import Partials
from segformer_ros.evaluation.pool import score_here, score_in_processes
from segformer_ros.evaluation.ray_pool import score_on_ray
from segformer_ros.evaluation.shards import Shard, ShardResult, plan_shards
from segformer_ros.evaluation.speed import speed_document
from segformer_ros.evaluation.summary import Summary, WorstFrame
from segformer_ros.evaluation.tables import FrameTables
from segformer_ros.evaluation.worker import Progress, no_progress
from segformer_ros.metrics.document import InputFacts, Tally, metrics_document, write_json
from segformer_ros.sources import Source

METRICS_JSON = 'metrics.json'
SPEED_JSON = 'speed.json'


@dataclass(frozen=True)
class Execution:
    """Who does the work; the numbers do not depend on it.

    workers: processes of this machine, or actors of the Ray cluster at the address `ray`.
    """

    workers: int = 1
    ray: str = ''

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise EvaluationError(f'{self.workers} workers; give 1 or more')


@dataclass(frozen=True)
class Evaluation:
    """A finished run.

    metrics: what metrics.json holds. speed: what speed.json holds. pictures: the worst frames,
    worst first.
    """

    metrics: Dict[str, Any]
    speed: Dict[str, Any]
    pictures: Sequence[WorstFrame]


class Run:
    """One evaluation into one folder; a run that was interrupted there goes on.

    A context manager. No other run may write into that folder until it is left.
    """

    def __init__(self, job: EvaluationJob, out: Path) -> None:
        self.job = job
        self.out = out
        self.sources: List[Source] = job.open_sources()
        self.names = job.input_names(self.sources)
        self._shards = plan_shards(self.sources, job.shard_frames)
        self._scorer = job.scorer()
        self._masks = job.mask_folder()
        self._partials = Partials(out, job.fingerprint(self.sources))
        self._damaged: Dict[Path, str] = {}
        try:
            self._missing = self._unfinished()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def notes(self) -> List[str]:
        """What is odd about the recordings and about what is kept of this run: a line each."""
        notes = [f'{n}: {note}' for n, s in zip(self.names, self.sources) for note in s.notes]
        return notes + [
            f'the checkpoint {path} cannot be read: {why}; its frames are done anew'
            for path, why in self._damaged.items()
        ]

    @property
    def frames(self) -> int:
        """Frames of all recordings."""
        return sum(len(source) for source in self.sources)

    @property
    def left(self) -> int:
        """Frames that are still to be scored."""
        return _frames(self._missing)

    @property
    def kept(self) -> int:
        """Frames whose results are on disk now: those that are not scored again."""
        return self.frames - _frames(self._unfinished())

    def execute(
        self, execution: Execution = Execution(), progress: Progress = no_progress
    ) -> Evaluation:
        """Score what is left, merge, and write the files; raises EvaluationError."""
        frames = self.left
        own = self.out.resolve() in Path(self.job.predictions).resolve().parents
        if self._masks is not None and own and frames == self.frames:
            self._masks.clear()
        started = perf_counter()
        for result in _results(self.job, self._missing, execution, progress):
            self._partials.save(result)
        seconds = perf_counter() - started
        summary = self._merge()
        evaluation = Evaluation(
            metrics=self._document(summary.tally),
            speed=speed_document(summary.times, summary.facts, execution.workers, frames, seconds),
            pictures=summary.pictures,
        )
        write_json(self.out / METRICS_JSON, evaluation.metrics)
        write_json(self.out / SPEED_JSON, evaluation.speed)
        return evaluation

    def finish(self) -> None:
        """Remove the partial results, once everything that is made of them is written."""
        self._partials.remove()

    def close(self) -> None:
        """Let others write into the folder; may be called again without harm."""
        self._partials.close()

    def blank(self) -> Dict[str, Any]:
        """What metrics.json holds of no frame: all names that there may be, and no numbers."""
        self._scorer.reset()
        return self._document(Tally(), unmeasured=True)

    def _unfinished(self) -> List[Shard]:
        """Shards without a result, or whose masks are asked for and no longer all there."""
        missing, self._damaged = self._partials.missing(self._shards)
        masks = self._masks
        if masks is None:
            return missing
        kept = [shard for shard in self._shards if shard not in missing]
        for shard, result in zip(kept, self._partials.results(kept)):
            name = self.names[shard.source]
            if not all(masks.has(name, row.key) for row in result.frames if row.scored):
                missing.append(shard)
        return sorted(missing)

    def _document(self, tally: Tally, unmeasured: bool = False) -> Dict[str, Any]:
        reference, upsampling = self.job.reference, self.job.upsampling
        return metrics_document(
            self._scorer.classes,
            self._scorer.compute(unmeasured),
            tally,
            [InputFacts(n, len(s), s.notes) for n, s in zip(self.names, self.sources)],
            describe(self.job.model, upsampling),
            describe(reference, upsampling) if reference else None,
        )

    def _merge(self) -> Summary:
        summary = Summary(self.job.worst)
        self._scorer.reset()
        scored = pixels = 0
        for result in self._partials.results(self._shards):
            scored += len(result.matrices)
            pixels += int(result.matrices.sum(dtype=np.int64))
        with FrameTables(self.out, self.names, scored, len(self._scorer.classes)) as tables:
            for shard, result in zip(self._shards, self._partials.results(self._shards)):
                self._scorer.merge(result.counts)
                summary.add(self.names[shard.source], result)
                tables.add(result)
        first = f'; the first: {summary.tally.notes[0].note}' if summary.tally.notes else ''
        if not scored:
            raise EvaluationError(
                f'none of {summary.tally.frames} frames can be scored{first}; '
                'mend the labels and start again'
            )
        if not pixels:
            raise EvaluationError(
                f'no pixel of {scored} frames is labelled with a class of the class map{first}; '
                'labels hold train ids, of the map that --classes names'
            )
        return summary


def _frames(shards: Sequence[Shard]) -> int:
    return sum(shard.stop - shard.start for shard in shards)


def _results(
    job: EvaluationJob, shards: Sequence[Shard], execution: Execution, progress: Progress
) -> Iterator[ShardResult]:
    if not shards:
        return iter(())
    if execution.ray:
        return score_on_ray(job, shards, execution.workers, execution.ray, progress)
    if execution.workers > 1:
        return score_in_processes(job, shards, execution.workers, progress)
    return score_here(job, shards, progress)
