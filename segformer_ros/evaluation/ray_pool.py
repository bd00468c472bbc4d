"""Ray pool: shards scored on the machines of a Ray cluster."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional, Sequence

from segformer_ros.evaluation.errors import EvaluationError
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.schedule import Schedule
from segformer_ros.evaluation.shards import Shard, ShardResult
from segformer_ros.evaluation.worker import Progress, Worker, no_progress

LOCAL = 'local'
"""Address for a cluster of this machine alone, started and ended with the run."""


def score_on_ray(
    job: EvaluationJob,
    shards: Sequence[Shard],
    workers: int,
    address: str,
    progress: Progress = no_progress,
) -> Iterator[ShardResult]:
    """Score shards in `workers` actors of the cluster at `address`, results as they come.

    Each actor has an engine of its own and reads the recordings under the same paths as here (a
    shared file system). The share of a lost actor is done again by another. Raises
    EvaluationError where Ray is missing or cannot be reached, or one shard kills several actors.
    """
    threads = max(1, job.model.options.threads)
    ray = _connect(address, workers * threads)
    schedule = Schedule(shards)
    actor_class = ray.remote(num_cpus=threads)(_Actor)
    actors: Dict[Any, Any] = {}
    running: Dict[Any, int] = {}

    def start(name: int) -> None:
        shard = schedule.next(name)
        if shard is not None:
            if name not in actors:
                actors[name] = actor_class.remote(job)
            running[actors[name].score.remote(shard)] = name

    try:
        for name in range(workers):
            start(name)
        names = workers
        while running:
            (ready,), _ = ray.wait(list(running), num_returns=1)
            name = running.pop(ready)
            try:
                result: ShardResult = ray.get(ready)
            except ray.exceptions.RayActorError:
                schedule.lost(name)
                del actors[name]
                start(names)
                names += 1
                continue
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            schedule.done(name)
            progress(len(result.frames))
            start(name)
            yield result
    finally:
        for actor in actors.values():
            ray.kill(actor)
        if address == LOCAL:
            ray.shutdown()


class _Actor:
    """A worker that lives on the cluster."""

    def __init__(self, job: EvaluationJob) -> None:
        self._job = job
        self._worker: Optional[Worker] = None

    def score(self, shard: Shard) -> ShardResult:
        """Score one shard."""
        if self._worker is None:
            # Not above: an error of a task is told, one of an actor's start looks like its loss.
            worker = Worker(self._job)
            self._worker = worker.__enter__()
        return next(self._worker.score([shard]))


def _connect(address: str, cpus: int) -> Any:
    try:
        import ray
    except ImportError as error:
        raise EvaluationError(f"--ray needs Ray ({error}): pip install 'ray>=2.9'") from error
    try:
        if address == LOCAL:
            ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EvaluationError(f'no Ray cluster at {address!r}: {error}') from error
    return ray
