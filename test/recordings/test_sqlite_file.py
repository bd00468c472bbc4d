# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""SQLite files of bags as killed recorders, power cuts and damage leave them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from segformer_ros.recordings.bag_storage import Lost, RawMessage, StorageError
from segformer_ros.recordings.sqlite_file import SqliteFile

COUNT = 300
PAGE = 4096

Open = Callable[[Path], SqliteFile]


def message(number: int) -> bytes:
    """What a message holds: it takes more than a page."""
    return number.to_bytes(4, 'little') * 2500


def write(path: Path, count: int = COUNT, in_log: int = 0) -> Path:
    """A bag's database with `count` messages, and a log of as many more that were not moved."""
    with closing(sqlite3.connect(path)) as database:
        database.execute('PRAGMA journal_mode=WAL')
        database.execute('PRAGMA wal_autocheckpoint=0')
        database.executescript(
            'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, '
            'serialization_format TEXT, offered_qos_profiles TEXT);'
            'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, '
            'timestamp INTEGER, data BLOB);'
            'CREATE INDEX timestamp_idx ON messages (timestamp ASC);'
        )
        for number, topic in enumerate(('/even', '/odd'), 1):
            row = (number, topic, 'sensor_msgs/msg/Image', 'cdr', '')
            database.execute('INSERT INTO topics VALUES (?, ?, ?, ?, ?)', row)
        insert = 'INSERT INTO messages VALUES (?, ?, ?, ?)'
        database.executemany(
            insert, [(n + 1, n % 2 + 1, 1000 + n, message(n)) for n in range(count)]
        )
        database.commit()
        if count:
            database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        last = count + in_log
        database.executemany(
            insert, [(n + 1, n % 2 + 1, 1000 + n, message(n)) for n in range(count, last)]
        )
        database.commit()
        for suffix in ('', '-wal'):  # as it is now: closing would move all of the log
            shutil.copy(f'{path}{suffix}', f'{path}{suffix}.kept')
    for suffix in ('', '-wal'):
        shutil.move(f'{path}{suffix}.kept', f'{path}{suffix}')
    log = path.with_name(f'{path.name}-wal')
    if not in_log and count:
        log.unlink()
    return path


def read(file: SqliteFile) -> list[int]:
    """Numbers of all readable messages, by topic and time."""
    found: list[int] = []
    for topic in sorted(file.topics):
        for entry in file.entries(topic):
            if isinstance(entry, RawMessage):
                number = entry.time - 1000
                assert bytes(entry.data) == message(number)
                found.append(number)
    return sorted(found)


