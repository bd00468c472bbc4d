"""Partial results: finished shards on disk, so that an interrupted run resumes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Iterator, List, Sequence

from segformer_ros.evaluation.shards import Shard, ShardResult

FOLDER = '.partial'


class Partials:
    """The results of a run's shards, in a folder named by the run's fingerprint.

    Results of another fingerprint are removed: they belong to other settings or other files.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self._root = out / FOLDER
        self._folder = self._root / fingerprint
        if self._root.is_dir():
            for stale in self._root.iterdir():
                if stale != self._folder:
                    shutil.rmtree(stale)
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self, result: ShardResult) -> None:
        """Keep a result."""
        result.save(self._path(result.number))

    def missing(self, shards: Sequence[Shard]) -> List[Shard]:
        """Those of the shards that are still to be scored."""
        return [shard for shard in shards if not self._readable(shard)]

    def results(self, shards: Sequence[Shard]) -> Iterator[ShardResult]:
        """The results in the order of the shards, one in memory at a time."""
        for shard in shards:
            yield ShardResult.load(self._path(shard.number))

    def remove(self) -> None:
        """Remove all results: the run is complete."""
        shutil.rmtree(self._root)

    def _path(self, number: int) -> Path:
        return self._folder / f'{number:06d}.npz'

    def _readable(self, shard: Shard) -> bool:
        path = self._path(shard.number)
        return path.is_file() and zipfile.is_zipfile(path)
