# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What all bag formats share: topics, messages, their types, and compression by Zstandard."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import (
    IO,
    Any,
    Dict,
    FrozenSet,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Tuple,
    Union,
)

from segformer_ros.destination import WholeFile
from segformer_ros.errors import SegformerError, reason
from segformer_ros.formats.limits import MAX_MESSAGE_BYTES, MAX_RATIO, SizeError
from segformer_ros.recordings.source import SourceError
from segformer_ros.topics import FFMPEG_TYPE, VIDEO_TYPE

Bytes = Union[bytes, memoryview]
"""A serialized message, or a view of it."""

_LONGEST_NAME = 250
_BLOCK_BYTES = 1 << 20
_SMALL_FILE = 1 << 30
"""Bytes that any file may decompress to, however small it is."""

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
"""First bytes of a frame of Zstandard."""


class Topic(NamedTuple):
    """A topic of a bag.

    msgtype: with the encoding if that is not CDR ('Image in json'). messages: how many the bag
    counts. definition: of the type, in the format of .msg files; '' where the bag has none.
    """

    msgtype: str
    messages: int
    definition: str = ''


class RawMessage(NamedTuple):
    """One message of the bag: recording time (ns) and CDR bytes, maybe a view."""

    time: int
    data: Bytes


class Lost(NamedTuple):
    """A message that the bag counts but that cannot be read: why, and its time if known."""

    reason: str
    time: Optional[int] = None


Entry = Union[RawMessage, Lost]


class StorageError(SegformerError, ValueError):
    """A storage file that cannot be read at all: says why."""


class Storage(Protocol):
    """One storage file, open; read by one iteration at a time.

    topics: by name. notes: what of the file cannot be read.
    """

    topics: Dict[str, Topic]
    notes: Tuple[str, ...]

    def entries(self, topic: str, start: int = 0) -> Iterator[Entry]:
        """Messages of a topic in the order of their times, from index `start` on; as many as
        `topics` counts.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def plain(name: str) -> str:
    """An untrusted name, made safe to show in a line: truncated, and printable."""
    name = name[:_LONGEST_NAME]
    return name if name.isprintable() else repr(name)[1:-1]


def type_name(name: str, encoding: str) -> str:
    """A message type by its name in the bag and the encoding of its messages, as in Topic."""
    if encoding != 'cdr':
        return plain(f'{name or "no type"} in {encoding or "no encoding"}')
    package, slash, kind = name.partition('/')
    return plain(f'{package}/msg/{kind}' if slash and '/' not in kind else name)


def decompress(data: Union[bytes, memoryview], most: int = 0) -> bytes:
    """The content of one Zstandard frame; raises ValueError if damaged, SizeError if too large.

    most: bytes that it may have; 0 for the limit of a message.
    """
    import zstandard

    most = most or MAX_MESSAGE_BYTES
    too_large = SizeError(f'{len(data)} bytes of zstd hold more than {most} bytes')
    size = -1  # not every frame has it
    try:
        size = zstandard.frame_content_size(data)
        if size > most:
            raise too_large
        return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=most))
    except zstandard.ZstdError as error:
        if size < 0 and _holds_more(data, most):
            raise too_large from error
        raise ValueError(f'no whole zstd frame ({error})') from error


def _holds_more(data: Union[bytes, memoryview], most: int) -> bool:
    """Whether a frame decompresses to more than `most` bytes before its end or any damage."""
    left = most
    for block in whole_blocks(io.BytesIO(data)):
        left -= len(block)
        if left < 0:
            return True
    return False


def whole_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a compressed file up to its end or any damage, in blocks."""
    import zstandard

    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    while True:
        try:
            block = stream.read1(_BLOCK_BYTES)  # `read` would lose what precedes damage
        except zstandard.ZstdError:
            return
        if not block:
            return
        yield block


