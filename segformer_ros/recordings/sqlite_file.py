# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""SQLite files as storage of a bag, with a killed recorder's write-ahead log, even if damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, Iterator, List, Optional, Tuple
from urllib.parse import quote

from segformer_ros.destination import cannot_write
from segformer_ros.recordings.bag_storage import (
    Entry,
    Lost,
    RawMessage,
    StorageError,
    Topic,
    plain,
    type_name,
)

# https://www.sqlite.org/fileformat.html: the database header, and that of the write-ahead log
_MAGIC = b'SQLite format 3\0'
_HEADER_BYTES = 100
_LARGEST_PAGE = 65536

_ZEROS = 1024
"""Zeros at the end of the last message from which on it may be of a page never written."""

_FARTHEST = 1 << 40
"""How many ids after damage are searched for a readable one."""

Row = Tuple[int, int, int]
"""Time, id and topic of a message."""


class SqliteFile:
    """One SQLite file as a Storage; raises StorageError where there is nothing to read.

    name: the file's name in messages to the user.
    """

    def __init__(self, path: Path, name: Path) -> None:
        self.notes: Tuple[str, ...] = ()
        self._name = name
        self._open = ExitStack()
        self._is_cut = False  # shorter than its header says
        self._rows: Optional[List[Row]] = None  # of a damaged file all readable ones, by id
        try:
            self._database = self._connect(path)
            self._ids, self.topics = self._read_topics()
        except sqlite3.Error as error:
            self.close()
            raise StorageError(f'it is not a whole SQLite database of a bag ({error})') from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def entries(self, topic: str, start: int = 0) -> Iterator[Entry]:
        """Messages of a topic by time, from index `start` on; as many as `topics` counts."""
        try:
            index = self._index(topic)
        except sqlite3.Error as error:
            for _ in range(start, self.topics[topic].messages):
                yield Lost(f'{self._name} is damaged: {error}')
            return
        for time, number in index[start:]:
            try:
                yield RawMessage(time, self._data(number))
            except sqlite3.Error as error:
                yield Lost(f'{self._name} is damaged: message {number}: {error}', time)

    def _index(self, topic: str) -> List[Tuple[int, int]]:
        """Times and ids of a topic's messages, by time."""
        number = self._ids[topic]
        if self._rows is not None:
            return sorted((time, row) for time, row, owner in self._rows if owner == number)
        query = (
            'SELECT CAST(timestamp AS INTEGER), id FROM messages NOT INDEXED WHERE topic_id = ?'
        )
        return sorted(self._database.execute(query, (number,)).fetchall())

    def _data(self, number: int) -> bytes:
        query = 'SELECT data FROM messages NOT INDEXED WHERE id = ?'
        row = self._database.execute(query, (number,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise sqlite3.DatabaseError('it is missing')
        content: bytes = row[0]
        return content

    # Opening

    def _connect(self, path: Path) -> sqlite3.Connection:
        log = path.with_name(f'{path.name}-wal')
        if not log.is_file() or not log.stat().st_size:
            _check_magic(path)
            self._is_cut = _is_cut(path)
            return self._connected(path, 'immutable=1')
        if path.stat().st_size:
            with suppress(sqlite3.OperationalError):
                return self._with_log(path)
        return self._copied(path, log)

    def _with_log(self, path: Path) -> sqlite3.Connection:
        """Read a file and its log in place; raises sqlite3.Error where that is not permitted."""
        shared = path.with_name(f'{path.name}-shm')
        if not shared.exists():  # SQLite creates it to read the log
            self._open.callback(_remove, shared)
        database = self._connected(path, 'mode=ro')
        database.execute('SELECT count(*) FROM sqlite_master').fetchone()
        return database

    def _copied(self, path: Path, log: Path) -> sqlite3.Connection:
        """Read a copy of a file and its log: on a read-only disk, or where the file is empty."""
        copy = Path(self._open.enter_context(TemporaryDirectory()), 'copy.db3')
        try:
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(f'{copy.name}-wal'))
            if not copy.stat().st_size:  # SQLite would delete the log of an empty file
                with log.open('rb') as file:
                    copy.write_bytes(bytes(_page_bytes(file.read(12)[8:])))
        except OSError as error:
            raise cannot_write(copy, error) from error
        return self._connected(copy, 'mode=rw')

    def _connected(self, path: Path, mode: str) -> sqlite3.Connection:
        location = f'file:{quote(os.fsencode(path))}?{mode}'
        database = sqlite3.connect(location, uri=True, check_same_thread=False)
        self._open.callback(database.close)
        database.text_factory = lambda text: text.decode(errors='replace')
        # Without this SQLite refuses a file that is shorter than its header says.
        database.execute('PRAGMA writable_schema=ON')
        return database

    def _read_topics(self) -> Tuple[Dict[str, int], Dict[str, Topic]]:
        self._check_tables()
        self._database.execute('SELECT id, timestamp, topic_id, data FROM messages LIMIT 0')
        query = 'SELECT topic_id, count(*) FROM messages NOT INDEXED GROUP BY topic_id'
        try:
            if self._is_cut:
                raise sqlite3.DatabaseError('it was cut off')
            counts = dict(self._database.execute(query).fetchall())
        except sqlite3.DatabaseError as error:
            counts = self._read_damaged(error)
        definitions = self._definitions()
        ids: Dict[str, int] = {}
        topics: Dict[str, Topic] = {}
        query = 'SELECT id, name, type, serialization_format FROM topics ORDER BY id'
        for number, found, msgtype, encoding in self._database.execute(query):
            topic = Topic(
                type_name(str(msgtype), str(encoding)),
                counts.get(number, 0),
                definitions.get(msgtype, ''),
            )
            name = plain(str(found))
            if name not in topics or topic.messages > topics[name].messages:
                ids[name], topics[name] = number, topic
        return ids, topics

    def _check_tables(self) -> None:
        """Refuse views and the like, which may take forever to evaluate; raises StorageError."""
        query = "SELECT name, sql FROM sqlite_master WHERE name IN ('topics', 'messages')"
        for name, made_by in self._database.execute(query):
            if not str(made_by).upper().startswith('CREATE TABLE'):
                raise StorageError(f'{name} is not a table: {str(made_by)[:40]!r}')

    def _definitions(self) -> Dict[str, str]:
        query = (
            'SELECT topic_type, encoded_message_definition FROM message_definitions '
            "WHERE encoding = 'ros2msg'"
        )
        try:
            return dict(self._database.execute(query).fetchall())
        except sqlite3.DatabaseError:  # bags before Iron have no such table
            return {}

    # Damage

    def _read_damaged(self, error: sqlite3.Error) -> Dict[int, int]:
        """Find the readable rows of a damaged file; returns the number of messages by topic."""
        rows: List[Row] = []
        gaps = 0
        last = -1
        while True:
            # By id, the order of writing: the index by time may be damaged.
            query = (
                'SELECT CAST(timestamp AS INTEGER), id, topic_id FROM messages NOT INDEXED '
                'WHERE id > ? ORDER BY id'
            )
            try:
                for row in self._database.execute(query, (last,)):
                    if row[1] <= last:  # the page was overwritten
                        raise sqlite3.DatabaseError('its ids are out of order')
                    rows.append(row)
                    last = row[1]
                break
            except sqlite3.DatabaseError:
                following = self._first_after(last)
                if following is None:
                    break
                skipped = max(following - last - 1, 1)
                gaps += skipped
                last += skipped
        # Some messages have their row before the cut, and their content after it.
        while rows and not self._is_readable(rows[-1][1]):
            rows.pop()
        if rows and self._data(rows[-1][1]).endswith(bytes(_ZEROS)):
            rows.pop()  # its last page may be one that was never written
        if not rows:
            raise error
        self._rows = rows
        what = (
            'was cut off; its first' if self._is_cut else f'is damaged ({error}); of its messages'
        )
        lost = f' and {gaps} between them are lost' if gaps else ''
        self.notes += (f'{self._name} {what} {len(rows)} messages are read{lost}',)
        counts: Dict[int, int] = {}
        for _, _, topic in rows:
            counts[topic] = counts.get(topic, 0) + 1
        return counts

    def _first_after(self, last: int) -> Optional[int]:
        """The first readable id after damage; None where there is none.

        Doubles the distance until ids are readable, then bisects the last step.
        """
        step = 1
        while step < _FARTHEST:
            readable = self._next(last + step)
            if readable is not None:
                break
            step *= 2
        else:
            return None
        low, high = last + step // 2, last + step  # damaged, readable
        while high - low > 1:
            middle = (low + high) // 2
            closer = self._next(middle)
            if closer is None:
                low = middle
            else:
                high, readable = middle, closer
        return readable

    def _next(self, number: int) -> Optional[int]:
        """The first id after a number; None where it cannot be read."""
        query = 'SELECT id FROM messages NOT INDEXED WHERE id > ? ORDER BY id LIMIT 1'
        try:
            row = self._database.execute(query, (number,)).fetchone()
        except sqlite3.DatabaseError:
            return None
        return int(row[0]) if row is not None and row[0] > number else None

    def _is_readable(self, number: int) -> bool:
        try:
            return bool(self._data(number))
        except sqlite3.Error:
            return False


def _check_magic(path: Path) -> None:
    with path.open('rb') as file:
        head = file.read(len(_MAGIC))
    if not head:
        raise StorageError('it is empty')
    if head != _MAGIC:
        raise StorageError('it is not an SQLite database: its magic bytes are wrong')


def _is_cut(path: Path) -> bool:
    """Whether a file is shorter than its header says."""
    with path.open('rb') as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or header[24:28] != header[92:96]:
        return False  # its number of pages is not valid
    pages = int.from_bytes(header[28:32], 'big')
    return path.stat().st_size < pages * _page_bytes(header[16:18])


def _page_bytes(field: bytes) -> int:
    size = int.from_bytes(field, 'big')
    return _LARGEST_PAGE if size == 1 else min(size, _LARGEST_PAGE)


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
