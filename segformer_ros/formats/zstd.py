"""Zstandard, by the library that mcap brings; never more comes out than was allowed."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Iterator, Union

from segformer_ros.destination import WholeFile

_BLOCK_BYTES = 1 << 20
_LEAST_BOUND = 512 << 20
_RATIO = 1000

MAGIC = b'\x28\xb5\x2f\xfd'
"""First bytes of a frame."""


def bound(packed: int) -> int:
    """Bytes that so many packed ones may become: what is beyond was made to fill the memory.

    An image or a chunk of one colour shrinks far more than a thousandfold, but is not that large.
    """
    return max(_LEAST_BOUND, packed * _RATIO)


def decompress(data: Union[bytes, memoryview], most: int = 0) -> bytes:
    """The content of one frame; raises ValueError where it is damaged or too large.

    most: bytes that it may have; 0 for `bound`.
    """
    import zstandard

    most = most or bound(len(data))
    try:
        size = zstandard.frame_content_size(data)
        if size > most:
            raise ValueError(f'{len(data)} bytes would become {size}, and may become {most}')
        return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=most))
    except zstandard.ZstdError as error:
        raise ValueError(f'no whole zstd frame ({error})') from error


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
    """Decompress a file into another, as far as it is whole; raises ValueError, DestinationError.

    It may become a thousand times as large, or 512 MiB.
    """
    left = bound(packed.stat().st_size)
    with packed.open('rb') as file, WholeFile(target) as out:
        for block in whole_blocks(file):
            left -= len(block)
            if left < 0:
                raise ValueError(f'it would become more than {bound(packed.stat().st_size)} bytes')
            out.write(block)
