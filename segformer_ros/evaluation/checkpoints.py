"""Checkpoints: finished shards on disk, so that an interrupted run resumes."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple
from weakref import finalize

from segformer_ros.destination import lock_folder, output_folder, write_file
from segformer_ros.errors import reason
from segformer_ros.evaluation.shards import EvaluationError, Shard, ShardResult

FOLDER = '.partial'

_OWN_FOLDER = re.compile(r'[0-9a-f]{16}')
_OWN_FILE = re.compile(r'\.?\d{6}\.npz(\.\d+)?')
"""Checkpoints, and what is left of one whose writing was killed."""


class Checkpoints:
    """The results of a run's shards, in a folder named by the run's fingerprint.

    One process at a time has them: another is refused until `close`. Those of another fingerprint
    are removed: they belong to other settings or other files. What else lies there is left, and
    links are not followed. Raises EvaluationError, and DestinationError of another run.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self._root = out / FOLDER
        self._folder = self._root / fingerprint
        self._unlock = finalize(self, os.close, lock_folder(output_folder(out)))
        try:
            for folder in (self._root, self._folder):
                if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                    raise EvaluationError(
                        f'{folder} is a link or a file, where an evaluation keeps the folder of '
                        'its checkpoints; remove it, or give another --out'
                    )
            for name in self._listed(self._root):
                if _OWN_FOLDER.fullmatch(name) and name != fingerprint:
                    self._remove_own(self._root / name)
            output_folder(self._folder)
        except BaseException:
            self.close()
            raise

    def save(self, result: ShardResult) -> None:
        """Keep a result, also through a power cut."""
        path = self._path(result.number)
        write_file(path, result.to_bytes(), follow=False, durable=True)

    def missing(self, shards: Sequence[Shard]) -> Tuple[List[Shard], Dict[Path, str]]:
        """Those of the shards that are still to be scored, and what is wrong with their files."""
        missing, faults = [], {}
        for shard in shards:
            try:
                self._load(shard.number)
            except FileNotFoundError:
                missing.append(shard)
            except (EvaluationError, OSError) as error:
                missing.append(shard)
                faults[self._path(shard.number)] = reason(error)
        return missing, faults

    def results(self, shards: Sequence[Shard]) -> Iterator[ShardResult]:
        """The results in the order of the shards, one in memory at a time."""
        for shard in shards:
            try:
                yield self._load(shard.number)
            except (EvaluationError, OSError) as error:
                raise EvaluationError(
                    f'{self._path(shard.number)} cannot be read: {reason(error)}; start again: '
                    'its frames are done anew, the others are kept'
                ) from error

    def remove(self) -> None:
        """Remove all results and let others in: the run is complete."""
        self._remove_own(self._folder)
        self.close()

    def close(self) -> None:
        """Let others in, and leave no empty folder; may be called again without harm."""
        if self._unlock.alive:
            for folder in (self._folder, self._root):
                with suppress(OSError):  # something lies in it
                    folder.rmdir()
        self._unlock()

    def _path(self, number: int) -> Path:
        return self._folder / f'{number:06d}.npz'

    def _load(self, number: int) -> ShardResult:
        """A shard's result; raises OSError or EvaluationError."""
        descriptor = os.open(self._path(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, 'rb') as file:
            result = ShardResult.from_bytes(file.read())
        if result.number != number:
            raise EvaluationError(f'it holds shard {result.number}')
        return result

    def _remove_own(self, folder: Path) -> None:
        """Remove the checkpoints in a folder, and the folder where nothing else lies in it."""
        if folder.is_symlink():
            return
        for name in self._listed(folder):
            if _OWN_FILE.fullmatch(name):
                (folder / name).unlink()
        with suppress(OSError):
            folder.rmdir()

    def _listed(self, folder: Path) -> List[str]:
        return os.listdir(folder) if folder.is_dir() else []
