# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Destinations of results: checked before the work begins, written atomically."""

from __future__ import annotations

import errno
import fcntl
import os
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional, Sequence, Type, TypeVar, Union

import cv2
import numpy as np

from segformer_ros.errors import SegformerError, reason

Buffer = Union[bytes, bytearray, memoryview]

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DestinationError(SegformerError, ValueError):
    """A file or folder that cannot be written: says which, why, and what to do."""


def output_folder(folder: Path) -> Path:
    """Create a folder and its parents if needed, and return it; raises DestinationError."""
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
    """Check that a file can be written, create its folder, and return its path.

    suffixes: those allowed, in lower case with the dot; empty for any. Raises DestinationError.
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
    """Raise DestinationError if results would overwrite the recording that they are made from.

    recording: file or folder; None if it is neither. results: files and folders that will be
    replaced. The recording may be one of them, or a bag's folder that contains one.
    """
    if recording is None:
        return
    kept = recording.resolve()
    bags = [place for place in results if place.suffix == '.mcap' and place.exists()]
    if any(place.resolve().parent == kept for place in bags):
        raise _overwritten(recording)
    refuse_overwriting([recording], results)
    if recording.is_dir() and any(result.resolve().parent == kept for result in results):
        raise DestinationError(
            f'results in the folder {recording} would be taken for frames of the recording; '
            'give another --out'
        )


def refuse_overwriting(files: Sequence[Path], results: Sequence[Path]) -> None:
    """Raise DestinationError if one of the results is one of the files."""
    places = [result.resolve() for result in results]
    for file in files:
        if file.resolve() in places:
            raise _overwritten(file)


def _overwritten(file: Path) -> DestinationError:
    return DestinationError(
        f'{file} would be overwritten by its own results; name another place for them'
    )


WholeT = TypeVar('WholeT', bound='Whole')


class Whole(ABC):
    """A result that exists only once it is complete; a context manager.

    An exception discards it. An interrupt does not: it is completed with what was written so far.
    """

    def __enter__(self: WholeT) -> WholeT:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *error: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.discard()
        else:
            self.close()

    @abstractmethod
    def close(self) -> None:
        """Complete it under its final name; may be called again without harm."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what was written; does nothing once it is complete."""


class WholeFile(Whole):
    """A file that appears under its name only once it is complete.

    It is written to a hidden file in the same folder, and renamed when it is closed. Errors of the
    operating system are raised as DestinationError.

    mode: permissions, before the user's umask. follow: write the target of a symbolic link instead
    of replacing the link. durable: sync it, so that it survives a power cut.
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
            self._part.unlink(missing_ok=True)  # left by a killed process of the same id
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = open(os.open(self._part, flags, mode), 'wb')  # noqa: SIM115

    @property
    def closed(self) -> bool:
        """Whether it was closed or discarded."""
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
        """Flush what was written to the operating system."""
        with self._refused():
            self._file.flush()

    def close(self) -> None:
        """Complete the file under its final name; may be called again without harm."""
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
        """Remove what was written, unless the file was closed."""
        if not self._file.closed:
            with suppress(OSError):  # flushing the rest fails again on a full disk
                self._file.close()
            self._part.unlink()

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError, AttributeError):  # it was never opened, or flushing fails again
                self._file.close()
            with suppress(OSError):
                self._part.unlink()
            raise cannot_write(self.path, error, self._written) from error


def write_file(
    file: Path, data: Buffer, mode: int = 0o644, *, follow: bool = True, durable: bool = False
) -> None:
    """Write a file completely or not at all, see WholeFile; raises DestinationError."""
    with WholeFile(file, mode, follow=follow, durable=durable) as whole:
        whole.write(data)


def write_image(file: Path, pixels: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) BGR pixels as an image file, completely or not at all.

    The suffix decides the format. Raises DestinationError.
    """
    write_file(file, cv2.imencode(file.suffix, pixels)[1].data)


def hidden_part(file: Path) -> Path:
    """Temporary path of an incomplete file: in the same folder, so that it can be renamed."""
    return file.with_name(f'.{file.name}.{os.getpid()}')


def cannot_write(file: Path, error: OSError, size: int = 0) -> DestinationError:
    """DestinationError for an error of the operating system; names the disk if it is full."""
    amount = f' ({size} bytes)' if size else ''
    advice = (
        'free some space, or name another place' if error.errno in _FULL else 'name another place'
    )
    return DestinationError(f'cannot write {file}{amount}: {_why(error, file)}; {advice}')


def lock_folder(folder: Path) -> int:
    """Lock a folder against other runs until the returned file descriptor is closed.

    The lock ends with the process, even a killed one, and leaves no file behind. Raises
    DestinationError if another run holds it.
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
    except OSError:  # the file system has no locks
        pass
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Make a renamed file survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try(file: Path) -> None:
    """Try to open the file for writing, without changing it; raises OSError."""
    file = file.resolve()  # a dangling link is tried at its target
    new = not file.exists()
    with file.open('ab'):
        pass
    if new:
        file.unlink()


def _why(error: OSError, file: Optional[Path] = None) -> str:
    if error.errno in _FULL and file is not None:
        return f'{reason(error)} (that of {_mount_point(file)})'
    # Under /proc and the like nothing can be created, which is reported as "not found".
    return 'nothing can be made there' if error.errno == errno.ENOENT else reason(error)


def _mount_point(place: Path) -> Path:
    """Mount point of the disk that a path is on."""
    place = place.resolve()
    return next(above for above in (place, *place.parents) if os.path.ismount(above))


def _or(suffixes: Sequence[str]) -> str:
    *others, last = suffixes
    return f'{", ".join(others)} or {last}' if others else last
