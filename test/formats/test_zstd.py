"""Zstandard: what is whole, what is damaged, what would fill the memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from segformer_ros.formats import zstd
from segformer_ros.formats.limits import SizeError

DATA = bytes(range(256)) * 400


def test_a_frame() -> None:
    packed = zstandard.compress(DATA)
    assert zstd.decompress(packed) == zstd.decompress(memoryview(packed)) == DATA
    assert packed.startswith(zstd.MAGIC)


def test_a_frame_that_does_not_say_its_size() -> None:
    stream = zstandard.ZstdCompressor().compressobj()
    packed = stream.compress(DATA) + stream.flush()
    assert zstd.decompress(packed) == DATA
    with pytest.raises(SizeError, match='hold more than 1000 bytes'):
        zstd.decompress(packed, most=1000)
    with pytest.raises(ValueError, match='no whole zstd frame'):
        zstd.decompress(packed[:-20])


@pytest.mark.parametrize('packed', [b'', b'no frame', zstandard.compress(DATA)[:-20]])
def test_what_is_no_whole_frame(packed: bytes) -> None:
    with pytest.raises(ValueError, match='no whole zstd frame'):
        zstd.decompress(packed)


def test_a_frame_that_would_fill_the_memory_is_not_unpacked() -> None:
    packed = zstandard.compress(bytes(1 << 30))
    assert len(packed) < 100_000
    with pytest.raises(SizeError, match=f'hold more than {256 << 20} bytes'):
        zstd.decompress(packed)


@pytest.mark.parametrize('kept', [1.0, 0.6])
def test_a_file_is_unpacked_as_far_as_it_is_whole(tmp_path: Path, kept: float) -> None:
    packed, target = tmp_path / 'x.zstd', tmp_path / 'x'
    stream = zstandard.ZstdCompressor().compressobj()
    content = b''.join(
        stream.compress(DATA) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for _ in range(50)
    )
    packed.write_bytes(content[: int(len(content) * kept)])
    zstd.write_whole(packed, target)
    found = target.read_bytes()
    assert (50 * DATA).startswith(found) and len(found) > 10 * len(DATA)
