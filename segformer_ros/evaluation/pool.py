"""Pool: shards scored in this process or in workers of this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Dict, Iterator, List, Sequence

from segformer_ros.evaluation.errors import EvaluationError
from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.schedule import Schedule
from segformer_ros.evaluation.shards import Shard, ShardResult
from segformer_ros.evaluation.worker import Progress, Worker, no_progress
from segformer_ros.interrupts import shielded

_END_SECONDS = 5.0
"""Time that a worker has to end once its pipe is closed."""


def spare_threads(workers: int) -> int:
    """CPU threads of each worker's inference that leave a core for reading and scoring."""
    return max(1, len(os.sched_getaffinity(0)) // max(workers, 1) - 1)


def score_here(
    job: EvaluationJob, shards: Sequence[Shard], progress: Progress = no_progress
) -> Iterator[ShardResult]:
    """Score shards in this process, in their order."""
    with Worker(job) as worker:
        yield from worker.score(shards, progress)


def score_in_processes(
    job: EvaluationJob, shards: Sequence[Shard], workers: int, progress: Progress = no_progress
) -> Iterator[ShardResult]:
    """Score shards in `workers` processes, results as they come.

    The share of a process that dies is done again by another. Raises EvaluationError where one
    shard kills several, and whatever error a worker meets.
    """
    pool = _ProcessPool(job, Schedule(shards), progress)
    try:
        for _ in range(workers):
            pool.add()
        missing = len(shards)
        while missing:
            for result in pool.wait():
                missing -= 1
                yield result
    finally:
        pool.close()


@dataclass
class _Member:
    process: Any
    begun: bool = False
    reported: int = 0
    """Frames of the current shard that the progress has counted."""


class _ProcessPool:
    """The processes of a run and the pipe to each."""

    def __init__(self, job: EvaluationJob, schedule: Schedule, progress: Progress) -> None:
        self._context = multiprocessing.get_context('spawn')
        self._job = job
        self._schedule = schedule
        self._progress = progress
        self._members: Dict[Connection, _Member] = {}

    def add(self) -> None:
        """Start one more worker, if a shard is left to begin."""
        here, there = self._context.Pipe()
        shard = self._schedule.next(here)
        if shard is None:
            here.close()
            there.close()
            return
        process = self._context.Process(
            target=_serve, args=(there, self._job), name='evaluation-worker', daemon=True
        )
        # It unblocks Ctrl-C in this process as it starts.
        multiprocessing.resource_tracker.ensure_running()
        with shielded():
            process.start()
        there.close()
        self._members[here] = _Member(process)
        here.send(shard)

    def wait(self) -> List[ShardResult]:
        """Wait for messages of the workers; the results among them."""
        results = []
        for pipe in wait(list(self._members)):
            assert isinstance(pipe, Connection)
            try:
                kind, content = pipe.recv()
            except (EOFError, OSError):
                self._check_start(self._members[pipe])
                self._replace(pipe)
                continue
            self._members[pipe].begun = True
            if kind == 'failed':
                raise content
            if kind == 'begun':
                continue
            if kind == 'frames':
                self._members[pipe].reported += content
                self._progress(content)
            else:
                results.append(content)
                self._hand_out(pipe)
        return results

    def close(self) -> None:
        """End all workers."""
        for pipe in list(self._members):
            self._remove(pipe)

    def _hand_out(self, pipe: Connection) -> None:
        self._schedule.done(pipe)
        self._members[pipe].reported = 0
        shard = self._schedule.next(pipe)
        if shard is None:
            self._remove(pipe)
            return
        try:
            pipe.send(shard)
        except OSError:
            self._replace(pipe)

    def _check_start(self, member: _Member) -> None:
        """Raise EvaluationError where a worker failed on its own before it came to the frames."""
        member.process.join(_END_SECONDS)
        code = member.process.exitcode
        if not member.begun and code is not None and code > 0:
            raise EvaluationError(
                f'a worker ended with code {code} before it began; its own words stand above. A '
                "script that uses workers needs `if __name__ == '__main__':` around the work, as "
                'each worker imports it'
            )

    def _replace(self, pipe: Connection) -> None:
        """Give a dead worker's share to a new one."""
        self._progress(-self._members[pipe].reported)
        self._remove(pipe)
        self._schedule.lost(pipe)
        self.add()

    def _remove(self, pipe: Connection) -> None:
        member = self._members.pop(pipe)
        pipe.close()
        member.process.terminate()
        member.process.join()


def _serve(pipe: Connection, job: EvaluationJob) -> None:
    """Score the shards that come through the pipe until it is closed."""
    import cv2

    cv2.setNumThreads(1)  # the machine's cores belong to all workers
    try:
        pipe.send(('begun', None))
        with Worker(job) as worker:
            while True:
                try:
                    shard = pipe.recv()
                except EOFError:
                    return
                for result in worker.score([shard], lambda n: pipe.send(('frames', n))):
                    pipe.send(('result', result))
    except BrokenPipeError:
        return
    except Exception as error:  # raised again by whoever waits for the results
        pipe.send(('failed', error))
