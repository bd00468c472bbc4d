"""Files of a bag: which there are, and how they are compressed."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any, Dict, List, NamedTuple

from segformer_ros.documents import (
    LONGEST_PATH,
    DocumentError,
    items,
    read_yaml,
    record,
    text,
    whole,
)
from segformer_ros.sources.folder import natural_key

BAG_SUFFIXES = ('.mcap', '.db3')
METADATA = 'metadata.yaml'
PACKED = '.zstd'
"""Ending of a storage file that was compressed as a whole."""


def is_storage(path: Path) -> bool:
    """Whether a path is named as a storage file, compressed or not."""
    name = path.name[: -len(PACKED)] if path.suffix == PACKED else path.name
    return PurePath(name).suffix in BAG_SUFFIXES


_COUNT = whole(0, 1 << 40)
_TIME = whole(-(1 << 63), 1 << 63)

_DOCUMENT = record(
    {
        'rosbag2_bagfile_information': record(
            {
                'version': whole(1, 99),
                'storage_identifier': text(),
                'relative_file_paths': items(text(LONGEST_PATH)),
                'duration': record({'nanoseconds': _TIME}, needed=frozenset(('nanoseconds',))),
                'starting_time': record(
                    {'nanoseconds_since_epoch': _TIME},
                    needed=frozenset(('nanoseconds_since_epoch',)),
                ),
                'message_count': _COUNT,
                'topics_with_message_count': items(
                    record(
                        {
                            'topic_metadata': record(
                                {'name': text(LONGEST_PATH), 'type': text(LONGEST_PATH)},
                                needed=frozenset(('name', 'type')),
                            ),
                            'message_count': _COUNT,
                        },
                        needed=frozenset(('topic_metadata', 'message_count')),
                    )
                ),
                'compression_format': text(least=0),
                'compression_mode': text(least=0),
            },
            needed=frozenset(('relative_file_paths',)),
        )
    },
    needed=frozenset(('rosbag2_bagfile_information',)),
)
"""What is read of a bag's metadata.yaml, here and by rosbags."""


class Layout(NamedTuple):
    """Storage files in the order of recording, and whether each message is compressed.

    listed: whether the metadata tell, not only the folder.
    """

    files: List[Path]
    by_message: bool
    listed: bool = True


def storage_files(folder: Path) -> List[Path]:
    """Storage files that lie in a folder, in the order in which they were recorded."""
    files = {path for path in folder.iterdir() if is_storage(path) and path.is_file()}
    # A recorder that was killed while it compressed a file leaves both.
    twice = {path for path in files if path.suffix == PACKED and path.with_suffix('') in files}
    return sorted(files - twice, key=natural_key)


def read_layout(folder: Path) -> Layout:
    """What a bag's metadata says of its files; where it is unreadable, what lies there."""
    try:
        facts = read_metadata(folder)
    except (OSError, DocumentError):
        return Layout(storage_files(folder), False, listed=False)
    files = [folder / PurePath(name).name for name in facts['relative_file_paths']]
    return Layout(files, facts.get('compression_mode', '').lower() == 'message')


def read_metadata(folder: Path) -> Dict[str, Any]:
    """What a bag's metadata says, each value what it should be; raises OSError, DocumentError."""
    found = _DOCUMENT(read_yaml(folder / METADATA))
    facts: Dict[str, Any] = found['rosbag2_bagfile_information']
    return facts
