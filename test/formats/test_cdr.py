"""Stamps of serialized messages."""

from __future__ import annotations

import struct

import pytest
import recordings as rec

from segformer_ros.formats.cdr import header_stamp
from segformer_ros.frame import Stamp


@pytest.mark.parametrize('little_endian', [True, False])
def test_the_stamp_is_read_in_either_byte_order(little_endian: bool) -> None:
    message = rec.image(rec.picture(1), 'bgr8', 1_234_000_567)
    data = rec.TYPESTORE.serialize_cdr(message, rec.IMAGE, little_endian=little_endian)
    assert header_stamp(bytes(data)) == Stamp(1, 234_000_567)


def test_cut_bytes_are_refused() -> None:
    with pytest.raises(struct.error):
        header_stamp(b'\0\1\0\0\1\0')
