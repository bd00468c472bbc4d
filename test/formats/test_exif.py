# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exif: which way up a photo is, and of which lens."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
import recordings as rec

from segformer_ros.formats.exif import UPRIGHT, Exif, read_exif

PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3)

# What OpenCV, which turns JPEGs by their Exif, makes of an image with each number.
TURNED = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.T,
    6: np.rot90(PIXELS, -1),
    7: np.rot90(PIXELS, 2).T,
    8: np.rot90(PIXELS),
}


def photo(segment: bytes) -> bytes:
    """A JPEG with an Exif segment."""
    data = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    return data[:2] + segment + data[2:]


@pytest.mark.parametrize('number', list(TURNED))
def test_pixels_are_turned_as_the_number_says(number: int) -> None:
    orientation = read_exif(photo(rec.exif(number))).orientation
    assert np.array_equal(orientation.applied(PIXELS), TURNED[number])
    assert orientation.swaps_sides == (number >= 5)
    assert (orientation == UPRIGHT) == (number == 1)


@pytest.mark.parametrize('number', list(TURNED))
def test_opencv_turns_the_same_way(number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 255, (16, 24, 3), np.uint8)
    data = cv2.imencode('.jpg', cv2.resize(pixels, (240, 160)))[1].tobytes()
    whole = np.frombuffer(data[:2] + rec.exif(number) + data[2:], np.uint8)
    turned = cv2.imdecode(whole, cv2.IMREAD_COLOR)
    stored = cv2.imdecode(whole, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert turned is not None and stored is not None
    assert np.array_equal(read_exif(whole.tobytes()).orientation.applied(stored), turned)


def test_png_and_webp_have_it_in_a_chunk() -> None:
    block = rec.exif(6)[4 + 6 :]
    png = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4s', len(block), b'eXIf') + block
    png += struct.pack('>I', zlib.crc32(b'eXIf' + block))
    webp = b'RIFF\0\0\0\0WEBP' + b'VP8 ' + struct.pack('<I', 3) + b'abc\0'
    webp += b'EXIF' + struct.pack('<I', len(block)) + block
    for data in (png, webp, block):
        assert read_exif(data).orientation == read_exif(photo(rec.exif(6))).orientation != UPRIGHT


def test_the_focal_length_is_that_of_the_same_view_on_35_mm() -> None:
    found = read_exif(photo(rec.exif(focal_35mm=26)))
    assert found.focal_pixels(4000, 3000) == pytest.approx(26 / 43.2666 * 5000, rel=1e-4)
    assert Exif().focal_pixels(4000, 3000) is None
    assert Exif(plane_pixels=900.0, plane_width=640.0).focal_pixels(640, 480) == 900
    assert Exif(plane_pixels=900.0, plane_width=640.0).focal_pixels(320, 240) is None


def test_what_is_damaged_says_nothing() -> None:
    whole = photo(rec.exif(6, 26))
    random = np.random.default_rng(1)
    for cut in range(0, 80, 3):
        read_exif(whole[:cut])
        spoiled = bytearray(whole)
        spoiled[cut % len(whole)] = int(random.integers(0, 256))
        read_exif(bytes(spoiled))
    assert read_exif(b'') == read_exif(b'nothing at all') == Exif()
