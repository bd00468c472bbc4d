"""Schedule: which worker scores which shard next, and what happens when a worker is lost."""

from __future__ import annotations

from typing import Dict, Hashable, List, Optional, Sequence

from segformer_ros.evaluation.errors import EvaluationError
from segformer_ros.evaluation.shards import Shard

MAX_ATTEMPTS = 3
"""Workers that one shard may cost before the run gives up."""


class Schedule:
    """Hands out shards so that each worker reads its recordings in long runs.

    A worker goes on where it is; one without work takes the second half of the longest run that
    is left, so that nobody reads the start of a long bag again and again.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._runs: List[List[Shard]] = _runs(shards)
        self._own: Dict[Hashable, List[Shard]] = {}
        self._current: Dict[Hashable, Shard] = {}
        self._attempts: Dict[int, int] = {}

    def next(self, worker: Hashable) -> Optional[Shard]:
        """The next shard of an idle worker, None where nothing is left to begin."""
        run = self._own.get(worker) or self._take_run()
        if not run:
            return None
        shard = run.pop(0)
        self._own[worker] = run
        self._current[worker] = shard
        return shard

    def done(self, worker: Hashable) -> None:
        """Note that the worker's shard is finished."""
        del self._current[worker]

    def lost(self, worker: Hashable) -> None:
        """Give the shards of a lost worker to the others; raises EvaluationError."""
        run = self._own.pop(worker, [])
        shard = self._current.pop(worker, None)
        if shard is not None:
            attempts = self._attempts.get(shard.number, 0) + 1
            self._attempts[shard.number] = attempts
            if attempts >= MAX_ATTEMPTS:
                raise EvaluationError(
                    f'{attempts} workers died on frames {shard.start} to {shard.stop - 1} of '
                    f'input {shard.source}; look at these frames, or give the workers more memory'
                )
            run = [shard, *run]
        if run:
            self._runs.append(run)

    def _take_run(self) -> List[Shard]:
        if self._runs:
            self._runs.sort(key=len)
            return self._runs.pop()
        longest = max(self._own.values(), key=len, default=[])
        half = (len(longest) + 1) // 2
        taken = longest[len(longest) - half :]
        del longest[len(longest) - half :]
        return taken


def _runs(shards: Sequence[Shard]) -> List[List[Shard]]:
    """Shards in runs that can be read in one pass."""
    runs: List[List[Shard]] = []
    for shard in shards:
        if runs and (runs[-1][-1].source, runs[-1][-1].stop) == (shard.source, shard.start):
            runs[-1].append(shard)
        else:
            runs.append([shard])
    return runs
