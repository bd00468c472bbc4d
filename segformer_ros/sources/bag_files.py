"""Files of a bag: which there are, and what compression is around them and in them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, List, NamedTuple

import yaml

from segformer_ros.sources.folder import natural_key

BAG_SUFFIXES = ('.mcap', '.db3')
METADATA = 'metadata.yaml'
PACKED = '.zstd'
"""Ending of a storage file that was compressed as a whole."""
_BLOCK_BYTES = 1 << 20
_ZSTD_MODULES = ('compression.zstd', 'backports.zstd', 'zstandard')
"""What rosbags uses, by Python's and its own version."""


class Layout(NamedTuple):
    """Storage files in the order of recording, and whether their messages are compressed."""

    files: List[Path]
    by_message: bool


def storage_files(folder: Path) -> List[Path]:
    """Storage files that lie in a folder, in the order in which they were recorded."""
    files = (path for path in folder.iterdir() if path.suffix in BAG_SUFFIXES)
    return sorted(files, key=natural_key)


def read_layout(folder: Path) -> Layout:
    """What a bag's metadata says of its files; where it is unreadable, what lies there."""
    try:
        facts = yaml.safe_load((folder / METADATA).read_text(encoding='utf-8'))
        facts = facts['rosbag2_bagfile_information']
        files = [folder / PurePath(name).name for name in facts['relative_file_paths']]
        return Layout(files, str(facts.get('compression_mode', '')).lower() == 'message')
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return Layout(storage_files(folder), False)


def unpack(file: Path, folder: Path) -> Path:
    """Decompress a storage file into a folder, as far as it is whole."""
    target = folder / file.stem
    with file.open('rb') as packed, target.open('wb') as out:
        stream = _zstd().open(packed, 'rb')
        try:
            while True:
                block = stream.read1(_BLOCK_BYTES)  # not `read`, which loses what precedes a cut
                if not block:
                    break
                out.write(block)
        except Exception:  # cut or damaged (each library raises its own kinds): this was all
            pass
    return target


def decompress(data: bytes) -> bytes:
    """A message that was compressed by itself."""
    zstd = _zstd()
    if hasattr(zstd, 'decompress'):
        return bytes(zstd.decompress(data))
    return bytes(zstd.ZstdDecompressor().decompress(data))


def _zstd() -> Any:
    for name in _ZSTD_MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImportError(f'none of {", ".join(_ZSTD_MODULES)} is installed, which rosbags brings')
