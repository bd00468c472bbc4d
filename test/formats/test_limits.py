# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Limits: hostile data cost next to nothing; images of 16 bits."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from segformer_ros.formats import BitDepth, bits_of
from segformer_ros.formats.limits import FrameError

_PROGRAM = """
import resource, sys
import numpy as np
from segformer_ros.recordings import bag_storage as zstd
from segformer_ros.formats import decode

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

data = np.frombuffer(sys.stdin.buffer.read(), np.uint8)
before = peak()
try:
    decode(data) if sys.argv[1] == 'image' else zstd.decompress(data.tobytes())
except ValueError as error:
    print(peak() - before, error)
"""


def refuse(kind: str, data: bytes) -> tuple[int, str]:
    """Megabytes of memory that refusing takes, and the words."""
    program = [sys.executable, '-c', _PROGRAM, kind]
    done = subprocess.run(program, input=data, capture_output=True, check=True)
    megabytes, words = done.stdout.decode().split(maxsplit=1)
    return int(megabytes), words


def gigapixel_jpeg() -> bytes:
    data = bytearray(cv2.imencode('.jpg', np.zeros((480, 640, 3), np.uint8))[1].tobytes())
    size = data.index(b'\xff\xc0') + 5
    data[size : size + 4] = b'\x80\x00\x80\x00'
    return bytes(data)


def four_gigabyte_png() -> bytes:
    whole = cv2.imencode('.png', np.zeros((8, 8), np.uint8))[1].tobytes()
    at = whole.index(b'IDAT')
    return whole[: at - 4] + b'\xff\xff\xff\xf0' + whole[at:]


def two_gigabytes_of_zstd() -> bytes:
    """A frame (RFC 8878) whose header tells no size, with blocks that repeat one byte."""
    repeated = b'\x02\x00\x10\x00'  # of 128 KiB, and the byte
    return b'\x28\xb5\x2f\xfd\x00\x58' + repeated * 16384 + b'\x01\x00\x00'


HOSTILE: dict[str, tuple[str, bytes, str, int]] = {
    'gigapixel JPEG': ('image', gigapixel_jpeg(), 'above the limit of 25 megapixels', 50),
    '4 GB PNG': ('image', four_gigabyte_png(), 'a chunk claims 4294967280 more', 50),
    '2 GB of zstd': ('zstd', two_gigabytes_of_zstd(), 'hold more than 268435456 bytes', 600),
}


@pytest.mark.parametrize(('kind', 'data', 'words', 'most'), HOSTILE.values(), ids=HOSTILE)
def test_hostile_data_are_refused_at_little_cost(
    kind: str, data: bytes, words: str, most: int
) -> None:
    assert len(data) < 100_000
    megabytes, said = refuse(kind, data)
    assert words in said
    assert megabytes < most


@pytest.mark.parametrize(
    ('largest', 'bits'),
    [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (9000, 14), (65535, 16)],
)
def test_the_bits_are_the_fewest_of_a_sensor(largest: int, bits: int) -> None:
    assert bits_of(largest) == bits


def test_the_values_are_scaled_by_the_bits() -> None:
    values = np.array([[0, 512, 1023]], np.uint16)
    assert BitDepth(10).reduced(values).tolist() == [[0, 128, 255]]
    assert BitDepth(16).reduced(values).tolist() == [[0, 2, 3]]


def test_given_bits_refuse_what_they_do_not_hold() -> None:
    with pytest.raises(FrameError, match='up to 1024, which the 10 bits .* give 12 bits'):
        BitDepth(10).reduced(np.array([[1024]], np.uint16))


def test_found_bits_grow_and_never_shrink() -> None:
    said: list[str] = []
    depth = BitDepth(say=said.append)
    for largest, bits in ((1000, 10), (3000, 12), (100, 12)):
        depth.reduced(np.array([[largest]], np.uint16))
        assert depth.bits == bits
    assert len(said) == 2 and 'up to 1000 are taken to hold 10' in said[0]
