# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Places for results are refused before the work."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segformer_ros.destination import (
    DestinationError,
    WholeFile,
    hidden_part,
    lock_folder,
    output_file,
    output_folder,
    refuse_overwriting,
    refuse_overwriting_input,
    write_file,
)

NOBODY = 65534


def test_a_folder_is_made_and_may_be_there(tmp_path: Path) -> None:
    folder = tmp_path / 'a/b'
    assert output_folder(folder) == output_folder(folder) == folder
    assert folder.is_dir()


def test_a_file_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    old, new = tmp_path / 'old.txt', tmp_path / 'a/new.txt'
    old.write_text('kept')
    assert output_file(old) == old
    assert old.read_text() == 'kept'
    assert output_file(new, ('.txt',)) == new
    assert list(new.parent.iterdir()) == []


def test_folders_that_cannot_be_made(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    file.touch()
    for folder, why in (
        (file, 'it is a file'),
        (file / 'below', 'a part of the path is a file, not a folder'),
        (Path('/proc/x'), 'nothing can be made there'),
    ):
        with pytest.raises(DestinationError) as refused:
            output_folder(folder)
        assert str(refused.value) == f'cannot make the folder {folder}: {why}; name another one'


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match='it is a folder; name a file'):
        output_file(tmp_path)
    with pytest.raises(DestinationError, match='it is a device or a pipe; name a file'):
        output_file(Path('/dev/null'))
    with pytest.raises(DestinationError, match=r'a.txt; give a name that ends in .png or .jpg'):
        output_file(tmp_path / 'a.txt', ('.png', '.jpg'))
    with pytest.raises(DestinationError, match='/proc/x.png: nothing can be made there'):
        output_file(Path('/proc/x.png'))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody else for a while, if one is root, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_folder_without_permission() -> None:
    # Not pytest's own folder, which nobody else may even enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(DestinationError, match='permission denied'):
            output_folder(folder)
        with as_nobody(), pytest.raises(DestinationError, match='permission denied'):
            output_folder(folder / 'below')


@pytest.mark.parametrize(
    ('recording', 'refused'),
    [('drive.mcap', True), ('.', True), ('masks', True), ('images', False), ('other.mcap', False)],
)
def test_results_do_not_take_the_place_of_what_they_are_of(
    tmp_path: Path, recording: str, refused: bool
) -> None:
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'drive.mcap').touch()
    results = [tmp_path / name for name in ('masks', 'overlay.mp4', 'drive.mcap')]
    if not refused:
        refuse_overwriting_input(tmp_path / recording, results)
        return
    with pytest.raises(DestinationError, match='overwritten by its own results; name another'):
        refuse_overwriting_input(tmp_path / recording, results)


def test_results_are_not_put_among_the_frames(tmp_path: Path) -> None:
    """With a drive.mcap in it, the folder would be a bag the next time."""
    with pytest.raises(
        DestinationError,
        match='in the folder .* would be taken for frames of the recording; give another --out',
    ):
        refuse_overwriting_input(tmp_path, [tmp_path / 'masks', tmp_path / 'drive.mcap'])


def test_what_is_generated_cannot_be_written_over(tmp_path: Path) -> None:
    refuse_overwriting_input(None, [tmp_path])


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'model.onnx'
    write_file(file, b'first')
    write_file(file, b'second', 0o600)
    assert file.read_bytes() == b'second' and file.stat().st_mode & 0o777 == 0o600

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(DestinationError, match=r'cannot write .*model.onnx \(5 bytes\): the disk'):
        write_file(file, b'third')
    assert file.read_bytes() == b'second'
    assert list(tmp_path.iterdir()) == [file]


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file may be larger than this for a while, as where a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('size', [100, 5000, 100_000])
def test_what_grows_beyond_the_limit_leaves_nothing(tmp_path: Path, size: int) -> None:
    file = tmp_path / 'results.csv'
    words = rf'cannot write {file}.*: it is larger than a file may be \(ulimit -f\); name another'

    def write() -> None:
        with WholeFile(file) as whole:
            for _ in range(300):
                whole.write_text(500 * 'x')

    with file_limit(size), pytest.raises(DestinationError, match=words):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('error', 'left'), [(ValueError, []), (KeyboardInterrupt, ['results.csv'])]
)
def test_what_fails_is_removed_and_what_is_interrupted_kept(
    tmp_path: Path, error: type[BaseException], left: list[str]
) -> None:

    def write() -> None:
        with WholeFile(tmp_path / 'results.csv') as whole:
            whole.write(b'so far')
            assert not (tmp_path / 'results.csv').exists()
            raise error

    with pytest.raises(error):
        write()
    assert [path.name for path in tmp_path.iterdir()] == left
    assert all(path.read_bytes() == b'so far' for path in tmp_path.iterdir())


def test_a_link_in_place_of_the_hidden_part_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / 'other'
    other.write_text('kept')
    hidden_part(tmp_path / 'file').symlink_to(other)
    write_file(tmp_path / 'file', b'data')
    assert (tmp_path / 'file').read_bytes() == b'data'
    assert other.read_text() == 'kept'


def test_a_lock_holds_until_it_is_let_go(tmp_path: Path) -> None:
    first = lock_folder(tmp_path)
    with pytest.raises(DestinationError, match='another run writes into .*; wait for it, or name'):
        lock_folder(tmp_path)
    os.close(first)
    os.close(lock_folder(tmp_path))
    with pytest.raises(DestinationError, match='cannot write .*/none'):
        lock_folder(tmp_path / 'none')


def test_a_link_is_written_through(tmp_path: Path) -> None:
    link, target = tmp_path / 'link', tmp_path / 'target'
    link.symlink_to(target)
    assert output_file(link) == link
    assert link.is_symlink() and not target.exists()
    write_file(link, b'data')
    assert link.is_symlink() and target.read_bytes() == b'data'


def test_what_results_are_made_from_is_kept(tmp_path: Path) -> None:
    model, link = tmp_path / 'model.onnx', tmp_path / 'link.onnx'
    model.touch()
    link.symlink_to(model)
    refuse_overwriting([model], [tmp_path / 'model.int8.onnx'])
    with pytest.raises(DestinationError, match='overwritten by its own results'):
        refuse_overwriting([model], [tmp_path / 'x.json', link])
