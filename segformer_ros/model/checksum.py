"""Checksum of a file: what tells one model from another, wherever it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 20


def file_hash(*paths: Path) -> str:
    """SHA-256 of the files' bytes, one file behind the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open('rb') as file:
            for block in iter(lambda: file.read(_BLOCK), b''):
                digest.update(block)
    return digest.hexdigest()
