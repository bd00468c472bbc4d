"""What can be told of a serialized message without its type: its header's stamp."""

from __future__ import annotations

import struct
from typing import Union

from segformer_ros.frame import Stamp

Bytes = Union[bytes, memoryview]
"""A serialized message, or a view of it."""

HEADER_BYTES = 12
"""Least length of a message that carries a stamp: encapsulation, sec, nanosec."""


def header_stamp(data: Bytes) -> Stamp:
    """Stamp of a CDR message that begins with a std_msgs/Header; raises struct.error if cut."""
    # Four bytes of encapsulation, whose second tells the byte order, then sec and nanosec.
    order = '<' if data[1] & 1 else '>'
    return Stamp(*struct.unpack_from(f'{order}iI', data, 4))
