"""Files of the caches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segformer_ros.engines.cache_files import (
    MOST_BYTES,
    cache_folder,
    make_own_folder,
    open_lock,
    read_if_own,
    write_atomically,
)


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


def test_a_folder_that_everybody_can_write_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / 'shared' / 'file'
    write_atomically(file, b'data')
    file.parent.chmod(0o777)
    assert read_if_own(file) is None
    for use in (make_own_folder, lambda folder: write_atomically(folder / 'other', b'')):
        with pytest.raises(PermissionError, match='every user may write.*chmod o-w'):
            use(file.parent)
    file.parent.chmod(0o775)  # of a user's own group, as umask 002 makes it
    assert read_if_own(file) == b'data'


def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'theirs' / 'file'
    write_atomically(file, b'data')
    own = os.getuid()
    monkeypatch.setattr(os, 'getuid', lambda: own + 1)
    assert read_if_own(file) is None
    with pytest.raises(PermissionError, match=f'belongs to another user .id {own}'):
        make_own_folder(file.parent)


def test_links_pipes_and_holes_are_not_read(tmp_path: Path) -> None:
    write_atomically(tmp_path / 'file', b'data')
    (tmp_path / 'link').symlink_to('file')
    os.mkfifo(tmp_path / 'pipe', 0o600)
    (tmp_path / 'hole').touch(0o600)
    os.truncate(tmp_path / 'hole', MOST_BYTES + 1)
    assert [read_if_own(tmp_path / name) for name in ('link', 'pipe', 'hole')] == [None] * 3


def test_a_lock_leaves_what_it_finds(tmp_path: Path) -> None:
    (tmp_path / 'lock').write_bytes(b'kept')
    open_lock(tmp_path / 'lock').close()
    assert (tmp_path / 'lock').read_bytes() == b'kept'
    open_lock(tmp_path / 'new').close()
    assert (tmp_path / 'new').stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize('kind', ['link', 'link to nowhere', 'pipe', 'folder'])
def test_a_lock_is_a_file_and_nothing_else(tmp_path: Path, kind: str) -> None:
    target, lock = tmp_path / 'target', tmp_path / 'lock'
    if kind == 'link':
        target.write_bytes(b'precious')
    if kind.startswith('link'):
        lock.symlink_to(target)
    elif kind == 'pipe':
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(OSError, match='symbolic link|not this user|directory'):
        open_lock(lock)
    assert target.exists() == (kind == 'link')
    assert kind != 'link' or target.read_bytes() == b'precious'
