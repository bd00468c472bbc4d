# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Executors: no frame is lost with a worker, and none is blamed for another."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import painted
import pytest

from segformer_ros.evaluation.executors import ShardWorkers, score_by
from segformer_ros.evaluation.shards import EvaluationError, FrameRecord, Shard, ShardResult

SCRIPT = """
from pathlib import Path
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import Execution, EvaluationRun
from segformer_ros.recordings import SourceOptions

{guard}
    job = EvaluationJob(
        ('images',), SourceOptions(labels=Path('labels')), ModelChoice(engine='fake'),
        shard_frames=16,
    )
    EvaluationRun(job, Path('out')).execute(Execution(workers=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('guard', 'words'),
    [
        ("if __name__ == '__main__':", ''),
        ('if True:', 'a worker ended with code 1 before it began; its own words stand above'),
    ],
)
def test_a_script_without_its_guard_is_told_so(guard: str, words: str, tmp_path: Path) -> None:
    painted.write_folders(tmp_path, 20)
    (tmp_path / 'script.py').write_text(SCRIPT.format(guard=guard))
    ended = subprocess.run(
        [sys.executable, 'script.py'], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (ended.returncode == 0) is (not words)
    assert words in ended.stderr
    assert 'workers died on frames' not in ended.stderr


SHARDS = [Shard(number, 0, 10 * number, 10 * number + 10) for number in range(5)]


class _Mortal(ShardWorkers):
    """Workers of this process, all of which die of certain shards, as a broken pool's do."""

    def __init__(self, deadly: dict[int, int]) -> None:
        self.deadly = deadly
        self.begun: list[tuple[Shard, Future[ShardResult]]] = []
        self.broken = False

    def submit(self, shard: Shard) -> Future[ShardResult]:
        if self.broken:
            raise BrokenProcessPool
        future: Future[ShardResult] = Future()
        self.begun.append((shard, future))
        if self.deadly.get(shard.number):
            self.deadly[shard.number] -= 1
            self.broken = True
            for _, other in self.begun:
                if not other.done():
                    other.set_exception(BrokenProcessPool())
        elif len(self.begun) > 1:
            self._finish(*self.begun[-2])
        return future

    def done_frames(self) -> dict[int, int]:
        if not self.broken and self.begun:  # nobody asks for more: the last one ends
            self._finish(*self.begun[-1])
        return {shard.number: 5 for shard, future in self.begun if not future.done()}

    def kill(self) -> None:
        self.broken = True

    def _finish(self, shard: Shard, future: Future[ShardResult]) -> None:
        if not future.done():
            frames = [FrameRecord(0, index, '') for index in range(shard.start, shard.stop)]
            matrices = np.zeros((0, 2, 3), np.uint32)
            future.set_result(ShardResult(shard.number, frames, matrices, {}, [], {}))


@pytest.mark.parametrize('deaths', [0, 1, 2])
def test_every_shard_is_scored_once_whoever_dies(deaths: int) -> None:
    deadly = {2: deaths}
    counted: list[int] = []
    sizes: list[int] = []

    def start(size: int) -> _Mortal:
        sizes.append(size)
        return _Mortal(deadly)

    results = list(score_by(start, SHARDS, 3, counted.append))
    assert sorted(result.number for result in results) == [0, 1, 2, 3, 4]
    assert sum(counted) == 50
    # What was in work when a worker died is done again alone, the rest by all.
    assert (sizes[0], sizes[-1]) == (3, 3)
    assert set(sizes[1:-1]) <= {1}


def test_the_shard_that_kills_is_named_and_not_its_neighbour() -> None:
    with pytest.raises(EvaluationError, match='3 workers died on frames 20 to 29 of input 0;'):
        list(score_by(lambda size: _Mortal({2: 9}), SHARDS, 3))