def listing(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the bag alone."""
    folder = tmp_path / 'drive'
    folder.mkdir()
    return folder


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a file, and closes it when the test has ended."""
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(closing(SqliteFile(path, path)))


def test_messages_by_time_from_any_on(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3')
    file = opened(path)
    assert file.topics['/odd'].messages == COUNT // 2
    assert [entry.time for entry in file.entries('/odd', 140)] == [*range(1281, 1300, 2)]
    assert read(file) == [*range(COUNT)]
    assert file.notes == ()


@pytest.mark.parametrize('count', [COUNT, 0])
def test_the_log_of_a_killed_recorder_is_read(folder: Path, opened: Open, count: int) -> None:
    """Also where nothing else is there yet; the bag is left as it is."""
    path = write(folder / 'x.db3', count, in_log=50)
    before = listing(folder)
    file = opened(path)
    assert read(file) == [*range(count + 50)]
    file.close()
    assert listing(folder) == before


def test_the_log_of_a_file_without_a_page_is_read_and_kept(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3', 0, in_log=50)
    path.write_bytes(b'')
    before = listing(folder)
    file = opened(path)
    assert read(file) == [*range(50)]
    file.close()
    assert listing(folder) == before


def test_a_log_that_ends_within_a_transaction(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3', in_log=50)
    log = folder / 'x.db3-wal'
    log.write_bytes(log.read_bytes()[:-2000])
    assert read(opened(path)) == [*range(COUNT)]


def test_a_log_of_another_time_is_nothing(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3', in_log=50)
    old = (folder / 'x.db3-wal').read_bytes()
    with closing(sqlite3.connect(path)) as database:
        database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    (folder / 'x.db3-wal').write_bytes(b'\0\0\0\0' + old[4:])
    assert read(opened(path)) == [*range(COUNT + 50)]


@contextmanager
def read_only(folder: Path, place: Path) -> Iterator[Path]:
    """A folder seen as one of a disk that cannot be written; skips where none may be mounted."""
    place.mkdir()
    made = subprocess.run(
        ['mount', '--bind', '-o', 'ro', str(folder), str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f'nothing can be mounted here, which needs root: {made.stderr.decode()}')
    try:
        subprocess.run(['mount', '-o', 'remount,ro,bind', str(place)], check=True)
        yield place
    finally:
        subprocess.run(['umount', '--lazy', str(place)], check=True)


def test_the_log_on_a_disk_that_cannot_be_written(
    folder: Path, opened: Open, tmp_path: Path
) -> None:
    write(folder / 'x.db3', in_log=50)
    with read_only(folder, tmp_path / 'disk') as disk:
        file = opened(disk / 'x.db3')
        assert read(file) == [*range(COUNT + 50)]
        file.close()


def test_zeros_behind_a_file_are_nothing(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3')
    with path.open('r+b') as file:
        file.truncate(path.stat().st_size + (200 << 20))
    assert read(opened(path)) == [*range(COUNT)]


@pytest.mark.parametrize('share', [0.3, 0.31, 0.32, 0.6, 0.605, 0.9, 0.95])
def test_a_file_whose_end_is_zeros(folder: Path, opened: Open, share: float) -> None:
    """It was made longer, and the power was cut before its pages were written."""
    path = write(folder / 'x.db3')
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)] + bytes(len(data) - int(len(data) * share)))
    file = opened(path)
    found = read(file)
    assert found == [*range(len(found))]
    assert COUNT * (share - 0.1) < len(found) < COUNT
    assert 'messages are read' in file.notes[0] and 'is damaged' in file.notes[0]


def test_a_hole_in_a_file_costs_what_was_there(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3')
    data = bytearray(path.read_bytes())
    start = len(data) // 2 // PAGE * PAGE
    data[start : start + 6 * PAGE] = bytes(6 * PAGE)
    path.write_bytes(data)
    file = opened(path)
    total = sum(topic.messages for topic in file.topics.values())
    entries = [entry for topic in file.topics for entry in file.entries(topic)]
    lost = [entry for entry in entries if isinstance(entry, Lost)]
    assert all('is damaged: message ' in entry.reason for entry in lost)
    assert len(entries) == total >= COUNT - 10
    found = read(file)
    assert found[0] == 0 and found[-1] == COUNT - 1 and COUNT - 10 <= len(found) < COUNT
    assert len(entries) == COUNT or 'between them are lost' in file.notes[0]


def test_what_is_no_bag(folder: Path) -> None:
    path = folder / 'x.db3'
    for data, words in (
        (b'', 'it is empty'),
        (b'just text, and no bag', 'not an SQLite database'),
    ):
        path.write_bytes(data)
        with pytest.raises(StorageError, match=words):
            SqliteFile(path, path)
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE other(id INTEGER)')
    with pytest.raises(StorageError, match='not a whole SQLite database of a bag .*no such table'):
        SqliteFile(path, path)


def test_a_view_in_place_of_the_messages_is_refused(folder: Path) -> None:
    """Its rows may never end."""
    path = write(folder / 'x.db3', 5)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            'DROP TABLE messages; CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 '
            'UNION ALL SELECT id + 1 FROM n) SELECT id, 1 topic_id, id timestamp, 0 data FROM n;'
        )
    with pytest.raises(StorageError, match='messages is not a table'):
        SqliteFile(path, path)


def test_names_that_cannot_be_shown_are_written_out(folder: Path, opened: Open) -> None:
    path = write(folder / 'x.db3', 5)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE topics SET name = ? || type, type = 'x' WHERE id = 1", ('/a\n',))
        database.commit()
    (folder / 'x.db3-wal').unlink(missing_ok=True)
    assert '/a\\nsensor_msgs/msg/Image' in opened(path).topics


def test_a_table_that_lacks_a_column_is_refused(folder: Path) -> None:
    path = write(folder / 'x.db3', 5)
    with closing(sqlite3.connect(path)) as database:
        database.execute('ALTER TABLE messages RENAME COLUMN timestamp TO stamp')
    with pytest.raises(StorageError, match='no such column: timestamp'):
        SqliteFile(path, path)
