# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""MCAP files as the format allows them, and as power cuts, other tools and damage leave them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.writer import CompressionType, IndexType, Writer

from segformer_ros.recordings.bag_storage import Lost, RawMessage, StorageError, Topic
from segformer_ros.recordings.mcap_file import McapFile
from segformer_ros.recordings.mcap_records import McapBytes

TIMES = {'NoData': [], 'OneMessage': [2], 'TenMessages': [0, 2, 1, 3, 3, 5, 4, 7, 8, 9]}
"""Of the messages in the conformance suite, as they are written."""


def content(place: int) -> bytes:
    """What the message at a place of the file holds."""
    return bytes((1, 2, place))


def write(
    path: Path,
    times: list[int],
    *,
    profile: str = '',
    encoding: str = 'a',
    schema: bool = True,
    more: bool = False,
    **options: Any,
) -> None:
    """Write messages of one topic by the official writer."""
    with path.open('wb') as file:
        writer = Writer(file, **options)
        writer.start(profile, '')
        number = writer.register_schema('Example', 'c', b'\4\5\6') if schema else 0
        channel = writer.register_channel('example', encoding, number, {'foo': 'bar'})
        if more:
            writer.add_attachment(1, 2, 'file', 'text', b'long')
            writer.add_metadata('name', {'key': 'value'})
        for place, time in enumerate(times):
            writer.add_message(channel, time, content(place), time, place)
        writer.finish()  # type: ignore[no-untyped-call]


def expected(times: list[int]) -> list[tuple[int, bytes]]:
    """What a reader gives: by time, and as they were written where that is the same."""
    return sorted(((time, content(place)) for place, time in enumerate(times)), key=lambda m: m[0])


def read(path: Path, topic: str = 'example') -> list[tuple[int, bytes]]:
    """Times and contents of a topic of a file that has no fault."""
    file = McapFile(path, path)
    assert file.notes == ()
    found: list[tuple[int, bytes]] = []
    for entry in file.entries(topic) if topic in file.topics else ():
        assert isinstance(entry, RawMessage)
        found.append((entry.time, bytes(entry.data)))
    file.close()
    return found


@pytest.fixture(params=[False, True], ids=['exact', 'padded'])
def padded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records with more behind their fields, which newer versions of the format may have."""
    if not request.param:
        return
    start, finish = RecordBuilder.start_record, RecordBuilder.finish_record
    current: list[Opcode] = []

    def starting(self: RecordBuilder, opcode: Opcode) -> None:
        current.append(opcode)
        start(self, opcode)

    def finishing(self: RecordBuilder) -> None:
        if current.pop() not in (Opcode.MESSAGE, Opcode.FOOTER, Opcode.ATTACHMENT):
            self.write(b'\1\xff\xff')
        finish(self)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(RecordBuilder, 'start_record', starting)
    monkeypatch.setattr(RecordBuilder, 'finish_record', finishing)


FLAGS = (
    'use_chunking', 'repeat_channels', 'repeat_schemas', 'use_statistics', 'use_summary_offsets',
)  # fmt: skip
INDEXES = (
    IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE, IndexType.CHUNK | IndexType.MESSAGE,
    IndexType.ALL,
)  # fmt: skip


def variants() -> Iterator[dict[str, Any]]:
    """All that a writer may leave out, as in the conformance suite of the format."""
    for flags in itertools.product((False, True), repeat=len(FLAGS)):
        for indexes in INDEXES:
            for compression in (CompressionType.NONE, CompressionType.ZSTD):
                chosen: dict[str, Any] = dict(zip(FLAGS, flags, strict=True))
                yield {**chosen, 'index_types': indexes, 'compression': compression}


@pytest.mark.usefixtures('padded')
@pytest.mark.parametrize('kind', TIMES)
@pytest.mark.parametrize('schema', [True, False])
def test_files_of_the_conformance_suite(tmp_path: Path, kind: str, schema: bool) -> None:
    """Whatever its summary lacks, a file gives all of its messages in order."""
    path, times = tmp_path / 'x.mcap', TIMES[kind]
    for options in variants():
        write(path, times, schema=schema, more=True, **options)
        assert read(path) == expected(times), options


@pytest.mark.parametrize('compression', CompressionType)
def test_chunks_that_overlap_in_time(tmp_path: Path, compression: CompressionType) -> None:
    times = [time % 7 * 10 + time // 7 for time in range(40)]
    write(tmp_path / 'x.mcap', times, chunk_size=60, compression=compression)
    assert read(tmp_path / 'x.mcap') == expected(times)


def test_a_part_is_read_from_its_first_message_on(tmp_path: Path) -> None:
    write(tmp_path / 'x.mcap', [*range(30)], chunk_size=60)
    file = McapFile(tmp_path / 'x.mcap', tmp_path)
    for start in (0, 7, 29, 30):
        assert [entry.time for entry in file.entries('example', start)] == [*range(start, 30)]


def test_messages_are_views_of_their_chunk(tmp_path: Path) -> None:
    write(tmp_path / 'x.mcap', [1, 2])
    first, second = McapFile(tmp_path / 'x.mcap', tmp_path).entries('example')
    assert isinstance(first, RawMessage) and isinstance(second, RawMessage)
    assert isinstance(first.data, memoryview) and isinstance(second.data, memoryview)
    assert first.data.obj is second.data.obj


def test_topics_tell_what_is_not_serialized_as_ros_does_it(tmp_path: Path) -> None:
    path = tmp_path / 'x.mcap'
    with path.open('wb') as out:
        writer = Writer(out)
        writer.start()
        image = writer.register_schema('sensor_msgs/msg/Image', 'jsonschema', b'{}')
        short = writer.register_schema('sensor_msgs/Image', 'ros2msg', b'uint8 x')
        for topic, encoding, schema in (
            ('/a', 'json', image),
            ('/b', 'cdr', short),
            ('/c', '', 0),
        ):
            channel = writer.register_channel(topic, encoding, schema)
            writer.add_message(channel, 1, b'{}', 1)
        writer.finish()  # type: ignore[no-untyped-call]
    assert McapFile(path, path).topics == {
        '/a': Topic('sensor_msgs/msg/Image in json', 1),
        '/b': Topic('sensor_msgs/msg/Image', 1, 'uint8 x'),
        '/c': Topic('no type in no encoding', 1),
    }


@pytest.mark.parametrize(('profile', 'encoding'), [('ros1', 'ros1'), ('', 'ros1')])
def test_ros_1_is_named(tmp_path: Path, profile: str, encoding: str) -> None:
    write(tmp_path / 'x.mcap', [1], profile=profile, encoding=encoding)
    with pytest.raises(StorageError, match='a ROS 1 recording.*rosbags-convert'):
        McapFile(tmp_path / 'x.mcap', tmp_path)


def zeros_behind(path: Path, count: int) -> None:
    """Let zeros follow a file's end, which take no room on the disk."""
    with path.open('r+b') as file:
        file.truncate(path.stat().st_size + count)


