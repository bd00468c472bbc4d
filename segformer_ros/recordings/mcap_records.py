# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Records of MCAP files (https://mcap.dev/spec), read at any offset and checked."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, NamedTuple, Tuple

import numpy as np

from segformer_ros.errors import SegformerError
from segformer_ros.formats.limits import MAX_MESSAGE_BYTES
from segformer_ros.recordings.bag_storage import Bytes, decompress

MAGIC = b'\x89MCAP0\r\n'
HEAD = struct.Struct('<BQ')
"""Opcode of a record and length of its content."""
MESSAGE_HEAD = struct.Struct('<HIQQ')
"""Channel, sequence, log time and publish time."""
_CHUNK_HEAD = struct.Struct('<QQQI')  # first and last time, size and CRC of the records in it
_FOOTER = struct.Struct('<QQI')  # where the summary and its offsets start, its CRC

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(1, 9)
STATISTICS, DATA_END = 0x0B, 0x0F

_BLOCK = 1 << 20
_MOST_ZEROS = 1 << 30
_WINDOW = 1 << 16
_LARGEST = 1 << 30
"""Most bytes of a record: messages and chunks are far smaller."""


class DamageError(SegformerError, ValueError):
    """A damaged part of a file: says which and why."""


class Record(NamedTuple):
    """A record: its kind, its content, and its offset."""

    opcode: int
    content: memoryview
    start: int


class McapBytes:
    """The bytes of a file; all methods raise DamageError where it is damaged."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size
        self.zeros_behind = 0  # at the file's end, once `summary` has counted them
        self._window, self._window_start = b'', 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self, position: int, length: int) -> bytes:
        """`length` bytes from a position on."""
        if not 0 <= position <= position + length <= self.size:
            raise DamageError(f'there are no {length} bytes at {position}')
        if length > _LARGEST:
            raise DamageError(f'{length} bytes at {position} are too many to be read at once')
        try:
            data = os.pread(self._file, length, position)
        except OSError as error:
            raise DamageError(f'at byte {position}: {error.strerror}') from error
        if len(data) != length:
            raise DamageError(f'there are no {length} bytes at {position}')
        return data

    def peek(self, position: int, length: int) -> memoryview:
        """The next few bytes, or those that are left; cheap for consecutive positions."""
        start = position - self._window_start
        if not 0 <= start <= len(self._window) - length:
            self._window_start, start = position, 0
            self._window = self.read(position, max(0, min(_WINDOW, self.size - position)))
        return memoryview(self._window)[start : start + length]

    def record(self, position: int, opcode: int) -> memoryview:
        """Content of the record at a position, which must be of this kind."""
        kind, length = HEAD.unpack(self.read(position, HEAD.size))
        if kind != opcode:
            raise DamageError(f'the record at byte {position} is of kind {kind}, not {opcode}')
        return memoryview(self.read(position + HEAD.size, length))

    def chunk(self, position: int) -> memoryview:
        """The records in the chunk at a position, decompressed."""
        try:
            return _unpacked(self.record(position, CHUNK))
        except (ValueError, struct.error) as error:
            raise DamageError(f'the chunk at byte {position}: {error}') from error

    def chunk_crc(self, position: int) -> int:
        """The checksum of the chunk at a position; 0 where it has none."""
        crc: int = _CHUNK_HEAD.unpack(self.read(position + HEAD.size, _CHUNK_HEAD.size))[3]
        return crc

    def summary(self) -> memoryview:
        """The summary section at the file's end, ignoring zeros after it; empty without one."""
        end = self._end_of_data()
        self.zeros_behind = self.size - end
        start = end - len(MAGIC) - _FOOTER.size - HEAD.size
        tail = self.read(start, end - start)
        if not tail.endswith(MAGIC) or HEAD.unpack_from(tail) != (FOOTER, _FOOTER.size):
            raise DamageError('it has no footer')
        first, _, crc = _FOOTER.unpack_from(tail, HEAD.size)
        if not first:
            return memoryview(b'')
        content = self.read(first, start - first)
        # The CRC covers the summary and the footer up to itself.
        covered = tail[: HEAD.size + _FOOTER.size - 4]
        if crc and zlib.crc32(covered, zlib.crc32(content)) != crc:
            raise DamageError('the checksum of its summary is wrong')
        return memoryview(content)

    def _end_of_data(self) -> int:
        """Offset behind the last byte other than 0: a power cut leaves zeros at the end."""
        end, zeros = self.size, bytes(_BLOCK)
        while end > max(0, self.size - _MOST_ZEROS):
            start = max(0, end - _BLOCK)
            block = self.read(start, end - start)
            if block != zeros[: len(block)]:
                return start + len(block.rstrip(b'\0'))
            end = start
        return end


