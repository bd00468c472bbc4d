"""Zstandard, by the library that mcap brings; never more comes out than was allowed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Iterator, Union

from segformer_ros.destination import WholeFile
from segformer_ros.formats.limits import MAX_MESSAGE_BYTES, MAX_RATIO, SizeError

_BLOCK_BYTES = 1 << 20
_SMALL_FILE = 1 << 30
"""Bytes that any file may unpack to, however small it is."""

MAGIC = b'\x28\xb5\x2f\xfd'
"""First bytes of a frame."""


def decompress(data: Union[bytes, memoryview], most: int = 0) -> bytes:
    """The content of one frame; raises ValueError where it is damaged, SizeError where too large.

    most: bytes that it may have; 0 for those of a message.
    """
    import zstandard

    most = most or MAX_MESSAGE_BYTES
    too_large = SizeError(f'{len(data)} bytes of zstd hold more than {most} bytes')
    size = -1  # not every frame tells it
    try:
        size = zstandard.frame_content_size(data)
        if size > most:
            raise too_large
        return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=most))
    except zstandard.ZstdError as error:
        if size < 0 and _holds_more(data, most):
            raise too_large from error
        raise ValueError(f'no whole zstd frame ({error})') from error


def _holds_more(data: Union[bytes, memoryview], most: int) -> bool:
    """Whether more than `most` bytes come out of a frame before it ends or is damaged."""
    left = most
    for block in whole_blocks(io.BytesIO(data)):
        left -= len(block)
        if left < 0:
            return True
    return False


def whole_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a compressed file, as far as that is whole."""
    import zstandard

    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    while True:
        try:
            block = stream.read1(_BLOCK_BYTES)  # `read` would lose what precedes damage
        except zstandard.ZstdError:
            return
        if not block:
            return
        yield block


def write_whole(packed: Path, target: Path) -> None:
    """Decompress a file into another as far as it is whole; raises SizeError, DestinationError."""
    size = packed.stat().st_size
    most = max(_SMALL_FILE, size * MAX_RATIO)
    left = most
    with packed.open('rb') as file, WholeFile(target) as out:
        for block in whole_blocks(file):
            left -= len(block)
            if left < 0:
                raise SizeError(f'{size} bytes of zstd hold more than {most} bytes: no recording')
            out.write(block)
