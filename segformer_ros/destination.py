"""Where results go: folders and files to write, refused before the work and not after it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Optional, Sequence

from segformer_ros.errors import SegformerError, reason


class DestinationError(SegformerError, ValueError):
    """A place that cannot be written: says which, why, and what to do."""


def output_folder(folder: Path) -> Path:
    """The folder, made with all above it where it is not there; raises DestinationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = 'it is a file' if folder.is_file() else _why(error)
        raise DestinationError(
            f'cannot make the folder {folder}: {why}; name another one'
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DestinationError(
            f'cannot write into {folder}: permission denied; change that, or name another folder'
        )
    return folder


def output_file(file: Path, suffixes: Sequence[str] = ()) -> Path:
    """The file's path, its folder made; raises DestinationError.

    suffixes: those that its name may have, lower case with the dot; empty for any.
    """
    if suffixes and file.suffix.lower() not in suffixes:
        raise DestinationError(f'cannot write {file}; give a name that ends in {_or(suffixes)}')
    if file.is_dir():
        raise DestinationError(f'cannot write {file}: it is a folder; name a file')
    if file.exists() and not file.is_file():
        raise DestinationError(f'cannot write {file}: it is a device or a pipe; name a file')
    output_folder(file.parent)
    try:
        _try(file)
    except OSError as error:
        why = _why(error)
        raise DestinationError(f'cannot write {file}: {why}; name another one') from error
    return file


def refuse_overwriting_input(recording: Optional[Path], results: Sequence[Path]) -> None:
    """Raises DestinationError where results would take the place of what they are made from.

    recording: None for what is no file. results: files and folders that are made anew; the
    recording may be one of them, or the folder of a bag with one in it.
    """
    if recording is None:
        return
    kept = recording.resolve()
    bags = [place for place in results if place.suffix == '.mcap' and place.exists()]
    if any(place.resolve().parent == kept for place in bags):
        raise _written_over(recording)
    refuse_overwriting([recording], results)
    if recording.is_dir() and any(result.resolve().parent == kept for result in results):
        raise DestinationError(
            f'results among the frames of {recording} would be taken for a part of it; give '
            'another --out'
        )


def refuse_overwriting(files: Sequence[Path], results: Sequence[Path]) -> None:
    """Raises DestinationError where a result would take the place of one of the files."""
    places = [result.resolve() for result in results]
    for file in files:
        if file.resolve() in places:
            raise _written_over(file)


def _written_over(file: Path) -> DestinationError:
    return DestinationError(
        f'{file} would be written over by its own results; name another place for them'
    )


def write_file(file: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all; raises DestinationError.

    mode: its permissions, as far as the user's mask leaves them. A link stays one.
    """
    target = file.resolve()
    part = target.with_name(f'.{target.name}.{os.getpid()}')
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), 'wb') as opened:
            opened.write(data)
        os.replace(part, target)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        raise DestinationError(
            f'cannot write {file} ({len(data)} bytes): {_why(error)}; name another place'
        ) from error


def _try(file: Path) -> None:
    """Open the file to write, and leave it as it was; raises OSError."""
    file = file.resolve()  # of a link to nowhere the target is tried
    new = not file.exists()
    with file.open('ab'):
        pass
    if new:
        file.unlink()


def _why(error: OSError) -> str:
    # Under /proc and the like nothing can be made, which the system calls not found.
    return 'nothing can be made there' if error.errno == errno.ENOENT else reason(error)


def _or(suffixes: Sequence[str]) -> str:
    *others, last = suffixes
    return f'{", ".join(others)} or {last}' if others else last
