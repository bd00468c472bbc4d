"""Zstandard: checksums, and what is left of a cut file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from segformer_ros.formats import zstd
from segformer_ros.formats.limits import SizeError

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


def test_what_holds_more_than_the_limit_is_refused() -> None:
    data = zstd.compress_checked(NOISE)
    assert zstd.decompress(data, len(NOISE)) == NOISE
    with pytest.raises(SizeError, match=f'more than {len(NOISE) - 1} bytes'):
        zstd.decompress(data, len(NOISE) - 1)


def test_a_cut_frame_is_refused() -> None:
    with pytest.raises(ValueError, match='end early'):
        zstd.decompress(zstd.compress_checked(NOISE)[:-9])


@pytest.mark.parametrize('tells_its_size', [True, False])
def test_a_file_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells_its_size: bool
) -> None:
    monkeypatch.setattr(zstd, '_SMALL_FILE', 1000)
    packed = zstd.compress_checked(bytes(50 << 20))
    if not tells_its_size:
        monkeypatch.setattr(zstd, '_content_size', lambda *_: None)
    (tmp_path / 'packed').write_bytes(packed)
    with pytest.raises(SizeError, match='hold more than'):
        zstd.write_whole(tmp_path / 'packed', tmp_path / 'file')
    assert not (tmp_path / 'file').exists()
