"""A disk that is soon full, for tests of what is written then."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes mounted at a folder; skips the test where none may be mounted."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f'no disk can be mounted here, which needs root: {made.stderr.strip()}')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '--lazy', str(folder)], check=True)


def size_on_disk(folder: Path) -> int:
    """Bytes that the files of a folder take, in pages as tmpfs has them."""
    sizes = (path.stat().st_size for path in folder.rglob('*') if path.is_file())
    return sum(-(-size // 4096) * 4096 for size in sizes)
