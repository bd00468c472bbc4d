"""Raw messages of one topic of a rosbag2, whatever its storage, also of a damaged one."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import ExitStack
from pathlib import Path
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

from segformer_ros.sources.base import SourceError
from segformer_ros.sources.folder import natural_key
from segformer_ros.sources.salvage import CutFile, whole_length

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

BAG_SUFFIXES = ('.mcap', '.db3')


class Topic(NamedTuple):
    """A topic of a bag: its message type and how many messages it holds."""

    msgtype: str
    messages: int


class RawMessage(NamedTuple):
    """One message as it lies in the bag: time of recording (ns) and CDR bytes."""

    time: int
    data: bytes


class Lost(NamedTuple):
    """A message that the bag counts but that cannot be read, and why."""

    reason: str


Entry = Union[RawMessage, Lost]


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
        self._stack = ExitStack()

    def __enter__(self) -> BagReader:
        try:
            for file in self._parts():
                self._readers.append(self._open(file))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._readers.clear()
        self._stack.close()

    @property
    def topics(self) -> Dict[str, Topic]:
        """Topics by name."""
        topics: Dict[str, Topic] = {}
        for reader in self._readers:
            for connection in reader.connections:
                known = topics.get(connection.topic, Topic(connection.msgtype, 0))
                topics[connection.topic] = known._replace(
                    messages=known.messages + connection.msgcount
                )
        return dict(sorted(topics.items()))

    def definition(self, topic: str) -> str:
        """The topic's message definition as the bag holds it; '' where it holds none."""
        return next((str(c.msgdef.data) for _, c in self._connections(topic) if c.msgdef.data), '')

    def messages(self, topic: str, start: Optional[int] = None) -> Iterator[RawMessage]:
        """Messages of a topic from a time of recording (ns) on, in the order of the bag.

        Raises SourceError at damage.
        """
        try:
            for reader in self._readers:
                chosen = [c for owner, c in self._connections(topic) if owner is reader]
                if chosen:
                    for _, time, data in reader.messages(chosen, start=start):
                        yield RawMessage(time, data)
        except GeneratorExit:
            raise
        except Exception as error:  # each storage and compression raises its own kinds
            raise SourceError(f'{self.path} is damaged: {error}') from error

    def entries(
        self, topic: str, start: int = 0, known: Sequence[int] = ()
    ) -> Iterator[Tuple[int, Entry]]:
        """Places and entries of a topic, as many as the bag counts; unreadable ones are Lost.

        A damaged chunk of an mcap costs its own messages only. start: entries before it are not
        wanted. known: times of the first entries, by which they are jumped over; without it they
        are given too.
        """
        total = self.topics[topic].messages
        since, done = None, 0
        if known and start and self._in_order:
            since = known[min(start, len(known) - 1)]
            done = bisect_left(known, since)
        try:
            for message in self.messages(topic, since):
                yield done, message
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
        return [len(getattr(r.storage, 'storages', [r.storage])) for r in self._readers] == [1]

    def _around(self, lost_chunks: List[_LostChunk], topic: str) -> Iterator[Entry]:
        """The readable messages, with the lost ones where they were."""
        pending = sorted(lost_chunks)
        messages = self.messages(topic)
        while True:
            try:
                message = next(messages, None)
            except SourceError:
                message = None
            while pending and (message is None or pending[0].time <= message.time):
                chunk = pending.pop(0)
                for _ in range(chunk.messages):
                    yield Lost(chunk.reason)
            if message is None:
                return
            yield message

    def _drop_damaged_chunks(self, topic: str) -> List[_LostChunk]:
        """Take the unreadable chunks out of the mcap readers' lists; what they held of a topic."""
        lost = []
        for reader in self._readers:
            for storage in getattr(reader.storage, 'storages', [reader.storage]):
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

    def _parts(self) -> List[Path]:
        """What to open: the folder by its metadata, or the storage files one by one."""
        if self.path.is_file() or (self.path / 'metadata.yaml').exists():
            return [self.path]
        self.notes += (f'{self.path} has no metadata.yaml: its files are read in name order',)
        return storage_files(self.path)

    def _open(self, path: Path) -> Reader:
        from rosbags.rosbag2 import Reader

        location: Any = path
        if path.suffix == '.mcap' and path.is_file():
            length = whole_length(path)
            if length is not None:
                location = CutFile(path, length)
                self.notes += (
                    f'{path} was cut off; its first {length} bytes are whole and are read',
                )
        try:
            return self._stack.enter_context(Reader(location))
        except Exception as error:  # each storage raises its own kinds
            words = str(error).rstrip('.')
            raise SourceError(
                f'cannot read bag {path}: {words}; `ros2 bag reindex` may mend a folder'
            ) from error


def storage_files(folder: Path) -> List[Path]:
    """Storage files that lie in a folder, in the order in which they were recorded."""
    files = (path for path in folder.iterdir() if path.suffix in BAG_SUFFIXES)
    return sorted(files, key=natural_key)
