# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The engine cache: built once, trusted only where all agrees."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from segformer_ros.engines import EngineError
from segformer_ros.engines.cache import (
    MOST_BYTES,
    Built,
    EngineCache,
    EngineKey,
    cache_folder,
    make_own_folder,
    open_lock,
    read_if_own,
    read_plan,
    write_atomically,
)

KEY = EngineKey('abc', 'tensorrt 10.3.0', 'Orin', 87, 'int8', '512x384, batch (1, 1, 4)')
PLAN = bytes(range(256)) * 10


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / 'cache')


def build() -> Built:
    return PLAN, {'build': '3 s'}


def never() -> Built:
    raise AssertionError('built though it is in the cache')


def test_an_engine_is_built_once(cache: EngineCache) -> None:
    assert cache.load_or_build(KEY, build) == (PLAN, {'build': '3 s'}, True)
    assert cache.load_or_build(KEY, never) == (PLAN, {'build': '3 s'}, False)


@pytest.mark.parametrize(
    'change',
    [
        {'model': 'abd'},
        {'library': 'tensorrt 10.3.1'},
        {'gpu': 'Orin Nano'},
        {'sm': 86},
        {'precision': 'fp16'},
        {'shapes': '512x384, batch (1, 1, 8)'},
    ],
)
def test_whatever_differs_is_another_engine(cache: EngineCache, change: dict[str, str]) -> None:
    cache.load_or_build(KEY, build)
    assert cache.load(replace(KEY, **change)) is None  # type: ignore[arg-type]


def test_only_the_owner_can_read_it(cache: EngineCache) -> None:
    cache.load_or_build(KEY, build)
    path = cache.folder / KEY.file_name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty', 'foreign', 'other key'])
