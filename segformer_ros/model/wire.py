"""Wire: how much a protobuf unfolds to, told from its bytes before it is read.

An empty message takes two bytes of a file and a hundred of memory, a zero one byte and eight.
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from segformer_ros.documents import DocumentError

MOST_FIELDS = 500_000
"""Of a protobuf in all its messages; a SegFormer has some 20,000."""
MOST_UNFOLDED = 512 << 20
"""Bytes that lists of packed numbers may take in memory."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_PACKED = {3: 8, 4: 8, 5: 4, 13: 4, 17: 4, 18: 8}
"""Bytes of a number in memory, by FieldDescriptor.type, for those that are varints in a file."""


class _Message(NamedTuple):
    """Its fields that hold messages, and those of packed varints with their width."""

    messages: Dict[int, Any]
    packed: Dict[int, int]


def check_wire(data: Any, descriptor: Any) -> None:
    """Raises DocumentError for bytes that are no message, or one of too many parts.

    data: bytes or a mapped file. descriptor: protobuf's of the message.
    """
    known: Dict[str, _Message] = {}
    left: List[Tuple[int, int, Any]] = [(0, len(data), descriptor)]
    fields = unfolded = 0
    while left:
        place, end, kind = left.pop()
        message = known.get(kind.full_name) or known.setdefault(kind.full_name, _fields(kind))
        while place < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise DocumentError(f'it has more than {MOST_FIELDS} parts')
            tag, place = _varint(data, place, end)
            number, wire = tag >> 3, tag & 7
            if not number:
                raise DocumentError(f'it is damaged at byte {place}')
            if wire == _VARINT:
                _, place = _varint(data, place, end)
                continue
            if wire == _LENGTH:
                length, place = _varint(data, place, end)
                if number in message.messages:
                    left.append((place, place + length, message.messages[number]))
                unfolded += length * message.packed.get(number, 0)
            elif wire in _WIDTHS:
                length = _WIDTHS[wire]
            else:
                raise DocumentError(f'it is damaged at byte {place}')
            place += length
            if place > end:
                raise DocumentError(f'it is damaged or cut short at byte {place - length}')
        if unfolded > MOST_UNFOLDED:
            raise DocumentError(f'its numbers take more than {MOST_UNFOLDED} bytes')


def _fields(kind: Any) -> _Message:
    return _Message(
        {entry.number: entry.message_type for entry in kind.fields if entry.message_type},
        {entry.number: _PACKED[entry.type] for entry in kind.fields if entry.type in _PACKED},
    )


def _varint(data: Any, place: int, end: int) -> Tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place behind it."""
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise DocumentError(f'it is damaged or cut short at byte {place}')
