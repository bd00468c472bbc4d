"""The checksum of a file."""

from __future__ import annotations

from pathlib import Path

from segformer_ros.model.checksum import file_hash


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / 'long'
    file.write_bytes(b'abc')
    # FIPS 180-2, appendix B.1.
    assert file_hash(file).startswith('ba7816bf8f01cfea414140de5dae2223')
    file.write_bytes(b'a' * 1_000_000 * 3)
    longer = file_hash(file)
    file.write_bytes(b'a' * 1_000_000 * 2 + b'b' * 1_000_000)
    assert file_hash(file) != longer


def test_files_are_taken_one_behind_the_other(tmp_path: Path) -> None:
    parts = [tmp_path / 'first', tmp_path / 'second', tmp_path / 'both']
    for part, content in zip(parts, (b'a', b'bc', b'abc'), strict=True):
        part.write_bytes(content)
    assert file_hash(*parts[:2]) == file_hash(parts[2])
