"""Recordings that were cut off: an mcap without its end, read as far as it goes."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import IO, Any, BinaryIO, Optional

# https://mcap.dev/spec: magic, records of {opcode u8, length u64, content}, magic.
_MAGIC = b'\x89MCAP0\r\n'
_RECORD_HEAD = struct.Struct('<BQ')
_FOOTER = _RECORD_HEAD.pack(0x02, 20) + bytes(20)
_DATA_END = _RECORD_HEAD.pack(0x0F, 4) + bytes(4)
_END = _DATA_END + _FOOTER + _MAGIC
"""A valid end that says: there is no summary, read the records one by one."""
_LAST_OPCODES = (0x02, 0x0F)


class CutFile:
    """An mcap file that was cut off, seen as a whole one that ends after its last whole record.

    It has what rosbags asks of a path, and reads the file itself: nothing is copied.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length
        self.suffix = path.suffix
        self.name = path.name

    def __str__(self) -> str:
        return str(self._path)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    def is_dir(self) -> bool:
        """Never: it is a file."""
        return False

    def open(self, mode: str = 'rb') -> BinaryIO:
        """Open the mended view for reading."""
        return io.BufferedReader(_Mended(self._path.open(mode, buffering=0), self._length))


def whole_length(path: Path) -> Optional[int]:
    """Bytes up to the end of the last whole record of a cut mcap; None where it is not cut."""
    size = path.stat().st_size
    with path.open('rb') as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        file.seek(-min(size, len(_MAGIC)), os.SEEK_END)
        if file.read() == _MAGIC and size > len(_MAGIC):
            return None
        position = len(_MAGIC)
        while True:
            file.seek(position)
            head = file.read(_RECORD_HEAD.size)
            if len(head) < _RECORD_HEAD.size:
                return position
            opcode, length = _RECORD_HEAD.unpack(head)
            following = position + _RECORD_HEAD.size + length
            if opcode in _LAST_OPCODES or following > size:
                return position
            position = following


class _Mended(io.RawIOBase):
    """The first `length` bytes of a file, then a valid end."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file = file
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._length + len(_END))
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(len(buffer), self._length - self._position))
        else:
            start = self._position - self._length
            data = _END[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
