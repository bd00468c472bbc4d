# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Executors: shards scored in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import os
import threading
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing.sharedctypes import RawArray
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set

from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.shard_worker import Progress, ShardWorker, no_progress
from segformer_ros.evaluation.shards import EvaluationError, Shard, ShardResult
from segformer_ros.interrupts import keep_buffers, shielded

MAX_ATTEMPTS = 3
"""Workers that one shard may kill before the run gives up."""

RAY_LOCAL = 'local'
"""Address of a Ray cluster on this machine only, started and stopped with the run."""

_POLL_SECONDS = 0.1
"""Between two queries of the workers' progress."""


def share_of_threads(workers: int) -> int:
    """CPU threads of each worker's inference; reading and scoring fill the gaps between frames."""
    return max(1, len(os.sched_getaffinity(0)) // max(workers, 1))


def score_in_processes(
    job: EvaluationJob, shards: Sequence[Shard], workers: int, progress: Progress = no_progress
) -> Iterator[ShardResult]:
    """Score shards in `workers` processes; results as they come.

    The shards of a process that dies are retried. Raises EvaluationError where one shard kills
    several, and whatever error a worker raises.
    """
    slots = 1 + max((shard.number for shard in shards), default=0)
    return score_by(lambda size: _Processes(job, size, slots), shards, workers, progress)


def score_on_ray(
    job: EvaluationJob,
    shards: Sequence[Shard],
    workers: int,
    address: str,
    progress: Progress = no_progress,
) -> Iterator[ShardResult]:
    """Score shards in `workers` actors of the Ray cluster at `address`; results as they come.

    Each actor has its own engine and reads the recordings under the same paths as here (a shared
    file system). The shards of a lost actor are retried. Raises EvaluationError where Ray is
    missing or cannot be reached, or where one shard kills several actors.
    """
    threads = max(1, job.model.options.threads)
    ray = _connect(address, workers * threads)
    try:
        yield from score_by(lambda size: _RayActors(ray, job, threads), shards, workers, progress)
    finally:
        if address == RAY_LOCAL:
            ray.shutdown()


class ShardWorkers(ABC):
    """An executor whose workers score shards: the part of `concurrent.futures` that is needed.

    If a worker dies, its futures raise BrokenExecutor.
    """

    @abstractmethod
    def submit(self, shard: Shard) -> Future[ShardResult]:
        """Submit a shard; raises BrokenExecutor where a worker has died already."""

    def done_frames(self) -> Dict[int, int]:
        """Finished frames of the running shards, by shard number, as far as known."""
        return {}

    def start_fault(self) -> str:
        """Why workers failed before their first shard; '' where they did not."""
        return ''

    @abstractmethod
    def kill(self) -> None:
        """Terminate all workers, also busy ones."""


def score_by(
    start: Callable[[int], ShardWorkers],
    shards: Sequence[Shard],
    workers: int,
    progress: Progress = no_progress,
) -> Iterator[ShardResult]:
    """Score shards with workers, restarting them as often as needed.

    A broken executor does not say which shard broke it. So all that were running are retried one
    by one; a worker that dies then was killed by its own shard.
    """
    left = list(shards)
    deaths: Counter[int] = Counter()
    while left:
        suspects = [shard for shard in left if deaths[shard.number]]
        batch, size = (suspects[:1], 1) if suspects else (left, workers)
        lost: List[Shard] = []
        for result in _score_batch(start(size), batch, size, progress, lost):
            left = [shard for shard in left if shard.number != result.number]
            yield result
        for shard in lost:
            deaths[shard.number] += 1
            if deaths[shard.number] >= MAX_ATTEMPTS:
                raise EvaluationError(
                    f'{MAX_ATTEMPTS} workers died on frames {shard.start} to {shard.stop - 1} of '
                    f'input {shard.source}; look at these frames, or give the workers more memory'
                )


def _score_batch(
    workers: ShardWorkers,
    shards: Sequence[Shard],
    size: int,
    progress: Progress,
    lost: List[Shard],
) -> Iterator[ShardResult]:
    """Score shards, `size` at a time, until all are done or a worker is lost.

    lost: to be filled with the shards whose workers died.
    """
    waiting = iter(shards)
    running: Dict[Future[ShardResult], Shard] = {}
    counted: Counter[int] = Counter()
    try:
        while True:
            while len(running) < size and not lost:
                shard = next(waiting, None)
                if shard is None:
                    break
                try:
                    running[workers.submit(shard)] = shard
                except BrokenExecutor:  # broken by one of the running shards
                    break
            if not running:
                return
            done, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            for number, frames in workers.done_frames().items():
                _count(counted, number, frames, progress)
            for future in done:
                shard = running.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor:
                    fault = workers.start_fault()
                    if fault:
                        raise EvaluationError(fault) from None
                    lost.append(shard)
                    _count(counted, shard.number, 0, progress)
                    continue
                _count(counted, shard.number, shard.stop - shard.start, progress)
                yield result
    finally:
        workers.kill()  # their results are no longer needed


def _count(counted: Counter[int], number: int, frames: int, progress: Progress) -> None:
    """Report how many more frames of a shard are finished than were reported before."""
    if frames != counted[number]:
        progress(frames - counted[number])
        counted[number] = frames


class _Processes(ShardWorkers):
    """Processes of this machine."""

    def __init__(self, job: EvaluationJob, size: int, slots: int) -> None:
        context = multiprocessing.get_context('spawn')
        # Plain shared memory: a lock could die with the worker that holds it.
        self._frames = RawArray('i', slots)
        self._begun = RawArray('i', 1)
        self._before = set(multiprocessing.active_children())
        self._processes: Set[Any] = set()
        self._current: Set[int] = set()
        self._pool = ProcessPoolExecutor(size, context, _begin, (job, self._frames, self._begun))

    def submit(self, shard: Shard) -> Future[ShardResult]:
        # Started here, before `shielded`: its start unblocks SIGINT in this process.
        multiprocessing.resource_tracker.ensure_running()
        with shielded():
            future = self._pool.submit(_score_shard, shard)
        self._processes |= set(multiprocessing.active_children()) - self._before
        self._current.add(shard.number)
        future.add_done_callback(lambda done: self._current.discard(shard.number))
        return future

    def done_frames(self) -> Dict[int, int]:
        return {number: self._frames[number] for number in tuple(self._current)}

    def start_fault(self) -> str:
        self._pool.shutdown()
        codes = [process.exitcode for process in self._processes]
        code = max((code for code in codes if code is not None), default=0)
        if self._begun[0] or code <= 0:
            return ''
        return (
            f'a worker ended with code {code} before it began; its own words stand above. A '
            "script that uses workers needs `if __name__ == '__main__':` around the work, as "
            'each worker imports it'
        )

    def kill(self) -> None:
        for process in self._processes:
            process.terminate()
        self._pool.shutdown()


class _Serving:
    """The state of a worker process between shards; created in that process."""

    current: Optional[_Serving] = None

    def __init__(self, job: EvaluationJob, frames: Any) -> None:
        self.frames = frames
        self._job = job
        self._worker: Optional[ShardWorker] = None

    def score(self, shard: Shard, progress: Progress = no_progress) -> ShardResult:
        """Score one shard."""
        if self._worker is None:
            # Not earlier: errors of a task are passed on, errors of an initializer look like a
            # dead worker.
            worker = ShardWorker(self._job)
            self._worker = worker.__enter__()
        return next(self._worker.score([shard], progress))


def _begin(job: EvaluationJob, frames: Any, begun: Any) -> None:
    """Prepare this process to score shards."""
    import cv2

    cv2.setNumThreads(1)  # all workers share the machine's cores
    keep_buffers()
    begun[0] = 1
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Serving.current = _Serving(job, frames)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()  # however it ended
    os._exit(1)


def _score_shard(shard: Shard) -> ShardResult:
    serving = _Serving.current
    assert serving is not None

    def count(frames: int) -> None:
        serving.frames[shard.number] += frames

    return serving.score(shard, count)


class _RayActors(ShardWorkers):
    """Actors of a Ray cluster, started when all others are busy."""

    def __init__(self, ray: Any, job: EvaluationJob, threads: int) -> None:
        self._ray = ray
        self._job = job
        self._actor_class = ray.remote(num_cpus=threads)(_Serving)
        self._actors: List[Any] = []
        self._idle: List[Any] = []

    def submit(self, shard: Shard) -> Future[ShardResult]:
        if not self._idle:
            self._actors.append(self._actor_class.remote(self._job, None))
            self._idle.append(self._actors[-1])
        actor = self._idle.pop()
        future: Future[ShardResult] = Future()

        def pass_on(done: Future[ShardResult]) -> None:
            errors = self._ray.exceptions
            try:
                result = done.result()
            except errors.RayTaskError as error:
                future.set_exception(error.cause)
            except errors.RayActorError as error:
                future.set_exception(BrokenExecutor(str(error)))
            else:
                self._idle.append(actor)
                future.set_result(result)

        actor.score.remote(shard).future().add_done_callback(pass_on)
        return future

    def kill(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)


def _connect(address: str, cpus: int) -> Any:
    try:
        import ray
    except ImportError as error:
        raise EvaluationError(f"--ray needs Ray ({error}): pip install 'ray>=2.9'") from error
    try:
        if address == RAY_LOCAL:
            ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EvaluationError(f'no Ray cluster at {address!r}: {error}') from error
    return ray
