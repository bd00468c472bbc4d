# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""One evaluation: planned, scored, resumed, merged and written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Dict, Generator, List, Mapping, Sequence

import numpy as np

from segformer_ros.evaluation.executors import score_in_processes, score_on_ray
from segformer_ros.evaluation.frame_views import WorstFrame
from segformer_ros.evaluation.job import EvaluationJob, describe
from segformer_ros.evaluation.label_survey import agreement_note
from segformer_ros.evaluation.shard_worker import Progress, ShardWorker, no_progress
from segformer_ros.evaluation.shards import (
    Checkpoints,
    EvaluationError,
    Shard,
    ShardResult,
    plan_shards,
)
from segformer_ros.evaluation.tables import LATENCY, STAGES, FrameTables
from segformer_ros.measurement import environment, percentiles
from segformer_ros.metrics.document import (
    NAMED_NOTES,
    InputFacts,
    Note,
    ScoredFrameCounts,
    metrics_document,
    write_json,
)
from segformer_ros.recordings import Source

METRICS_JSON = 'metrics.json'
SPEED_JSON = 'speed.json'


@dataclass(frozen=True)
class Execution:
    """Where the work is done; the numbers do not depend on it.

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

    metrics: content of metrics.json. speed: content of speed.json. pictures: the worst frames,
    worst first.
    """

    metrics: Dict[str, Any]
    speed: Dict[str, Any]
    pictures: Sequence[WorstFrame]


