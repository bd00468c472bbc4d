"""Checksum of a file: what tells one model from another, wherever it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 20


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        for block in iter(lambda: file.read(_BLOCK), b''):
            digest.update(block)
    return digest.hexdigest()
