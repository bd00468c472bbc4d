"""Raw messages of one topic of a rosbag2, whatever its storage, also of a damaged one."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from segformer_ros.documents import DocumentError
from segformer_ros.errors import reason
from segformer_ros.formats.limits import MAX_MESSAGE_BYTES, SizeError
from segformer_ros.formats.zstd import check_unpacked, decompress, write_whole
from segformer_ros.sources.bag_files import (
    METADATA,
    PACKED,
    read_layout,
    read_metadata,
)
from segformer_ros.sources.base import SourceError
from segformer_ros.sources.cut_database import CutDatabase, is_cut_database
from segformer_ros.sources.salvage import CutFile, whole_length

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader


class Topic(NamedTuple):
    """A topic of a bag: its message type and how many messages it holds."""

    msgtype: str
    messages: int


class RawMessage(NamedTuple):
    """One message as it lies in the bag: time of recording (ns) and CDR bytes."""

    time: int
    data: bytes


class Lost(NamedTuple):
    """A message that the bag counts but that cannot be read, and why; its time, if known."""

    reason: str
    time: Optional[int] = None


Entry = Union[RawMessage, Lost]


class _Part(NamedTuple):
    """One storage file: rosbags' reader of it, and whether each message is compressed."""

    storage: Any
    by_message: bool


class _LostChunk(NamedTuple):
    time: int
    messages: int
    reason: str


