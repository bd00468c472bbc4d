"""Zstandard by the library that rosbags brings: another one by Python's and its own version."""

from __future__ import annotations

from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Iterator, Optional

from segformer_ros.formats.limits import MAX_MESSAGE_BYTES, MAX_RATIO, SizeError

_MODULES = ('compression.zstd', 'backports.zstd', 'zstandard')
_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 18
_SMALL_FILE = 1 << 30
"""Bytes that any file may unpack to, however small it is."""


def decompress(data: bytes, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """The content of one frame; raises the library's own error where that is damaged.

    Raises SizeError for more than `limit` bytes; not even those are allocated where the frame
    tells its size.
    """
    zstd = _library()
    if (_content_size(zstd, data) or 0) > limit:
        raise _too_large(limit)
    decoder = zstd.ZstdDecompressor()
    if not hasattr(decoder, 'eof'):  # zstandard
        return bytes(decoder.decompress(data, max_output_size=limit))
    content = bytes(decoder.decompress(data, max_length=limit + 1))
    if len(content) > limit:
        raise _too_large(limit)
    if not decoder.eof:
        raise ValueError('compressed data end early')
    return content


def compress_checked(data: bytes) -> bytes:
    """One frame with a checksum of its content, by which every decoder sees damage."""
    zstd = _library()
    if hasattr(zstd, 'CompressionParameter'):
        return bytes(zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}))
    return bytes(zstd.ZstdCompressor(write_checksum=True).compress(data))


def check_unpacked(packed: Path) -> None:
    """Raise SizeError for a file that unpacks to far more than recordings do."""
    limit = max(_SMALL_FILE, packed.stat().st_size * MAX_RATIO)
    with packed.open('rb') as file:
        size = _content_size(_library(), file.read(_HEADER_BYTES))
        file.seek(0)
        blocks = accumulate(map(len, whole_blocks(file))) if size is None else iter((size,))
        if any(unpacked > limit for unpacked in blocks):
            raise _too_large(limit)


def whole_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a compressed file, as far as that is whole."""
    stream = _library().open(file, 'rb')
    try:
        while True:
            block = stream.read1(_BLOCK_BYTES)  # `read` would lose what precedes a cut
            if not block:
                return
            yield block
    except Exception:  # cut or damaged (each library raises its own kinds): this was all
        return


def write_whole(packed: Path, target: Path) -> None:
    """Decompress a file into another, as far as it is whole; raises SizeError."""
    check_unpacked(packed)
    with packed.open('rb') as file, target.open('wb') as out:
        for block in whole_blocks(file):
            out.write(block)


def _content_size(zstd: Any, data: bytes) -> Optional[int]:
    """Size of a frame's content as its header tells it; None where it does not."""
    if hasattr(zstd, 'get_frame_info'):
        size: Optional[int] = zstd.get_frame_info(data).decompressed_size
        return size
    size = zstd.frame_content_size(data)
    return None if size is not None and size < 0 else size


def _too_large(limit: int) -> SizeError:
    return SizeError(f'compressed data hold more than {limit} bytes')


def _library() -> Any:
    for name in _MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImportError(f'none of {", ".join(_MODULES)} is installed, of which rosbags brings one')