@pytest.mark.parametrize('left', ['all', 'no index', 'half'])
def test_zeros_behind_a_file_cost_nothing(
    tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 MB of them, behind a whole file and behind one that ends early."""
    path, times = tmp_path / 'x.mcap', [*range(100)]
    write(path, times, chunk_size=60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - {'all': 0, 'no index': 60, 'half': len(data) // 2}[left]])
    zeros_behind(path, 200 << 20)
    reads: list[int] = []
    original = McapBytes.read

    def counted(self: McapBytes, position: int, length: int) -> bytes:
        reads.append(length)
        return original(self, position, length)

    monkeypatch.setattr(McapBytes, 'read', counted)
    file = McapFile(path, path)
    found = [entry.time for entry in file.entries('example')]
    assert len(reads) < 2000
    if left == 'half':
        assert found == times[: len(found)] and len(found) > 20
        assert 'was cut off; its first ' in file.notes[0]
        assert 'after them are not records' in file.notes[0]
        return
    assert found == times
    behind = f'{path} has {200 << 20} zeros after its end, as after a power cut'
    assert file.notes == ((behind,) if left == 'all' else ())


def test_every_cut_gives_what_is_whole(tmp_path: Path) -> None:
    """At any byte: a beginning of the messages, and a note that says so, or a refusal."""
    path, times = tmp_path / 'x.mcap', [*range(12)]
    write(path, times, chunk_size=60, more=True)
    data = path.read_bytes()
    longest = 0
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        try:
            file = McapFile(path, path)
        except StorageError:
            assert longest == 0
            continue
        found = [entry.time for entry in file.entries('example')] if file.topics else []
        assert found == times[: len(found)] and len(found) >= longest
        assert len(found) == len(times) or 'was cut off' in file.notes[0]
        longest = len(found)
        file.close()
    assert longest == len(times)


@pytest.mark.parametrize('summary', [True, False])
def test_damage_in_a_chunk_costs_its_own_messages(tmp_path: Path, summary: bool) -> None:
    """With an index they are counted as lost, without one the chunk is named."""
    path, times = tmp_path / 'x.mcap', [*range(12)]
    none: dict[str, Any] = {} if summary else {'index_types': IndexType.NONE}
    write(path, times, chunk_size=60, compression=CompressionType.NONE, **none)
    data = bytearray(path.read_bytes())
    place = data.index(content(5))
    data[place] = 77
    path.write_bytes(data)
    file = McapFile(path, path)
    entries = list(file.entries('example'))
    lost = [entry for entry in entries if isinstance(entry, Lost)]
    kept = [entry.time for entry in entries if isinstance(entry, RawMessage)]
    assert 5 not in kept and len(kept) > 6
    if summary:
        assert len(entries) == 12 and all('checksum is wrong' in entry.reason for entry in lost)
    else:
        assert not lost and 'checksum is wrong; its messages are lost' in file.notes[0]


def test_damaged_bytes_anywhere_never_give_another_message(tmp_path: Path) -> None:
    path, times = tmp_path / 'x.mcap', [*range(12)]
    write(path, times, chunk_size=60)
    data = path.read_bytes()
    whole = set(expected(times))
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes((data[place] ^ 0x55,)) + data[place + 1 :])
        try:
            file = McapFile(path, path)
        except StorageError:
            continue
        found = [entry for topic in file.topics for entry in file.entries(topic)]
        messages = {(e.time, bytes(e.data)) for e in found if isinstance(e, RawMessage)}
        assert messages <= whole, place
        assert messages == whole or len(found) == 12 or file.notes, place
        file.close()


def test_a_chunk_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / 'x.mcap'
    write(path, [1], compression=CompressionType.ZSTD)
    data = bytearray(path.read_bytes())
    chunk = data.index(b'\4\0\0\0zstd') - 28
    struct.pack_into('<Q', data, chunk + 16, 6 << 30)
    path.write_bytes(data)
    (entry,) = McapFile(path, path).entries('example')
    assert isinstance(entry, Lost) and f'its {6 << 30} bytes are more than' in entry.reason


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'it is empty'),
        (b'just text, and no bag', 'its magic bytes are wrong'),
        (b'\x89MCAP0\r\n', 'its header is incomplete'),
        (b'\x89MCAP0\r\n' + bytes(99), 'its header is incomplete'),
    ],
)
def test_what_is_no_mcap_file(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / 'x.mcap').write_bytes(data)
    with pytest.raises(StorageError, match=words):
        McapFile(tmp_path / 'x.mcap', tmp_path)


def test_many_records_of_no_known_kind_end_the_file(tmp_path: Path) -> None:
    path = tmp_path / 'x.mcap'
    write(path, [1, 2], use_chunking=False)
    data = path.read_bytes()
    end = data.index(b'\x0f\4\0\0\0\0\0\0\0')  # of the data
    few, many = (struct.pack('<BQ', 0x77, 0) * count for count in (100, 2_000_000))
    path.write_bytes(data[:end] + few + data[end : end + 13])
    assert read(path) == expected([1, 2])
    path.write_bytes(data[:end] + many)
    file = McapFile(path, path)
    assert len(list(file.entries('example'))) == 2
    assert 'was cut off' in file.notes[0]


def test_a_record_that_is_larger_than_the_memory_is_not_read(tmp_path: Path) -> None:
    """In a file that takes no room on the disk."""
    path = tmp_path / 'x.mcap'
    write(path, [1, 2], use_chunking=False, index_types=IndexType.NONE)
    data = path.read_bytes()
    end = data.index(b'\x0f\4\0\0\0\0\0\0\0')
    path.write_bytes(data[:end] + struct.pack('<BQHIQQ', 5, 22 + (1 << 36), 1, 0, 3, 3))
    zeros_behind(path, 1 << 36)
    with path.open('ab') as file_end:
        file_end.write(data[end:])
    file = McapFile(path, path)
    first, second, third = file.entries('example')
    assert isinstance(first, RawMessage) and isinstance(second, RawMessage)
    assert isinstance(third, Lost) and 'too many to be read at once' in third.reason


def test_messages_of_ros_2_whose_encoding_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'x.mcap'
    with path.open('wb') as out:
        writer = Writer(out)
        writer.start()
        schema = writer.register_schema('sensor_msgs/msg/Image', 'ros2msg', b'uint8 x')
        writer.add_message(writer.register_channel('/image', '', schema), 1, b'x', 1)
        writer.finish()  # type: ignore[no-untyped-call]
    assert McapFile(path, path).topics['/image'].msgtype == 'sensor_msgs/msg/Image'


@pytest.mark.parametrize('chunking', [True, False])
@pytest.mark.parametrize('crc', [True, False])
def test_a_message_that_was_half_written_when_the_power_was_cut(
    tmp_path: Path, chunking: bool, crc: bool
) -> None:
    """The file was made longer, and its end never written: half an image would be black."""
    path = tmp_path / 'x.mcap'
    with path.open('wb') as out:
        writer = Writer(
            out,
            use_chunking=chunking,
            chunk_size=500,
            compression=CompressionType.NONE,
            enable_crcs=crc,
        )
        writer.start()
        channel = writer.register_channel('example', 'cdr', 0)
        for time in range(6):
            writer.add_message(channel, time, bytes((time + 1,)) * 1000, time)
        writer.finish()  # type: ignore[no-untyped-call]
    data = path.read_bytes()
    half = data.index(b'\5' * 1000) + 500
    path.write_bytes(data[:half] + bytes(len(data)))
    file = McapFile(path, path)
    found = [entry for entry in file.entries('example') if isinstance(entry, RawMessage)]
    assert [bytes(entry.data) for entry in found] == [bytes((n,)) * 1000 for n in (1, 2, 3, 4)]
    assert file.notes
