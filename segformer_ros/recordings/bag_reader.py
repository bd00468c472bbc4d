# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A rosbag2, even a damaged one: its files, and the messages of its topics."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any, Callable, ClassVar, Dict, Iterator, List, NamedTuple, Optional, Tuple
from weakref import finalize

from segformer_ros.documents import (
    LONGEST_PATH,
    DocumentError,
    items,
    read_yaml,
    record,
    text,
    whole,
)
from segformer_ros.errors import reason
from segformer_ros.recordings.bag_storage import (
    ZSTD_MAGIC,
    Entry,
    Lost,
    RawMessage,
    Storage,
    StorageError,
    Topic,
    decompress,
    unpack_file,
)
from segformer_ros.recordings.folder_source import natural_key
from segformer_ros.recordings.mcap_file import McapFile
from segformer_ros.recordings.source import SourceError
from segformer_ros.recordings.sqlite_file import SqliteFile

BAG_SUFFIXES = ('.mcap', '.db3')
METADATA = 'metadata.yaml'
PACKED = '.zstd'
"""Suffix of a storage file that was compressed as a whole."""


def is_storage(path: Path) -> bool:
    """Whether a path has the name of a storage file, compressed or not."""
    name = path.name[: -len(PACKED)] if path.suffix == PACKED else path.name
    return PurePath(name).suffix in BAG_SUFFIXES


_COUNT = whole(0, 1 << 40)
_TIME = whole(-(1 << 63), 1 << 63)

_DOCUMENT = record(
    {
        'rosbag2_bagfile_information': record(
            {
                'version': whole(1, 99),
                'storage_identifier': text(),
                'relative_file_paths': items(text(LONGEST_PATH)),
                'duration': record({'nanoseconds': _TIME}, needed=frozenset(('nanoseconds',))),
                'starting_time': record(
                    {'nanoseconds_since_epoch': _TIME},
                    needed=frozenset(('nanoseconds_since_epoch',)),
                ),
                'message_count': _COUNT,
                'topics_with_message_count': items(
                    record(
                        {
                            'topic_metadata': record(
                                {'name': text(LONGEST_PATH), 'type': text(LONGEST_PATH)},
                                needed=frozenset(('name', 'type')),
                            ),
                            'message_count': _COUNT,
                        },
                        needed=frozenset(('topic_metadata', 'message_count')),
                    )
                ),
                'compression_format': text(least=0),
                'compression_mode': text(least=0),
            },
            needed=frozenset(('relative_file_paths',)),
        )
    },
    needed=frozenset(('rosbag2_bagfile_information',)),
)
"""The parts of a bag's metadata.yaml that are read, here and by rosbags."""


class Layout(NamedTuple):
    """Storage files in the order of recording, and whether each message is compressed.

    listed: whether that comes from metadata.yaml, not just from the folder's contents.
    """

    files: List[Path]
    by_message: bool
    listed: bool = True


def storage_files(folder: Path) -> List[Path]:
    """Storage files in a folder, in the order in which they were recorded."""
    files = {path for path in folder.iterdir() if is_storage(path) and path.is_file()}
    # A recorder that was killed while compressing a file leaves both.
    twice = {path for path in files if path.suffix == PACKED and path.with_suffix('') in files}
    return sorted(files - twice, key=natural_key)


def read_layout(folder: Path) -> Layout:
    """The layout by a bag's metadata.yaml; where that is unreadable, by the folder's contents."""
    try:
        metadata = read_metadata(folder)
    except (OSError, DocumentError):
        return Layout(storage_files(folder), False, listed=False)
    files = [folder / PurePath(name).name for name in metadata['relative_file_paths']]
    return Layout(files, metadata.get('compression_mode', '').lower() == 'message')


def read_metadata(folder: Path) -> Dict[str, Any]:
    """The checked content of a bag's metadata.yaml; raises OSError and DocumentError."""
    document = _DOCUMENT(read_yaml(folder / METADATA))
    metadata: Dict[str, Any] = document['rosbag2_bagfile_information']
    return metadata


_STORAGES: Dict[str, Callable[[Path, Path], Storage]] = {'.mcap': McapFile, '.db3': SqliteFile}
"""By the suffix of the file."""


class _Part(NamedTuple):
    """One storage file, and whether each message is compressed by itself."""

    storage: Storage
    by_message: bool


