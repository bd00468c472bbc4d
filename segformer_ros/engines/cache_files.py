"""Files of the caches: written whole or not at all, and trusted only where they are one's own."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import IO, Optional

from segformer_ros.documents import open_file

MOST_BYTES = 768 << 20
"""Of a built engine or what goes with it; a SegFormer-B5 in FP32 has half of it."""


def cache_folder(chosen: Optional[Path] = None) -> Path:
    """Where built engines and kernels are kept: as chosen, else $SEGFORMER_CACHE, else XDG's."""
    if chosen is not None:
        return chosen
    named = os.environ.get('SEGFORMER_CACHE')
    if named:
        return Path(named)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'segformer_ros')


def make_own_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; raises OSError.

    One that is there already must be this user's own, and not be writable by everybody: who can
    put files into it, or take them away, decides what runs on the GPU.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fault = folder_fault(folder)
    if fault:
        raise PermissionError(fault)


def folder_fault(folder: Path) -> str:
    """Why a cache's folder cannot be trusted, with what to do; '' where it can; raises OSError."""
    state = folder.stat()
    if state.st_uid != os.getuid():
        return (
            f'the folder {folder} belongs to another user (id {state.st_uid}); name one of your '
            'own by SEGFORMER_CACHE'
        )
    if state.st_mode & stat.S_IWOTH:
        return f'every user may write into the folder {folder}; use it behind chmod o-w {folder}'
    return ''


def open_lock(path: Path) -> IO[bytes]:
    """Open a file to be locked, made where it is not there, and leave what it holds.

    Raises OSError for a link, whoever put it there, and for what is no file of this user's.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(str(path), flags, 0o600)
    state = os.fstat(handle)
    if stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid():
        return os.fdopen(handle, 'r+b', buffering=0)
    os.close(handle)
    raise PermissionError(f"{path} is not this user's own file")


def write_atomically(path: Path, data: bytes) -> None:
    """Write an owner-only file that is there whole or not at all, even after a crash.

    Raises OSError; nothing is left behind then.
    """
    make_own_folder(path.parent)
    handle, name = tempfile.mkstemp('.partial', f'.{path.name}.', str(path.parent))
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, str(path))
    except BaseException:
        os.unlink(name)
        raise


def read_if_own(path: Path) -> Optional[bytes]:
    """Contents of a file that nobody else could have written; None for any other or none.

    A built engine holds machine code: one that another user could put there is never loaded.
    """
    try:
        if folder_fault(path.parent):
            return None
        with open_file(path, os.O_NOFOLLOW) as file:
            state = os.fstat(file.fileno())
            others = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if state.st_uid != os.getuid() or others or state.st_size > MOST_BYTES:
                return None
            return file.read()
    except OSError:
        return None
