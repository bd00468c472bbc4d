"""Where results go: folders and files to write, refused before the work and not after it."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional, Sequence, Type, Union

import cv2
import numpy as np

from segformer_ros.errors import reason

Buffer = Union[bytes, bytearray, memoryview]

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DestinationError(ValueError):
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


def keep_input(recording: Optional[Path], results: Sequence[Path]) -> None:
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
    keep_files([recording], results)
    if recording.is_dir() and any(result.resolve().parent == kept for result in results):
        raise DestinationError(
            f'results among the frames of {recording} would be taken for a part of it; give '
            'another --out'
        )


def keep_files(files: Sequence[Path], results: Sequence[Path]) -> None:
    """Raises DestinationError where a result would take the place of one of the files."""
    places = [result.resolve() for result in results]
    for file in files:
        if file.resolve() in places:
            raise _written_over(file)


def _written_over(file: Path) -> DestinationError:
    return DestinationError(
        f'{file} would be written over by its own results; name another place for them'
    )


class WholeFile:
    """A file to write that gets its name when it is whole, or never; a context manager.

    Until then it is hidden beside its place. An exception removes it; an interrupt does not, for
    what was written until then is wanted. Whatever the system refuses raises DestinationError.

    mode: its permissions, as far as the user's mask leaves them. follow: whether a link stays one,
    and its target is written. durable: whether it outlives a power cut once it has its name.
    """

    def __init__(
        self, path: Path, mode: int = 0o644, *, follow: bool = True, durable: bool = False
    ) -> None:
        self.path = path
        self._durable = durable
        self._target = path.resolve() if follow else path
        self._part = hidden_part(self._target)
        self._written = 0
        with self._refused():
            self._part.unlink(missing_ok=True)  # of a process of this number that was killed
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = open(os.open(self._part, flags, mode), 'wb')  # noqa: SIM115

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *error: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.discard()
        else:
            self.close()

    @property
    def closed(self) -> bool:
        """Whether it has its name, or was removed."""
        return self._file.closed

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        with self._refused():
            self._written += self._file.write(data)

    def write_text(self, text: str) -> None:
        """Append a text as UTF-8."""
        self.write(text.encode())

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def flush(self) -> None:
        """Hand what was written to the system."""
        with self._refused():
            self._file.flush()

    def close(self) -> None:
        """Give the file its name; does nothing where it has it, or was removed."""
        if self._file.closed:
            return
        with self._refused():
            self._file.flush()
            if self._durable:
                os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self._target)
            if self._durable:
                _sync_folder(self._target.parent)

    def discard(self) -> None:
        """Remove what was written; does nothing where the file has its name."""
        if not self._file.closed:
            with suppress(OSError):  # what is not yet flushed has no room either
                self._file.close()
            self._part.unlink()

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError, AttributeError):  # nothing is open, or has room
                self._file.close()
            with suppress(OSError):
                self._part.unlink()
            raise cannot_write(self.path, error, self._written) from error


def write_file(
    file: Path, data: Buffer, mode: int = 0o644, *, follow: bool = True, durable: bool = False
) -> None:
    """Write a file that is there whole or not at all, see WholeFile; raises DestinationError."""
    with WholeFile(file, mode, follow=follow, durable=durable) as whole:
        whole.write(data)


def write_image(file: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W) or (H, W, 3) BGR as an image file of its suffix, whole or not at all.

    Raises DestinationError.
    """
    write_file(file, cv2.imencode(file.suffix, pixels)[1].data)


def hidden_part(file: Path) -> Path:
    """Where a file lies until it is whole: beside its place, which a rename needs."""
    return file.with_name(f'.{file.name}.{os.getpid()}')


def cannot_write(file: Path, error: OSError, size: int = 0) -> DestinationError:
    """What the system says when a file cannot be written, with the disk that is full."""
    told = f' ({size} bytes)' if size else ''
    advice = (
        'free some space, or name another place' if error.errno in _FULL else 'name another place'
    )
    return DestinationError(f'cannot write {file}{told}: {_why(error, file)}; {advice}')


def lock_folder(folder: Path) -> int:
    """Lock a folder against other runs until the descriptor that is returned is closed.

    The system lets go of it however a process ends, and no file is left. Raises DestinationError
    where another run holds it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DestinationError(
            f'another run writes into {folder}; wait for it, or name another folder'
        ) from None
    except OSError:  # a file system without locks: as safe as it can be
        pass
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Have a new name outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try(file: Path) -> None:
    """Open the file to write, and leave it as it was; raises OSError."""
    file = file.resolve()  # of a link to nowhere the target is tried
    new = not file.exists()
    with file.open('ab'):
        pass
    if new:
        file.unlink()


def _why(error: OSError, file: Optional[Path] = None) -> str:
    if error.errno in _FULL and file is not None:
        return f'{reason(error)} (that of {_mount_point(file)})'
    # Under /proc and the like nothing can be made, which the system calls not found.
    return 'nothing can be made there' if error.errno == errno.ENOENT else reason(error)


def _mount_point(place: Path) -> Path:
    """Where the disk is mounted that holds a place."""
    place = place.resolve()
    return next(above for above in (place, *place.parents) if os.path.ismount(above))


def _or(suffixes: Sequence[str]) -> str:
    *others, last = suffixes
    return f'{", ".join(others)} or {last}' if others else last