class BagReader:
    """Reads a bag: a folder with metadata.yaml, a folder of storage files, or one such file.

    A context manager; one iteration at a time. Raises SourceError where the bag cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: Tuple[str, ...] = ()
        self.topics: Dict[str, Topic] = {}
        self._parts: List[_Part] = []
        self._stack = ExitStack()

    def __enter__(self) -> BagReader:
        try:
            self._open_all()
            self.topics = self._joined_topics()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._parts.clear()
        self._stack.close()

    def messages(self, topic: str) -> Iterator[RawMessage]:
        """Readable messages of a topic, in the order of the bag."""
        return (entry for _, entry in self.entries(topic) if isinstance(entry, RawMessage))

    def entries(self, topic: str, start: int = 0) -> Iterator[Tuple[int, Entry]]:
        """Indices and entries of a topic from index `start` on, as many as the bag counts.

        In the order of the files, and within each by recording time; unreadable ones are Lost.
        """
        index = 0  # of the storage's first message
        for storage, by_message in self._parts:
            stored = storage.topics.get(topic)
            if stored is None or stored.msgtype != self.topics[topic].msgtype:
                continue
            first = max(start - index, 0)
            if first < stored.messages:
                for entry in storage.entries(topic, first):
                    yield index + first, self._unpacked(entry, by_message)
                    first += 1
            index += stored.messages

    def _unpacked(self, entry: Entry, by_message: bool) -> Entry:
        """An entry with its message decompressed; no CDR message begins with Zstandard's magic."""
        if isinstance(entry, Lost):
            return entry
        if not by_message and entry.data[: len(ZSTD_MAGIC)] != ZSTD_MAGIC:
            return entry
        try:
            return RawMessage(entry.time, decompress(entry.data))
        except ValueError as error:
            where = f'the message recorded at {entry.time} ns'
            return Lost(f'{self.path} is damaged: {where}: {error}', entry.time)

    def _joined_topics(self) -> Dict[str, Topic]:
        """The topics of all files; where their types differ, with that of the most messages."""
        types: Dict[str, Dict[str, Topic]] = {}
        for storage, _ in self._parts:
            for name, topic in storage.topics.items():
                known = types.setdefault(name, {}).get(topic.msgtype, topic._replace(messages=0))
                types[name][topic.msgtype] = known._replace(
                    messages=known.messages + topic.messages,
                    definition=known.definition or topic.definition,
                )
        return {
            name: max(found.values(), key=lambda topic: topic.messages)
            for name, found in sorted(types.items())
        }

    def _open_all(self) -> None:
        if self.path.is_file():
            self._open(self.path, False)
            return
        layout = read_layout(self.path)
        fault: Optional[SourceError] = None
        notes: List[str] = []
        for listed in dict.fromkeys(layout.files):
            file = _existing_variant(listed)
            try:
                if not file.exists():
                    raise SourceError(f'{file} is missing; copy all files of the bag')
                self._open(file, layout.by_message)
            except SourceError as error:
                notes.append(f'{file.name} is left out: {error}')
                fault = fault or error
        if not self._parts:
            raise fault or SourceError(f'bag {self.path} has no storage file')
        notes += self.notes
        if layout.listed:
            known = {_existing_variant(file) for file in layout.files}
            notes += [
                f'{file.name} is left out: metadata.yaml does not list it'
                for file in storage_files(self.path)
                if file not in known
            ]
            if notes:
                notes.insert(0, f'{self.path} is not as its metadata.yaml says')
        else:
            there = (self.path / METADATA).exists()
            lack = 'a metadata.yaml that cannot be read' if there else 'no metadata.yaml'
            notes.insert(0, f'{self.path} has {lack}: its files are read in name order')
        self.notes = tuple(notes)

    def _open(self, file: Path, by_message: bool) -> None:
        """Open a storage file, decompressed if it is compressed as a whole; raises SourceError."""
        try:
            path = self._unpacked_file(file) if file.suffix == PACKED else file
            if path.suffix not in _STORAGES:
                raise StorageError(f'its suffix is not one of {", ".join(_STORAGES)}')
            storage = _STORAGES[path.suffix](path, file)
        except (ValueError, OSError) as error:
            raise SourceError(f'cannot read bag {file}: {reason(error)}') from error
        self._stack.callback(storage.close)
        self._parts.append(_Part(storage, by_message))
        self.notes += storage.notes

    def _unpacked_file(self, packed: Path) -> Path:
        unpacked = Path(self._stack.enter_context(TemporaryDirectory()), packed.stem)
        unpack_file(packed, unpacked)
        if not unpacked.stat().st_size:
            raise StorageError('nothing of it can be decompressed')
        return unpacked


_OPEN_BAGS = 4
"""Most bags that stay open while nobody reads them: they hold files and memory."""


class KeptBag:
    """A bag that stays open between readings, for one reader at a time.

    A concurrent reader opens it a second time. It is closed when its owner is, or when it is the
    least recently read one of too many.
    """

    _kept: ClassVar[OrderedDict[int, BagReader]] = OrderedDict()
    _lock: ClassVar[Any] = RLock()  # a finaliser may come while it is held

    def __init__(self, path: Path) -> None:
        self._path = path
        finalize(self, KeptBag._close, id(self))

    @contextmanager
    def open(self) -> Iterator[BagReader]:
        """The open bag; raises SourceError where it cannot be opened."""
        with self._lock:
            bag = self._kept.pop(id(self), None)
        with ExitStack() as stack:
            if bag is None:
                bag = BagReader(self._path).__enter__()
            stack.push(bag)
            yield bag
            stack.pop_all()
        surplus = bag
        with self._lock:
            if id(self) not in self._kept:
                self._kept[id(self)] = bag
                if len(self._kept) <= _OPEN_BAGS:
                    return
                _, surplus = self._kept.popitem(last=False)
        surplus.__exit__()

    @classmethod
    def _close(cls, owner: int) -> None:
        with cls._lock:
            bag = cls._kept.pop(owner, None)
        if bag is not None:
            bag.__exit__()


def _existing_variant(file: Path) -> Path:
    """A listed file, or its compressed or decompressed variant if only that exists."""
    other = file.with_suffix('') if file.suffix == PACKED else file.with_name(file.name + PACKED)
    return other if other.exists() and not file.exists() else file