def unpack_file(packed: Path, target: Path) -> None:
    """Decompress a file up to its end or any damage; raises SizeError and DestinationError."""
    size = packed.stat().st_size
    most = max(_SMALL_FILE, size * MAX_RATIO)
    left = most
    with packed.open('rb') as file, WholeFile(target) as out:
        for block in whole_blocks(file):
            left -= len(block)
            if left < 0:
                raise SizeError(f'{size} bytes of zstd hold more than {most} bytes: no recording')
            out.write(block)


VIDEO_DEFINITIONS: Dict[str, str] = {
    VIDEO_TYPE: (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n'
    ),
    FFMPEG_TYPE: (
        'std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\n'
        'uint8 flags\nbool is_bigendian\nuint8[] data\n'
    ),
}
"""From the packages foxglove_msgs and ffmpeg_image_transport_msgs, without their comments."""

_NEEDED: Dict[str, FrozenSet[str]] = {
    VIDEO_TYPE: frozenset(('timestamp', 'frame_id', 'data', 'format')),
    FFMPEG_TYPE: frozenset(('header', 'encoding', 'data')),
}
"""Fields without which a video's messages cannot be read."""

_DISTRIBUTIONS = ('JAZZY', 'IRON', 'HUMBLE')
"""Newest first; the types that are used here are the same in all of them."""


def ros_types() -> Any:
    """A new typestore of rosbags, to which more types may be added.

    rosbags before 0.10.10, the last for Python 3.8 and 3.9, does not know Jazzy.
    """
    from rosbags.typesys import Stores, get_typestore

    stores = [getattr(Stores, f'ROS2_{name}', None) for name in _DISTRIBUTIONS]
    return get_typestore(next(store for store in stores if store is not None))


def types_with_video() -> Any:
    """A new typestore with the video messages, too."""
    from rosbags.typesys import get_types_from_msg

    types = ros_types()
    for msgtype, text in VIDEO_DEFINITIONS.items():
        types.register(get_types_from_msg(text, msgtype))
    return types


def definitions(types: Any) -> Any:
    """A typestore's constants and fields by message type."""
    return getattr(types, 'fielddefs', None) or types.FIELDDEFS  # before 0.10


def field_names(types: Any, msgtype: str) -> List[str]:
    """Names of a message's fields in a typestore, in order."""
    return [name for name, _ in definitions(types)[msgtype][1]]


_known_types = lru_cache(maxsize=1)(types_with_video)


def deserialize(data: Bytes, msgtype: str, types: Any = None) -> Any:
    """Message of CDR bytes, its arrays being views of them; raises SourceError.

    types: a typestore; None for the default one.
    """
    try:
        return (types or _known_types()).deserialize_cdr(data, msgtype)
    except Exception as error:  # of any type for truncated bytes
        why = f'{type(error).__name__}: {reason(error)[:200]}'
        raise SourceError(f'{len(data)} bytes are not a {msgtype} ({why})') from error


def types_of(bag: Path, topic: Topic) -> Any:
    """The typestore for a topic; raises SourceError where the bag's definition differs from ours.

    Video messages are read by the bag's own definition, as long as it has the fields needed.
    """
    from rosbags.typesys import TypesysError, get_types_from_msg

    types = _known_types()
    msgtype = topic.msgtype
    if not topic.definition:
        return types
    try:
        defined = get_types_from_msg(topic.definition, msgtype)
        fields = defined[msgtype][1]
    except (TypesysError, KeyError) as error:
        raise SourceError(
            f'{bag} has an unreadable definition of {msgtype}: {reason(error)[:200]}'
        ) from error
    if fields == definitions(types)[msgtype][1]:
        return types
    names = [name for name, _ in fields]
    if msgtype in _NEEDED and _NEEDED[msgtype] <= set(names):
        own = ros_types()
        own.register({name: defined[name] for name in defined if name not in definitions(own)})
        return own
    if names != field_names(types, msgtype):
        raise SourceError(
            f'{bag} defines {msgtype} with the fields {", ".join(names)}, which is not the known '
            'type'
        )
    return types
