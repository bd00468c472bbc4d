"""What a storage file of a bag gives, whatever its format."""

from __future__ import annotations

from typing import Dict, Iterator, NamedTuple, Optional, Protocol, Tuple, Union

from segformer_ros.errors import SegformerError

Bytes = Union[bytes, memoryview]
"""A serialized message, or a view of it."""

_LONGEST_NAME = 250


class Topic(NamedTuple):
    """A topic of a bag.

    msgtype: where messages are not serialized as ROS 2 does it, with how they are ('Image in
    json'). messages: how many the bag counts. definition: that of the type, '' where the bag has
    none in the words of .msg files.
    """

    msgtype: str
    messages: int
    definition: str = ''


class RawMessage(NamedTuple):
    """One message as it lies in the bag: time of recording (ns) and CDR bytes, maybe a view."""

    time: int
    data: Bytes


class Lost(NamedTuple):
    """A message that the bag counts but that cannot be read, and why; its time, if known."""

    reason: str
    time: Optional[int] = None


Entry = Union[RawMessage, Lost]


class StorageError(SegformerError, ValueError):
    """A storage file that cannot be read at all: says why."""


class Storage(Protocol):
    """One storage file, open; read by one iteration at a time.

    topics: by name. notes: what of it cannot be read.
    """

    topics: Dict[str, Topic]
    notes: Tuple[str, ...]

    def entries(self, topic: str, start: int = 0) -> Iterator[Entry]:
        """Messages of a topic by their times from the `start`th on, as many as it counts."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def plain(name: str) -> str:
    """A foreign name that can be shown in a line: cut, and without what is not printable."""
    name = name[:_LONGEST_NAME]
    return name if name.isprintable() else repr(name)[1:-1]


def type_name(name: str, encoding: str) -> str:
    """A message type by its name in the bag and the encoding of its messages, as in Topic."""
    if encoding != 'cdr':
        return plain(f'{name or "no type"} in {encoding or "no encoding"}')
    package, slash, kind = name.partition('/')
    return plain(f'{package}/msg/{kind}' if slash and '/' not in kind else name)