class EvaluationRun:
    """One evaluation into one folder; an interrupted run in that folder is resumed.

    A context manager, which locks the folder against other runs.
    """

    def __init__(self, job: EvaluationJob, out: Path) -> None:
        self.job = job = job.fresh()
        self.out = out
        self.sources: List[Source] = job.open_sources()
        job.look_at_labels(self.sources)
        self.names = job.input_names(self.sources)
        self._shards = plan_shards(self.sources, job.shard_frames)
        self._scorer = job.scorer()
        self._masks = job.mask_folder()
        self._checkpoints = Checkpoints(out, job.fingerprint(self.sources))
        self._damaged: Dict[Path, str] = {}
        try:
            self._missing = self._unfinished()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> EvaluationRun:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def notes(self) -> List[str]:
        """What is odd about models, recordings and checkpoints: a line each."""
        specs = [choice.spec() for choice in self.job.choices]
        notes = [f'{spec.path.name}: {note}' for spec in specs for note in spec.notes]
        notes += [f'{n}: {note}' for n, s in zip(self.names, self.sources) for note in s.notes]
        return notes + [
            f'the checkpoint {path} cannot be read: {why}; its frames are scored again'
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
        """Frames whose results are on disk now, which are not scored again."""
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
        with closing(self._results(execution, progress)) as results:
            for result in results:
                self._checkpoints.save(result)
        seconds = perf_counter() - started
        summary = self._merge()
        self._note_agreement()
        evaluation = Evaluation(
            metrics=self._document(summary.counts),
            speed=speed_document(summary.times, summary.facts, execution.workers, frames, seconds),
            pictures=summary.pictures,
        )
        write_json(self.out / METRICS_JSON, evaluation.metrics)
        write_json(self.out / SPEED_JSON, evaluation.speed)
        return evaluation

    def finish(self) -> None:
        """Remove the checkpoints, once everything made from them is written."""
        self._checkpoints.remove()

    def close(self) -> None:
        """Unlock the folder; may be called again without harm."""
        self._checkpoints.close()

    def blank(self) -> Dict[str, Any]:
        """metrics.json of no frame: all names that it can have, without numbers."""
        self._scorer.reset()
        return self._document(ScoredFrameCounts(), unmeasured=True)

    def _unfinished(self) -> List[Shard]:
        """Shards without a result, or with missing masks where masks are wanted."""
        missing, self._damaged = self._checkpoints.missing(self._shards)
        masks = self._masks
        if masks is None:
            return missing
        kept = [shard for shard in self._shards if shard not in missing]
        for shard, result in zip(kept, self._checkpoints.results(kept)):
            name = self.names[shard.source]
            if not all(masks.has(name, row.key) for row in result.frames if row.scored):
                missing.append(shard)
        return sorted(missing)

    def _results(
        self, execution: Execution, progress: Progress
    ) -> Generator[ShardResult, None, None]:
        """Score the missing shards, where `execution` says."""
        job, shards, workers = self.job, self._missing, execution.workers
        if not shards:
            return
        if execution.ray:
            yield from score_on_ray(job, shards, workers, execution.ray, progress)
        elif workers > 1:
            yield from score_in_processes(job, shards, workers, progress)
        else:
            with ShardWorker(job, self.sources) as worker:
                yield from worker.score(shards, progress)

    def _document(self, counts: ScoredFrameCounts, unmeasured: bool = False) -> Dict[str, Any]:
        reference, upsampling = self.job.reference, self.job.upsampling
        return metrics_document(
            self._scorer.classes,
            self._scorer.compute(unmeasured),
            counts,
            [InputFacts(n, len(s), s.notes) for n, s in zip(self.names, self.sources)],
            describe(self.job.model, upsampling),
            describe(reference, upsampling) if reference else None,
        )

    def _note_agreement(self) -> None:
        """Add a note if the masks suggest that the labels were misread."""
        classes, options = self._scorer.classes, self.job.sources
        if self.job.reference or self.job.merged or options.label_ids or options.label_colors:
            return
        note = agreement_note(self._scorer.counts()['confusion'], classes.class_map)
        if note:
            self.sources[0].notes = (*self.sources[0].notes, note)

    def _merge(self) -> Summary:
        summary = Summary(self.job.worst)
        self._scorer.reset()
        scored = pixels = 0
        for result in self._checkpoints.results(self._shards):
            scored += len(result.matrices)
            pixels += int(result.matrices.sum(dtype=np.int64))
        with FrameTables(self.out, self.names, scored, len(self._scorer.classes)) as tables:
            for shard, result in zip(self._shards, self._checkpoints.results(self._shards)):
                self._scorer.merge(result.counts)
                summary.add(self.names[shard.source], result)
                tables.add(result)
        first = f'; the first: {summary.counts.notes[0].note}' if summary.counts.notes else ''
        if not scored:
            raise EvaluationError(
                f'none of {summary.counts.frames} frames can be scored{first}; '
                'correct the labels and start again'
            )
        if not pixels:
            raise EvaluationError(
                f'no pixel of {scored} frames is labelled with a class of the class map{first}; '
                'labels hold train ids, of the map that --classes names'
            )
        return summary


def _frames(shards: Sequence[Shard]) -> int:
    return sum(shard.stop - shard.start for shard in shards)


def speed_document(
    times: Mapping[str, Sequence[float]],
    facts: Mapping[str, str],
    workers: int,
    frames: int,
    seconds: float,
) -> Dict[str, Any]:
    """Timings of a run.

    times: milliseconds of each stage of all scored frames. frames, seconds: how many this session
    scored (a resumed run has scored others before) and how long it took, including the start of
    the engine.
    """
    stages = {name: percentiles(values)._asdict() for name, values in times.items() if values}
    totals = np.sum([times[name] for name in LATENCY], axis=0)
    return {
        'stages_ms': stages,
        'latency_ms': percentiles(totals)._asdict() if len(totals) else None,
        'session': {
            'workers': workers,
            'frames': frames,
            'seconds': round(seconds, 3),
            'fps': round(frames / seconds, 3) if seconds and frames else None,
        },
        'engine': dict(facts),
        'environment': environment(),
    }


@dataclass
class Summary:
    """The results of a run's shards, merged, except for the metrics.

    counts: of its frames. pictures: the worst frames. times: milliseconds by stage. facts: the
    engine's.
    worst: how many frames are kept.
    """

    worst: int
    counts: ScoredFrameCounts = field(default_factory=ScoredFrameCounts)
    pictures: List[WorstFrame] = field(default_factory=list)
    times: Dict[str, List[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    facts: Dict[str, str] = field(default_factory=dict)

    def add(self, name: str, result: ShardResult) -> None:
        """Add the next shard of the recording `name`."""
        keys = {}
        for record in result.frames:
            keys[record.index] = record.key
            self.counts.frames += 1
            self.counts.scored += record.scored
            if record.note:
                self.counts.noted += 1
                if len(self.counts.notes) < NAMED_NOTES:
                    self.counts.notes.append(Note(name, record.key, record.note))
            if record.scored:
                for stage, times in self.times.items():
                    times.append(getattr(record, stage))
        self.pictures += [WorstFrame(name, keys[p.index], p) for p in result.pictures]
        # The sort is stable, so that among equals the earlier frame is first, as in a shard.
        self.pictures.sort(key=lambda frame: -frame.picture.wrong)
        del self.pictures[self.worst :]
        self.facts = result.facts
