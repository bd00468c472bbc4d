# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Shards: the equal parts of a run, their results, and checkpoints of the finished ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple
from weakref import finalize

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.destination import lock_folder, output_folder, write_file, write_image
from segformer_ros.errors import SegformerError, reason
from segformer_ros.evaluation.frame_views import Picture
from segformer_ros.recordings import Source


class EvaluationError(SegformerError, ValueError):
    """An evaluation that cannot be done: says why and what to do."""


_CHECKSUM_BYTES = hashlib.sha256().digest_size


class Shard(NamedTuple):
    """Frames `start` to `stop` of one recording; number: its place in the run."""

    number: int
    source: int
    start: int
    stop: int


@dataclass(frozen=True)
class FrameRecord:
    """One frame of the run.

    source, index, key, stamp_ns: identify it. note: what is wrong with it, '' for nothing.
    scored: whether it was scored. stays to false_blocked: see FrameScore.
    preprocess, inference, postprocess, score: milliseconds of each stage.
    """

    source: int
    index: int
    key: str
    stamp_ns: int = 0
    note: str = ''
    scored: bool = False
    stays: int = 0
    changed: int = 0
    columns: int = 0
    false_free: int = 0
    false_blocked: int = 0
    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0
    score: float = 0.0


@dataclass
class ShardResult:
    """The result of a shard.

    frames: one record for each frame, in order. matrices: (scored frames, K, K + 1) uint32, their
    confusion matrices in the same order. counts: the metrics' counts by name. pictures: the
    shard's worst frames. facts: the worker's engine's.
    """

    number: int
    frames: List[FrameRecord]
    matrices: np.ndarray
    counts: Dict[str, np.ndarray]
    pictures: List[Picture]
    facts: Dict[str, str]

    def to_bytes(self) -> bytes:
        """What `from_bytes` reads: an npz and its checksum."""
        rows = [astuple(record) for record in self.frames]
        arrays: Dict[str, Any] = {
            'number': np.array(self.number),
            'texts': np.frombuffer(json.dumps([rows, self.facts]).encode(), np.uint8),
            'matrices': self.matrices,
        }
        arrays.update((f'counts.{name}', values) for name, values in self.counts.items())
        for place, picture in enumerate(self.pictures):
            arrays.update(
                (f'picture.{place}.{name}', np.asarray(value))
                for name, value in asdict(picture).items()
            )
        file = BytesIO()
        np.savez(file, **arrays)
        file.write(hashlib.sha256(file.getbuffer()).digest())
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> ShardResult:
        """What `to_bytes` wrote; raises EvaluationError where the checksum does not match."""
        packed, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        if hashlib.sha256(packed).digest() != checksum:
            raise EvaluationError('its checksum does not match its content')
        with np.load(BytesIO(packed), allow_pickle=False) as data:
            counts = {name[7:]: data[name] for name in data.files if name.startswith('counts.')}
            places = sum(name.endswith('.index') for name in data.files)
            frames, facts = json.loads(data['texts'].tobytes())
            return cls(
                number=int(data['number']),
                frames=[FrameRecord(*row) for row in frames],
                matrices=data['matrices'],
                counts=counts,
                pictures=[_load_picture(data, place) for place in range(places)],
                facts=facts,
            )


def _load_picture(data: Any, place: int) -> Picture:
    values = {item.name: data[f'picture.{place}.{item.name}'] for item in fields(Picture)}
    return Picture(**{**values, 'index': int(values['index']), 'wrong': float(values['wrong'])})


def plan_shards(sources: Sequence[Source], frames: int) -> List[Shard]:
    """Split recordings into shards, which do not depend on the number of workers."""
    shards: List[Shard] = []
    for number, source in enumerate(sources):
        for start in range(0, len(source), frames):
            stop = min(start + frames, len(source))
            shards.append(Shard(len(shards), number, start, stop))
    return shards


PREDICTIONS = 'predictions'


class Predictions:
    """Label images `folder/RECORDING/KEY.png` (H, W) uint8, of a data set's own label ids.

    A class map without label ids of its own is written in train ids. Pixels without a class are 0
    among label ids (Cityscapes' unlabeled) and 255 among train ids.
    """

    def __init__(self, folder: Path, class_map: ClassMap) -> None:
        self._folder = folder
        classes = len(class_map)
        ids = [entry.label_id for entry in class_map.classes]
        own = min(ids) > 0 and len(set(ids)) == classes and max(ids) < IGNORE_ID
        self._written = np.full(256, 0 if own else IGNORE_ID, np.uint8)
        self._written[:classes] = ids if own else range(classes)
        self._read = np.full(256, IGNORE_ID, np.uint8)
        self._read[self._written[:classes]] = range(classes)

    def write(self, recording: str, key: str, labels: np.ndarray) -> None:
        """Write the mask of a frame, (H, W) uint8 train ids; raises DestinationError."""
        path = self._path(recording, key)
        output_folder(path.parent)
        write_image(path, cv2.LUT(labels, self._written))

    def read(self, recording: str, key: str) -> np.ndarray:
        """The mask of a frame as it was written, in train ids; raises EvaluationError."""
        path = self._path(recording, key)
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None:
            raise EvaluationError(f'{path} is missing or not an image; evaluate again')
        return np.asarray(cv2.LUT(values, self._read))

    def clear(self) -> None:
        """Remove the masks of former runs, and the folders that this leaves empty."""
        folders = [] if self._folder.is_symlink() else [*self._folder.glob('*/')]
        for folder in folders:
            if folder.is_symlink():  # its target is not ours
                continue
            for path in folder.glob('*.png'):
                path.unlink()
            with suppress(OSError):  # not empty
                folder.rmdir()

    def has(self, recording: str, key: str) -> bool:
        """Whether the mask of a frame was written."""
        return self._path(recording, key).is_file()

    def _path(self, recording: str, key: str) -> Path:
        return self._folder / recording / f'{key}.png'


FOLDER = '.partial'

_OWN_FOLDER = re.compile(r'[0-9a-f]{16}')
_OWN_FILE = re.compile(r'\.?\d{6}\.npz(\.\d+)?')
"""Names of checkpoints, and of incomplete ones that a killed process left."""


class Checkpoints:
    """The results of a run's shards, in a folder named by the run's fingerprint.

    They are locked: another process is refused until `close`. Those of other fingerprints are
    removed, as they belong to other settings or files. Other files are left alone, and symbolic
    links are not followed. Raises EvaluationError, and DestinationError where another run has the
    lock.
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
        """Write a result durably: it survives a power cut."""
        path = self._path(result.number)
        write_file(path, result.to_bytes(), follow=False, durable=True)

    def missing(self, shards: Sequence[Shard]) -> Tuple[List[Shard], Dict[Path, str]]:
        """Shards that are still to be scored, and the faults of unreadable files."""
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
                    'only its frames are scored again'
                ) from error

    def remove(self) -> None:
        """Remove all results and unlock: the run is complete."""
        self._remove_own(self._folder)
        self.close()

    def close(self) -> None:
        """Unlock, and remove empty folders; may be called again without harm."""
        if self._unlock.alive:
            for folder in (self._folder, self._root):
                with suppress(OSError):  # not empty
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
        """Remove the checkpoints in a folder, and the folder if that leaves it empty."""
        if folder.is_symlink():
            return
        for name in self._listed(folder):
            if _OWN_FILE.fullmatch(name):
                (folder / name).unlink()
        with suppress(OSError):
            folder.rmdir()

    def _listed(self, folder: Path) -> List[str]:
        return os.listdir(folder) if folder.is_dir() else []
