"""Files of a bag: which there are, and how they are compressed."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import List, NamedTuple

import yaml

from segformer_ros.sources.folder import natural_key

BAG_SUFFIXES = ('.mcap', '.db3')
METADATA = 'metadata.yaml'
PACKED = '.zstd'
"""Ending of a storage file that was compressed as a whole."""


def is_storage(path: Path) -> bool:
    """Whether a path is named as a storage file, compressed or not."""
    name = path.name[: -len(PACKED)] if path.suffix == PACKED else path.name
    return PurePath(name).suffix in BAG_SUFFIXES


class Layout(NamedTuple):
    """Storage files in the order of recording, and whether each message is compressed.

    listed: whether the metadata tell, not only the folder.
    """

    files: List[Path]
    by_message: bool
    listed: bool = True


def storage_files(folder: Path) -> List[Path]:
    """Storage files that lie in a folder, in the order in which they were recorded."""
    files = {path for path in folder.iterdir() if is_storage(path)}
    # A recorder that was killed while it compressed a file leaves both.
    twice = {path for path in files if path.suffix == PACKED and path.with_suffix('') in files}
    return sorted(files - twice, key=natural_key)


def read_layout(folder: Path) -> Layout:
    """What a bag's metadata says of its files; where it is unreadable, what lies there."""
    try:
        facts = yaml.safe_load((folder / METADATA).read_text(encoding='utf-8'))
        facts = facts['rosbag2_bagfile_information']
        files = [folder / PurePath(name).name for name in facts['relative_file_paths']]
        return Layout(files, str(facts.get('compression_mode', '')).lower() == 'message')
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return Layout(storage_files(folder), False, listed=False)
