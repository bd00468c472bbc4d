"""Zstandard: checksums, and what is left of a cut file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from segformer_ros.formats import zstd

NOISE = np.random.default_rng(0).integers(0, 255, 1 << 20, np.uint8).tobytes()


def test_what_is_compressed_comes_back() -> None:
    assert zstd.decompress(zstd.compress_checked(NOISE)) == NOISE


def test_other_bytes_are_seen() -> None:
    data = bytearray(zstd.compress_checked(NOISE))
    data[1000] ^= 1
    with pytest.raises(Exception, match='checksum'):
        zstd.decompress(bytes(data))


def test_a_cut_file_is_unpacked_as_far_as_it_is_whole(tmp_path: Path) -> None:
    data = zstd.compress_checked(NOISE)
    (tmp_path / 'packed').write_bytes(data[: len(data) // 2])
    zstd.write_whole(tmp_path / 'packed', tmp_path / 'file')
    found = (tmp_path / 'file').read_bytes()
    assert len(found) > len(NOISE) // 4
    assert NOISE.startswith(found)
    assert b''.join(zstd.whole_blocks(io.BytesIO(data))) == NOISE
