"""Messages of one topic of a rosbag2, whatever its storage, also of a damaged one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from segformer_ros.errors import reason
from segformer_ros.formats import zstd
from segformer_ros.sources.bag_files import METADATA, PACKED, read_layout, storage_files
from segformer_ros.sources.bag_storage import (
    Entry,
    Lost,
    RawMessage,
    Storage,
    StorageError,
    Topic,
)
from segformer_ros.sources.base import SourceError
from segformer_ros.sources.mcap_file import McapFile
from segformer_ros.sources.sqlite_file import SqliteFile

_STORAGES: Dict[str, Callable[[Path, Path], Storage]] = {'.mcap': McapFile, '.db3': SqliteFile}
"""By the ending of the file."""


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
        """Places and entries of a topic from the `start`th on, as many as the bag counts.

        In the order of the files and in each by the times of recording; unreadable ones are Lost.
        """
        place = 0
        for storage, by_message in self._parts:
            found = storage.topics.get(topic)
            if found is None or found.msgtype != self.topics[topic].msgtype:
                continue
            first = max(start - place, 0)
            if first < found.messages:
                for entry in storage.entries(topic, first):
                    yield place + first, self._unpacked(entry, by_message)
                    first += 1
            place += found.messages

    def _unpacked(self, entry: Entry, by_message: bool) -> Entry:
        """An entry whose message is not compressed; no CDR message begins as a compressed one."""
        if isinstance(entry, Lost):
            return entry
        if not by_message and entry.data[: len(zstd.MAGIC)] != zstd.MAGIC:
            return entry
        try:
            return RawMessage(entry.time, zstd.decompress(entry.data))
        except ValueError as error:
            where = f'the message recorded at {entry.time} ns'
            return Lost(f'{self.path} is damaged: {where}: {error}', entry.time)

    def _joined_topics(self) -> Dict[str, Topic]:
        """The topics of all files; of what has another type in some file, the one most used."""
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
            file = _as_it_lies(listed)
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
            taken = {_as_it_lies(file) for file in layout.files}
            notes += [
                f'{file.name} is left out: metadata.yaml does not have it'
                for file in storage_files(self.path)
                if file not in taken
            ]
            if notes:
                notes.insert(0, f'{self.path} is not as its metadata.yaml says')
        else:
            there = (self.path / METADATA).exists()
            lack = 'a metadata.yaml that cannot be read' if there else 'no metadata.yaml'
            notes.insert(0, f'{self.path} has {lack}: its files are read in name order')
        self.notes = tuple(notes)

    def _open(self, file: Path, by_message: bool) -> None:
        """Open a storage file, unpacked where it is compressed as a whole; raises SourceError."""
        try:
            path = self._unpacked_file(file) if file.suffix == PACKED else file
            if path.suffix not in _STORAGES:
                raise StorageError(f'it ends in none of {", ".join(_STORAGES)}')
            storage = _STORAGES[path.suffix](path, file)
        except (ValueError, OSError) as error:
            raise SourceError(f'cannot read bag {file}: {reason(error)}') from error
        self._stack.callback(storage.close)
        self._parts.append(_Part(storage, by_message))
        self.notes += storage.notes

    def _unpacked_file(self, packed: Path) -> Path:
        unpacked = Path(self._stack.enter_context(TemporaryDirectory()), packed.stem)
        zstd.write_whole(packed, unpacked)
        if not unpacked.stat().st_size:
            raise StorageError('nothing of it can be unpacked')
        return unpacked


def _as_it_lies(file: Path) -> Path:
    """A listed file, or the compressed or unpacked one that lies in its place."""
    other = file.with_suffix('') if file.suffix == PACKED else file.with_name(file.name + PACKED)
    return other if other.exists() and not file.exists() else file