def records(data: memoryview) -> Iterator[Record]:
    """Consecutive records; raises DamageError where one is cut off."""
    position = 0
    while position < len(data):
        try:
            opcode, length = HEAD.unpack_from(data, position)
        except struct.error as error:
            raise DamageError(f'a record is cut off ({error})') from error
        start, position = position, position + HEAD.size + length
        if position > len(data):
            raise DamageError(f'a record of {length} bytes is cut off')
        yield Record(opcode, data[start + HEAD.size : position], start)


def parsed(kind: Any, content: Bytes) -> Any:
    """A record's content as an instance of a class of mcap.records; raises DamageError."""
    from mcap.data_stream import ReadDataStream

    try:
        return kind.read(ReadDataStream(BytesIO(content)))
    except Exception as error:  # struct's, UTF-8's and its own
        raise DamageError(f'no {kind.__name__} record ({error})') from error


def index_rows(content: memoryview, chunk: int) -> Tuple[int, np.ndarray]:
    """A message index: the channel, and (N, 3) uint64 time, `chunk` and offset in the chunk."""
    try:
        channel, length = struct.unpack_from('<HI', content)
        index = np.frombuffer(content, '<u8', length // 8, 6).reshape(-1, 2)
    except (ValueError, struct.error) as error:
        raise DamageError(f'no message index ({error})') from error
    return channel, np.insert(index, 1, chunk, axis=1)


def message_head(content: memoryview) -> Tuple[int, int]:
    """Channel and log time of a message."""
    try:
        channel, _, time, _ = MESSAGE_HEAD.unpack_from(content)
    except struct.error as error:
        raise DamageError(f'a message is cut off ({error})') from error
    return channel, time


def _unpacked(content: memoryview) -> memoryview:
    """The decompressed records of a chunk; raises ValueError."""
    _, _, size, crc = _CHUNK_HEAD.unpack_from(content)
    start = _CHUNK_HEAD.size + 4
    (length,) = struct.unpack_from('<I', content, _CHUNK_HEAD.size)
    compression = bytes(content[start : start + length]).decode()
    (stored,) = struct.unpack_from('<Q', content, start + length)
    packed = content[start + length + 8 : start + length + 8 + stored]
    if len(packed) != stored:
        raise DamageError(f'only {len(packed)} of {stored} bytes are there')
    if compression not in _UNPACK:
        raise DamageError(f'unknown compression {compression[:20]!r}')
    if size > MAX_MESSAGE_BYTES:
        raise DamageError(f'its {size} bytes are more than {MAX_MESSAGE_BYTES}')
    data = memoryview(_UNPACK[compression](packed, size))
    if len(data) != size:
        raise DamageError(f'it decompresses to {len(data)} bytes, not {size}')
    if crc and zlib.crc32(data) != crc:
        raise DamageError('its checksum is wrong')
    return data


def _lz4(data: memoryview, size: int) -> bytes:
    from lz4.frame import LZ4FrameDecompressor

    try:
        return bytes(LZ4FrameDecompressor().decompress(data, max_length=size))
    except RuntimeError as error:
        raise DamageError(f'no whole lz4 frame ({error})') from error


_UNPACK: Dict[str, Callable[[memoryview, int], Bytes]] = {
    '': lambda data, _: data,
    'zstd': decompress,
    'lz4': _lz4,
}
