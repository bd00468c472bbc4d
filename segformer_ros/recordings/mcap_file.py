# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""MCAP files as storage of a bag: read by their index if it is complete, else record by record."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from segformer_ros.recordings.bag_storage import (
    Bytes,
    Entry,
    Lost,
    RawMessage,
    StorageError,
    Topic,
    plain,
    type_name,
)
from segformer_ros.recordings.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    DATA_END,
    FOOTER,
    HEAD,
    HEADER,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    MESSAGE_INDEX,
    SCHEMA,
    STATISTICS,
    DamageError,
    McapBytes,
    index_rows,
    message_head,
    parsed,
    records,
)

_ALONE = 0xFFFFFFFFFFFFFFFF
"""In place of an offset in a chunk: the message is not in a chunk."""
_CHUNKS_KEPT = 4
"""Decompressed chunks that are cached, since messages of neighbouring ones may be interleaved."""
_BYTES_KEPT = 1 << 26
_LAST_KNOWN = 0x0F
_MOST_UNKNOWN = 10_000
"""Records of unknown kinds that are tolerated; a file with more of them is damaged."""
_BATCH = 1 << 12
_ROS1, _ROS2 = 'ros1', ('ros2msg', 'ros2idl')


class McapFile:
    """One MCAP file as a Storage; raises StorageError where there is nothing to read.

    Everything intact is read: without a complete index, the records one by one up to the first
    invalid one; damage in a chunk, which its checksum reveals, costs only that chunk's messages.

    name: the file's name in messages to the user.
    """

    def __init__(self, path: Path, name: Path) -> None:
        self.notes: Tuple[str, ...] = ()
        self._name = name
        self._schemas: Dict[int, Any] = {}
        self._channels: Dict[int, Any] = {}
        self._counts: Dict[int, int] = {}  # messages by channel
        # By chunk, the offset of each channel's message index that is not loaded yet; by channel,
        # (N, 3) uint64 rows of the loaded ones: time, chunk, and offset in the chunk.
        self._index_places: Dict[int, Dict[int, int]] = {}
        self._rows: Dict[int, List[np.ndarray]] = {}
        self._unpacked: OrderedDict[int, Union[memoryview, DamageError]] = OrderedDict()
        self._bytes = McapBytes(path)
        try:
            start = self._read_header()
            if not self._read_summary():
                self._walk(start)
            self._topics = self._by_topic()
        except BaseException:
            self.close()
            raise
        self.topics = {name: topic for name, (topic, _) in self._topics.items()}

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()

    def entries(self, topic: str, start: int = 0) -> Iterator[Entry]:
        """Messages of a topic by time, from index `start` on; as many as `topics` counts."""
        (_, count, _), channels = self._topics[topic]
        index = self._index(channels)[:count]
        for low in range(start, len(index), _BATCH):
            for time, chunk, offset in index[low : low + _BATCH].tolist():
                try:
                    yield RawMessage(time, self._message(channels, time, chunk, offset))
                except DamageError as error:
                    yield Lost(f'{self._name}: damaged chunk ({error})', time)
        for place in range(max(start, len(index)), count):
            yield Lost(f'{self._name} lacks message {place + 1} of the {count} of {topic}')

    def _read_header(self) -> int:
        """Check the header; returns the offset of the data behind it."""
        from mcap.records import Header

        if not self._bytes.size:
            raise StorageError('it is empty')
        try:
            if self._bytes.read(0, len(MAGIC)) != MAGIC:
                raise StorageError('it is not an MCAP file: its magic bytes are wrong')
            content = self._bytes.record(len(MAGIC), HEADER)
            profile = parsed(Header, content).profile
        except DamageError as error:
            raise StorageError(f'its header is incomplete: {error}') from error
        if profile == _ROS1:
            raise _of_ros1()
        return len(MAGIC) + HEAD.size + len(content)

    def _read_summary(self) -> bool:
        """Read the summary section; returns whether it indexes all messages."""
        from mcap.records import ChunkIndex, Statistics

        chunks, statistics = [], None
        try:
            for record in records(self._bytes.summary()):
                if record.opcode == CHUNK_INDEX:
                    chunks.append(parsed(ChunkIndex, record.content))
                elif record.opcode == STATISTICS:
                    statistics = parsed(Statistics, record.content)
                else:
                    self._learn(record.opcode, record.content)
        except DamageError:
            statistics = None
        if statistics is None or not self._is_complete(statistics, chunks):
            self._schemas.clear()
            self._channels.clear()
            return False
        self._counts = dict(statistics.channel_message_counts)
        self._index_places = {c.chunk_start_offset: c.message_index_offsets for c in chunks}
        behind = self._bytes.zeros_behind
        if behind:
            self._note(f'{self._name} has {behind} zeros after its end, as after a power cut')
        return True

    def _is_complete(self, statistics: Any, chunks: Sequence[Any]) -> bool:
        """Whether the summary has all that its statistics count, and all that it refers to."""
        counts = statistics.channel_message_counts
        indexed = {channel for chunk in chunks for channel in chunk.message_index_offsets}
        schemas = {channel.schema_id for channel in self._channels.values()} - {0}
        return (
            sum(counts.values()) == statistics.message_count
            and len(chunks) == statistics.chunk_count
            and len(self._channels) == statistics.channel_count
            and {channel for channel, count in counts.items() if count} <= indexed
            and indexed <= self._channels.keys()
            and schemas <= self._schemas.keys()
        )

    def _walk(self, start: int) -> None:
        """Find all messages record by record, up to the end or to the first invalid record."""
        position, whole = start, False
        chunk: Optional[int] = None  # the one whose message indexes are being read
        indexes: List[memoryview] = []
        alone: Dict[int, array[int]] = {}  # messages outside chunks, by channel
        unknown = 0
        while position + HEAD.size <= self._bytes.size:
            head = self._bytes.peek(position, HEAD.size + MESSAGE_HEAD.size)
            opcode, length = HEAD.unpack_from(head)
            following = position + HEAD.size + length
            if not opcode or following > self._bytes.size:
                break
            if self._is_zero_filled(opcode, position, following):
                break
            if opcode == MESSAGE_INDEX:
                indexes.append(self._bytes.record(position, opcode))
            elif chunk is not None:
                self._add_chunk(chunk, indexes)
                chunk = None
            if opcode == CHUNK:
                chunk, indexes = position, []
            elif opcode == MESSAGE and length >= MESSAGE_HEAD.size:
                channel, _, time, _ = MESSAGE_HEAD.unpack_from(head, HEAD.size)
                alone.setdefault(channel, array('Q')).extend((time, position, _ALONE))
            elif opcode in (SCHEMA, CHANNEL):
                self._learn(opcode, self._bytes.record(position, opcode))
            elif opcode in (DATA_END, FOOTER):
                whole = True
                break
            elif opcode > _LAST_KNOWN:
                unknown += 1
                if unknown > _MOST_UNKNOWN:
                    break
            position = following
        for channel, rows in alone.items():
            self._add_rows(channel, np.frombuffer(rows, np.uint64).reshape(-1, 3))
        if chunk is not None:  # its message indexes may be incomplete
            self._add_chunk(chunk, [])
        if not whole:
            left = self._bytes.size - position
            rest = f'; the {left} after them are not records' if left else ''
            first = f'its first {position} bytes are intact and are read'
            self._note(f'{self._name} was cut off; {first}{rest}')
        self._counts = {n: sum(map(len, rows)) for n, rows in self._rows.items()}

    def _is_zero_filled(self, opcode: int, start: int, end: int) -> bool:
        """Whether a record ends in a power cut's zeros, with no checksum to reveal it."""
        last = self._bytes.size - self._bytes.zeros_behind
        if not last < end < self._bytes.size:
            return False
        return opcode == MESSAGE or (opcode == CHUNK and not self._bytes.chunk_crc(start))

    def _add_chunk(self, start: int, indexes: Sequence[memoryview]) -> None:
        """Add a chunk's messages by its message indexes, or if these are bad by its content."""
        try:
            rows = dict(index_rows(index, start) for index in indexes)
            if not rows or not rows.keys() <= self._channels.keys():
                rows = self._scan(start)
        except DamageError as error:
            self._note(f'{self._name} is damaged: {error}; its messages are lost')
            return
        for channel, added in rows.items():
            self._add_rows(channel, added)

    def _scan(self, start: int) -> Dict[int, np.ndarray]:
        """Rows of a chunk by channel, (N, 3), from its content; adds its schemas and channels."""
        by_channel: Dict[int, List[Tuple[int, int, int]]] = {}
        for record in records(self._chunk(start)):
            if record.opcode == MESSAGE:
                channel, time = message_head(record.content)
                by_channel.setdefault(channel, []).append((time, start, record.start))
            else:
                self._learn(record.opcode, record.content)
        return {channel: np.array(rows, np.uint64) for channel, rows in by_channel.items()}

    def _learn(self, opcode: int, content: Bytes) -> None:
        """Add a schema or a channel; a damaged one is ignored."""
        from mcap.records import Channel, Schema

        with suppress(DamageError):
            if opcode == SCHEMA:
                schema = parsed(Schema, content)
                self._schemas[schema.id] = schema
            elif opcode == CHANNEL:
                channel = parsed(Channel, content)
                self._channels[channel.id] = channel

    def _add_rows(self, channel: int, rows: Any) -> None:
        self._rows.setdefault(channel, []).append(np.array(rows, np.uint64))

    def _note(self, text: str) -> None:
        self.notes += (text,)

    def _by_topic(self) -> Dict[str, Tuple[Topic, List[int]]]:
        """Topics with their channels; one of several types has the type of the most messages."""
        if self._channels and all(c.message_encoding == _ROS1 for c in self._channels.values()):
            raise _of_ros1()
        types: Dict[str, Dict[str, Tuple[Topic, List[int]]]] = {}
        for number, channel in sorted(self._channels.items()):
            schema = self._schemas.get(channel.schema_id)
            encoding, text = channel.message_encoding, ''
            if schema is not None and schema.encoding in _ROS2:
                encoding = encoding or 'cdr'  # some writers leave it out
            if schema is not None and schema.encoding == _ROS2[0]:
                text = schema.data.decode(errors='replace')
            msgtype = type_name(schema.name if schema else '', encoding)
            count = self._counts.get(number, 0)
            known = types.setdefault(plain(channel.topic), {})
            topic, channels = known.get(msgtype, (Topic(msgtype, 0, text), []))
            topic = topic._replace(messages=topic.messages + count)
            known[msgtype] = topic, [*channels, number]
        return {
            name: max(found.values(), key=lambda item: item[0].messages)
            for name, found in types.items()
        }

    def _index(self, channels: Sequence[int]) -> np.ndarray:
        """(N, 3) uint64 time, chunk and offset of the messages of channels, by time."""
        for chunk, places in self._index_places.items():
            for channel in set(channels) & places.keys():
                self._load_index(chunk, channel, places.pop(channel))
        rows = [rows for channel in channels for rows in self._rows.get(channel, [])]
        if not rows:
            return np.zeros((0, 3), np.uint64)
        index = np.concatenate(rows)
        order = np.lexsort((index[:, 2], index[:, 1], index[:, 0]))  # (N,); the last key is first
        ordered: np.ndarray = index[order]
        return ordered

    def _load_index(self, chunk: int, channel: int, place: int) -> None:
        """Add a channel's messages in a chunk by its message index, or by the chunk itself."""
        try:
            indexed, rows = index_rows(self._bytes.record(place, MESSAGE_INDEX), chunk)
            if indexed != channel:
                raise DamageError(f'the index at byte {place} is of another channel')
        except DamageError:
            try:
                rows = self._scan(chunk).get(channel, np.zeros((0, 3)))
            except DamageError:
                return  # their times are unknown; `entries` reports them as lost
        self._add_rows(channel, rows)

    def _message(self, channels: Sequence[int], time: int, chunk: int, offset: int) -> memoryview:
        """Data of the message at an offset; raises DamageError unless it is the one indexed."""
        if offset == _ALONE:
            content = self._bytes.record(chunk, MESSAGE)
        else:
            data = self._chunk(chunk)
            if offset + HEAD.size > len(data):
                raise DamageError('its index points beyond its end')
            opcode, length = HEAD.unpack_from(data, offset)
            content = data[offset + HEAD.size : offset + HEAD.size + length]
            if opcode != MESSAGE or len(content) != length:
                raise DamageError('its index does not point to a message')
        channel, recorded = message_head(content)
        if channel not in channels or recorded != time:
            raise DamageError('its index points to another message')
        return content[MESSAGE_HEAD.size :]

    def _chunk(self, start: int) -> memoryview:
        """The records in a chunk, the last few of which are cached; raises DamageError."""
        unpacked = self._unpacked.pop(start, None)
        if unpacked is None:
            try:
                unpacked = self._bytes.chunk(start)
            except DamageError as error:
                unpacked = error
        self._unpacked[start] = unpacked
        sizes = [0 if isinstance(c, DamageError) else len(c) for c in self._unpacked.values()]
        if len(sizes) > _CHUNKS_KEPT or (len(sizes) > 1 and sum(sizes) > _BYTES_KEPT):
            self._unpacked.popitem(last=False)
        if isinstance(unpacked, DamageError):
            raise unpacked
        return unpacked


def _of_ros1() -> StorageError:
    return StorageError(
        'it is a ROS 1 recording; convert the .bag that it was made from: rosbags-convert --src '
        'FILE.bag --dst FOLDER'
    )