class BagReader:
    """Reads a bag: a folder with metadata.yaml, a folder of storage files, or one such file.

    A context manager; one iteration at a time. Raises SourceError where the bag cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: Tuple[str, ...] = ()
        self._readers: List[Reader] = []
        self._parts: List[_Part] = []
        self._stack = ExitStack()
        self._bytes = 0

    def __enter__(self) -> BagReader:
        try:
            self._open_all()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._readers.clear()
        self._parts.clear()
        self._stack.close()

    @property
    def topics(self) -> Dict[str, Topic]:
        """Topics by name."""
        topics: Dict[str, Topic] = {}
        for reader in self._readers:
            for connection in reader.connections:
                known = topics.get(connection.topic, Topic(connection.msgtype, 0))
                # A count that is only claimed: no bag has more messages than bytes.
                counted = known.messages + max(connection.msgcount, 0)
                topics[connection.topic] = known._replace(messages=min(counted, self._bytes))
        return dict(sorted(topics.items()))

    def definition(self, topic: str) -> str:
        """The topic's message definition as the bag holds it; '' where it holds none."""
        # A plain text in rosbags before 0.10.10.
        texts = (str(getattr(c.msgdef, 'data', c.msgdef)) for _, c in self._connections(topic))
        return next((text for text in texts if text), '')

    def messages(self, topic: str, start: Optional[int] = None) -> Iterator[RawMessage]:
        """Readable messages of a topic from a time of recording (ns) on, in the order of the bag.

        Raises SourceError at damage that hides what follows.
        """
        return (entry for entry in self._read(topic, start) if isinstance(entry, RawMessage))

    def entries(
        self, topic: str, start: int = 0, known: Sequence[int] = ()
    ) -> Iterator[Tuple[int, Entry]]:
        """Places and entries of a topic, as many as the bag counts; unreadable ones are Lost.

        A damaged chunk of an mcap, or a message that was compressed by itself, costs its own
        messages only. start: entries before it are not
        wanted. known: times of the first entries, by which they are jumped over; without it they
        are given too.
        """
        total = self.topics[topic].messages
        since, done = None, 0
        if known and start and self._in_order:
            since = known[min(start, len(known) - 1)]
            done = bisect_left(known, since)
        try:
            for entry in self._read(topic, since):
                yield done, entry
                done += 1
        except SourceError as error:
            reason = str(error)
            lost_chunks = self._drop_damaged_chunks(topic)
            if lost_chunks:
                for place, entry in enumerate(self._around(lost_chunks, topic)):
                    if place >= done:
                        yield place, entry
                        done += 1
        else:
            reason = f'{self.path} ends early'
        for place in range(done, total):
            lost = f'(message {done + 1} to {total} of {topic} are lost)'
            yield place, Lost(f'{reason} {lost}')

    @property
    def _in_order(self) -> bool:
        """Whether times never go back: in one file they do not, from file to file they may."""
        return len(self._parts) == 1

    def _read(self, topic: str, start: Optional[int] = None) -> Iterator[Entry]:
        """Entries as the storages give them, up to damage that hides what follows."""
        try:
            for part in self._parts:
                chosen = [c for c in part.storage.connections if c.topic == topic]
                if chosen:
                    for _, time, data in part.storage.messages(chosen, start=start):
                        yield self._entry(part, time, data)
        except Exception as error:  # each storage and compression raises its own kinds
            raise SourceError(f'{self.path} is damaged: {error}') from error

    def _entry(self, part: _Part, time: int, data: bytes) -> Entry:
        if not part.by_message:
            return RawMessage(time, data)
        try:
            return RawMessage(time, decompress(data, MAX_MESSAGE_BYTES))
        except Exception as error:  # as above
            where = f'the message recorded at {time} ns'
            return Lost(f'{self.path} is damaged: {where}: {error}', time)

    def _around(self, lost_chunks: List[_LostChunk], topic: str) -> Iterator[Entry]:
        """The readable messages, with the lost ones where they were."""
        pending = sorted(lost_chunks)
        entries = self._read(topic)
        while True:
            try:
                entry = next(entries, None)
            except SourceError:
                entry = None
            while pending and (entry is None or pending[0].time <= (entry.time or 0)):
                chunk = pending.pop(0)
                for _ in range(chunk.messages):
                    yield Lost(chunk.reason)
            if entry is None:
                return
            yield entry

    def _drop_damaged_chunks(self, topic: str) -> List[_LostChunk]:
        """Take the unreadable chunks out of the mcap readers' lists; what they held of a topic."""
        lost = []
        for storage, _ in self._parts:
            connections = [c for c in storage.connections if c.topic == topic]
            chunks = getattr(storage, 'chunks', [])
            for chunk in list(chunks):
                chunks_before = chunks[:]
                chunks[:] = [chunk]
                try:
                    for _ in storage.messages(connections):
                        pass
                    chunks[:] = chunks_before
                except Exception as error:  # as above
                    chunks[:] = [c for c in chunks_before if c is not chunk]
                    count = sum(chunk.channel_count.get(c.id, 0) for c in connections)
                    reason = f'{self.path}: damaged chunk ({error})'
                    lost.append(_LostChunk(chunk.message_start_time, count, reason))
        return lost

    def _connections(self, topic: str) -> Iterator[Tuple[Reader, Connection]]:
        for reader in self._readers:
            for connection in reader.connections:
                if connection.topic == topic:
                    yield reader, connection

    def _open_all(self) -> None:
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        self._bytes = sum(file.stat().st_size for file in files if file.is_file())
        if self.path.is_file():
            self._open(self.path)
        elif (self.path / METADATA).exists():
            self._check_unpacked()
            try:
                read_metadata(self.path)  # before rosbags, which believes it
                self._open(self.path)
            except SourceError as error:
                self._open_each(error)
            except (OSError, DocumentError) as error:
                self._open_each(SourceError(f'{self.path / METADATA}: {reason(error)}'))
        else:
            self._open_each(None)

    def _check_unpacked(self) -> None:
        """Raise SourceError before rosbags unpacks files without a limit."""
        for file in read_layout(self.path).files:
            if file.suffix == PACKED and file.is_file():
                try:
                    check_unpacked(file)
                except SizeError as error:
                    raise SourceError(f'{file}: {error}: it is no recording') from error

    def _open_each(self, fault: Optional[SourceError]) -> None:
        """Open the storage files one by one, without those that are no good.

        fault: why the folder cannot be opened by its metadata, None where it has none.
        """
        self.notes += (
            f'{self.path} has no metadata.yaml: its files are read in name order'
            if fault is None
            else f'{self.path} is not as its metadata.yaml says: its files are read one by one',
        )
        layout = read_layout(self.path)
        for file in layout.files:
            try:
                self._open_file(file, layout.by_message)
            except (SourceError, SizeError, OSError) as error:
                reason = str(error) if file.exists() else 'it is missing'
                self.notes += (f'{file.name} is left out: {reason}',)
                fault = fault or SourceError(str(error))
        if not self._readers:
            raise fault or SourceError(f'bag {self.path} has no storage file')

    def _open_file(self, file: Path, by_message: bool) -> None:
        if file.suffix != PACKED:
            self._open(file, by_message)
            return
        folder = self._stack.enter_context(TemporaryDirectory())
        unpacked = Path(folder, file.stem)
        write_whole(file, unpacked)
        self._open(unpacked, by_message, file)

    def _open(self, path: Path, by_message: bool = False, name: Optional[Path] = None) -> None:
        """Open a folder by its metadata or one storage file, by which `name` it is known."""
        from rosbags.rosbag2 import Reader

        _limit_chunks()
        location: Any = path
        if path.suffix == '.mcap' and path.is_file():
            length = whole_length(path)
            if length is not None:
                location = CutFile(path, length)
                self.notes += (
                    f'{name or path} was cut off; its first {length} bytes are whole and are read',
                )
        try:
            if path.suffix == '.db3' and path.is_file() and is_cut_database(path):
                reader: Any = self._stack.enter_context(CutDatabase(path))
                self.notes += (
                    f'{name or path} was cut off; its first {reader.whole} messages are read',
                )
            else:
                reader = self._stack.enter_context(Reader(location))
        except Exception as error:  # each storage raises its own kinds
            words = str(error).rstrip('.')
            raise SourceError(f'cannot read bag {name or path}: {words}; {_advice()}') from error
        self._readers.append(reader)
        by_message = by_message or getattr(reader, 'compression_mode', None) == 'message'
        for storage in getattr(reader.storage, 'storages', [reader.storage]):
            self._parts.append(_Part(storage, by_message))


def _limit_chunks() -> None:
    """Have rosbags unpack the chunks of an mcap within a limit; itself it has none."""
    from rosbags.rosbag2 import storage_mcap

    own: Dict[str, Any] = getattr(storage_mcap, 'DECOMPRESSORS', {})
    if 'zstd' in own:
        own['zstd'] = lambda data, size: decompress(data, min(size, MAX_MESSAGE_BYTES))


def _advice() -> str:
    from rosbags import rosbag2

    if hasattr(rosbag2, 'StoragePlugin'):
        return '`ros2 bag reindex` may mend a folder'
    return (
        'the installed rosbags, of Python 3.8 and 3.9, reads no single files and no bags of '
        'Jazzy: use Python 3.10 or later'
    )
