"""Zstandard by the library that rosbags brings: another one by Python's and its own version."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import IO, Any, Iterator

_MODULES = ('compression.zstd', 'backports.zstd', 'zstandard')
_BLOCK_BYTES = 1 << 20


def decompress(data: bytes) -> bytes:
    """The content of one frame; raises the library's own error where that is damaged."""
    zstd = _library()
    if hasattr(zstd, 'decompress'):
        return bytes(zstd.decompress(data))
    return bytes(zstd.ZstdDecompressor().decompress(data))


def compress_checked(data: bytes) -> bytes:
    """One frame with a checksum of its content, by which every decoder sees damage."""
    zstd = _library()
    if hasattr(zstd, 'CompressionParameter'):
        return bytes(zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}))
    return bytes(zstd.ZstdCompressor(write_checksum=True).compress(data))


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
    """Decompress a file into another, as far as it is whole."""
    with packed.open('rb') as file, target.open('wb') as out:
        for block in whole_blocks(file):
            out.write(block)


def _library() -> Any:
    for name in _MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImportError(f'none of {", ".join(_MODULES)} is installed, of which rosbags brings one')
