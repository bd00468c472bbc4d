"""Files of the caches: written whole or not at all, and trusted only where they are one's own."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Optional


def cache_folder(chosen: Optional[Path] = None) -> Path:
    """Where built engines and kernels are kept: as chosen, else $SEGFORMER_CACHE, else XDG's."""
    if chosen is not None:
        return chosen
    named = os.environ.get('SEGFORMER_CACHE')
    if named:
        return Path(named)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'segformer_ros')


def make_own_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


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
        with path.open('rb') as file:
            state = os.fstat(file.fileno())
            others = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if state.st_uid != os.getuid() or others:
                return None
            return file.read()
    except OSError:
        return None
