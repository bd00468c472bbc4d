"""Files of the caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.engines.files import cache_folder, read_if_own, write_atomically


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv('SEGFORMER_CACHE', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
    assert cache_folder() == Path('/xdg/segformer_ros')
    monkeypatch.setenv('SEGFORMER_CACHE', '/named')
    assert cache_folder() == Path('/named')
    assert cache_folder(tmp_path) == tmp_path


def test_a_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'new' / 'file'
    write_atomically(file, b'first')
    monkeypatch.setattr('os.replace', _no_space)
    with pytest.raises(OSError, match='No space left'):
        write_atomically(file, b'second')
    assert read_if_own(file) == b'first'
    assert [entry.name for entry in file.parent.iterdir()] == ['file']


def _no_space(source: str, target: str) -> None:
    raise OSError(28, 'No space left on device')


def test_a_file_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    write_atomically(file, b'data')
    file.chmod(0o620)
    assert read_if_own(file) is None
    assert read_if_own(tmp_path / 'none') is None