def test_a_file_that_does_not_match_is_built_again(
    cache: EngineCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.load_or_build(KEY, build)
    path = cache.folder / KEY.file_name
    data = bytearray(path.read_bytes())
    if damage == 'flipped':
        data[-1] ^= 1
    if damage == 'other key':
        cache.load_or_build(replace(KEY, sm=72), build)
        data = bytearray((cache.folder / replace(KEY, sm=72).file_name).read_bytes())
    contents = {'cut': data[:-7], 'empty': b'', 'foreign': b'ptrt' + bytes(400)}
    path.write_bytes(bytes(contents.get(damage, data)))
    entry = cache.load_or_build(KEY, build)
    assert entry.plan == PLAN and entry.built
    assert caplog.text.count('the engine is built again') == 1
    assert cache.load_or_build(KEY, never).plan == PLAN


def test_a_file_that_others_can_write_is_not_loaded(
    cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.load_or_build(KEY, build)
    (cache.folder / KEY.file_name).chmod(0o666)
    assert cache.load(KEY) is None
    assert 'is not a file that only this user can write; it is not loaded' in caplog.text


def test_a_folder_that_cannot_be_written_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')
    entry = EngineCache(tmp_path / 'file').load_or_build(KEY, build)
    assert entry.plan == PLAN and entry.built
    assert 'the engine cache cannot be written' in caplog.text


def test_a_folder_that_cannot_be_entered_is_survived(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbid(path: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, 'Permission denied', str(path))

    # As root, which tests may run as, every folder can be entered.
    for call in ('stat', 'open', 'mkdir'):
        monkeypatch.setattr(Path, call, forbid)
    assert cache.load_or_build(KEY, build).built
    if sys.version_info >= (3, 14):  # for which a file in it does not exist
        assert (
            f'the engine cache cannot be written: {cache.folder}: permission denied' in caplog.text
        )
    else:
        assert 'the engine cache cannot be read: [Errno 13] Permission denied' in caplog.text


def test_a_full_disk_is_survived(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(handle: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', no_space)
    assert cache.load_or_build(KEY, build).plan == PLAN
    assert 'No space left on device' in caplog.text
    assert not [file for file in cache.folder.iterdir() if file.suffix != '.lock']


def test_a_build_that_fails_leaves_nothing(cache: EngineCache) -> None:
    def fail() -> Built:
        raise EngineError('the build ran out of memory')

    with pytest.raises(EngineError, match='ran out of memory'):
        cache.load_or_build(KEY, fail)
    assert cache.load(KEY) is None


def _build_slowly(folder: Path, journal: Path, seconds: float) -> None:
    def slow() -> Built:
        with journal.open('a') as file:
            file.write('built\n')
        time.sleep(seconds)
        return build()

    EngineCache(folder).load_or_build(KEY, slow)


def test_of_two_processes_one_builds(tmp_path: Path) -> None:
    journal = tmp_path / 'journal'
    arguments = (tmp_path / 'cache', journal, 0.5)
    context = multiprocessing.get_context('fork')
    workers = [context.Process(target=_build_slowly, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert journal.read_text() == 'built\n'


def test_a_killed_build_leaves_nothing_that_loads(tmp_path: Path) -> None:
    cache, journal = EngineCache(tmp_path / 'cache'), tmp_path / 'journal'
    context = multiprocessing.get_context('fork')
    worker = context.Process(target=_build_slowly, args=(cache.folder, journal, 60.0))
    worker.start()
    while not journal.exists():
        time.sleep(0.01)
    (cache.folder / f'.{KEY.file_name}.abc.partial').write_bytes(PLAN[:99])  # half written
    worker.kill()
    worker.join()
    assert cache.load(KEY) is None
    assert cache.load_or_build(KEY, build).built  # its lock went with it
    assert not list(cache.folder.glob('.*.partial'))


def test_an_engine_file_that_is_missing_or_cut_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match='engine file .*gone.engine cannot be read: no such'):
        read_plan(tmp_path / 'gone.engine')
    (tmp_path / 'cut.engine').write_bytes(b'ptrt')
    with pytest.raises(EngineError, match='cut.engine is not an engine: it has 4 bytes; build it'):
        read_plan(tmp_path / 'cut.engine')


def test_the_lock_does_not_follow_a_link(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    precious = tmp_path / 'precious'
    precious.write_text('kept')
    cache.folder.mkdir(mode=0o700)
    (cache.folder / f'{KEY.file_name}.lock').symlink_to(precious)
    assert cache.load_or_build(KEY, build).plan == PLAN
    assert precious.read_text() == 'kept'
    assert 'the engine cache cannot be written' in caplog.text


@pytest.mark.parametrize('there', [False, True])
def test_a_folder_that_everybody_can_write_is_refused(
    cache: EngineCache, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if there:
        cache.load_or_build(KEY, build)
    cache.folder.mkdir(exist_ok=True)
    cache.folder.chmod(0o777)
    assert cache.load(KEY) is None
    entry = cache.load_or_build(KEY, build)
    assert entry.plan == PLAN and entry.built
    assert f'chmod o-w {cache.folder}' in caplog.text
    assert len(list(cache.folder.iterdir())) == (2 if there else 0)


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_an_engine_is_not_waited_for(cache: EngineCache) -> None:
    cache.folder.mkdir(mode=0o700)
    os.mkfifo(cache.folder / KEY.file_name, 0o600)
    assert cache.load(KEY) is None
    with pytest.raises(EngineError, match='cannot be read: it is a device or a pipe'):
        read_plan(cache.folder / KEY.file_name)


@pytest.mark.parametrize(
    'header',
    [
        b'[' * 100_000,
        b'[]',
        b'{"key": 1, "facts": {}, "sha256": ""}',
        b'{"key": {}, "facts": [], "sha256": "0"}',
        b'{"key": {}, "facts": {"a": NaN}, "sha256": "0"}',
        b'\xff',
    ],
)
def test_a_header_of_any_kind_is_damage(
    cache: EngineCache, header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cache.load_or_build(KEY, build)
    path = cache.folder / KEY.file_name
    path.write_bytes(b'SEGFENG1' + len(header).to_bytes(4, 'little') + header + PLAN)
    assert cache.load(KEY) is None
    assert 'the engine is built again' in caplog.text


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
