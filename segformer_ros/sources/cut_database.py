"""Recordings that were cut off: an sqlite3 bag without its end, read as far as it goes."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, NamedTuple, Optional, Tuple
from urllib.parse import quote

# https://www.sqlite.org/fileformat.html, "The Database Header"
_MAGIC = b'SQLite format 3\0'
_HEADER_BYTES = 100
_LARGEST_PAGE = 65536


class Definition(NamedTuple):
    """A message definition; '' where the bag holds none."""

    data: str


class CutConnection(NamedTuple):
    """A topic, with what a connection of rosbags has."""

    id: int
    topic: str
    msgtype: str
    msgdef: Definition
    msgcount: int


class CutDatabase:
    """An sqlite3 bag that was cut off, with what rosbags' reader has; a context manager.

    Raises sqlite3.Error where not even the topics can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: List[CutConnection] = []
        self._times: List[Tuple[int, int, int]] = []  # time, message, topic

    def __enter__(self) -> CutDatabase:
        # Only so does sqlite open a file that is shorter than it says.
        self._database = sqlite3.connect(
            f'file:{quote(os.fsencode(self.path))}?immutable=1', uri=True, check_same_thread=False
        )
        try:
            self._database.execute('PRAGMA writable_schema=ON')
            self._read_messages()
            self._read_topics()
        except BaseException:
            self._database.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    @property
    def storage(self) -> CutDatabase:
        """The one file: this."""
        return self

    @property
    def whole(self) -> int:
        """Messages that are there."""
        return len(self._times)

    def messages(
        self, connections: Collection[Any], start: Optional[int] = None
    ) -> Iterator[Tuple[CutConnection, int, bytes]]:
        """Messages from a time (ns) on; one that is damaged has no bytes."""
        by_id = {connection.id: connection for connection in connections}
        for time, message, topic in self._times:
            if topic in by_id and (start is None or time >= start):
                yield by_id[topic], time, self._data(message)

    def _data(self, message: int) -> bytes:
        query = 'SELECT data FROM messages NOT INDEXED WHERE id = ?'
        try:
            return bytes(self._database.execute(query, (message,)).fetchone()[0])
        except sqlite3.DatabaseError:
            return b''

    def _read_messages(self) -> None:
        # By id, as they were written: the index by time is among what is lost.
        query = 'SELECT timestamp, id, topic_id FROM messages NOT INDEXED ORDER BY id'
        # An error is where the file was cut.
        with suppress(sqlite3.DatabaseError):
            for row in self._database.execute(query):
                self._times.append(row)
        # The rows of some messages stand before the cut and their content behind it.
        while self._times and not self._data(self._times[-1][1]):
            self._times.pop()
        self._times.sort()

    def _read_topics(self) -> None:
        counts = Counter(topic for _, _, topic in self._times)
        definitions = self._definitions()
        for topic, name, msgtype in self._database.execute('SELECT id, name, type FROM topics'):
            definition = Definition(definitions.get(msgtype, ''))
            self.connections.append(CutConnection(topic, name, msgtype, definition, counts[topic]))

    def _definitions(self) -> Dict[str, str]:
        query = 'SELECT topic_type, encoded_message_definition FROM message_definitions'
        try:
            return dict(self._database.execute(query).fetchall())
        except sqlite3.DatabaseError:  # bags before Iron have no such table
            return {}


def is_cut_database(path: Path) -> bool:
    """Whether a file is an sqlite3 database that is shorter than it says."""
    with path.open('rb') as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return False
    if header[24:28] != header[92:96]:  # written by what does not keep the number of pages
        return False
    page = int.from_bytes(header[16:18], 'big')
    pages = int.from_bytes(header[28:32], 'big')
    return path.stat().st_size < pages * (_LARGEST_PAGE if page == 1 else page)
