# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""PNG: whole files give OpenCV's pixels, damaged and boundless ones a reason."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from segformer_ros.formats import decode, decode_labels
from segformer_ros.formats.limits import FrameError
from segformer_ros.formats.png import HEAD

PALETTE, INTERLACED = 3, 1
RANDOM = np.random.default_rng(3)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', checksum)


def written(
    size: tuple[int, int],
    depth: int,
    colour: int,
    scanlines: bytes,
    *more: bytes,
    interlaced: int = 0,
) -> bytes:
    """A PNG of (height, width) `size`."""
    header = struct.pack('>IIBBBBB', size[1], size[0], depth, colour, 0, 0, interlaced)
    data = chunk(b'IDAT', zlib.compress(scanlines))
    return HEAD + chunk(b'IHDR', header) + b''.join(more) + data + chunk(b'IEND', b'')


def rows(height: int, row_bytes: int) -> bytes:
    """Scanlines of random pixels, each of another filter."""
    values = RANDOM.integers(0, 256, (height, 1 + row_bytes), np.uint8)
    values[:, 0] = np.arange(height) % 5
    return values.tobytes()


def packed(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def assert_as_opencv(data: bytes, scale: int = 1) -> None:
    """Colours and labels are OpenCV's, which multiplies grey values of few bits by `scale`."""
    labels = cv2.imdecode(packed(data), cv2.IMREAD_UNCHANGED)
    colours = cv2.imdecode(packed(data), cv2.IMREAD_COLOR)
    assert labels is not None and decode_labels(packed(data)).dtype == labels.dtype
    np.testing.assert_array_equal(decode_labels(packed(data)) * np.uint16(scale), labels)
    np.testing.assert_array_equal(decode(packed(data)), colours)


@pytest.mark.parametrize(
    ('depth', 'colour', 'bits'),
    [(1, 0, 1), (2, 0, 2), (4, 0, 4), (8, 0, 8), (16, 0, 16), (8, 2, 24), (16, 2, 48)]
    + [(8, 4, 16), (16, 4, 32), (8, 6, 32), (16, 6, 64)],
)
def test_whole_files_give_the_pixels_of_opencv(depth: int, colour: int, bits: int) -> None:
    scale = 255 // ((1 << depth) - 1) if depth < 8 else 1
    assert_as_opencv(written((9, 13), depth, colour, rows(9, (13 * bits + 7) // 8)), scale)


@pytest.mark.parametrize('depth', [1, 2, 4, 8])
def test_a_palette_gives_the_colours_of_opencv(depth: int) -> None:
    colours = chunk(b'PLTE', RANDOM.integers(0, 256, 3 << depth, np.uint8).tobytes())
    scanlines = rows(6, (11 * depth + 7) // 8)
    data = packed(written((6, 11), depth, PALETTE, scanlines, colours))
    shown = cv2.imdecode(data, cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode(data), shown)
    np.testing.assert_array_equal(decode_labels(data, colours=True), shown)


@pytest.mark.parametrize('depth', [1, 2, 4, 8])
@pytest.mark.parametrize('transparency', [(), (chunk(b'tRNS', b'\0\x80'),)])
def test_labels_of_a_palette_are_the_places_in_it(
    depth: int, transparency: tuple[bytes, ...]
) -> None:
    colours = chunk(b'PLTE', RANDOM.integers(0, 256, 3 << depth, np.uint8).tobytes())
    scanlines = rows(6, (11 * depth + 7) // 8)
    # A grey image of the same bytes has the same values.
    grey = decode_labels(packed(written((6, 11), depth, 0, scanlines)))
    data = packed(written((6, 11), depth, PALETTE, scanlines, colours, *transparency))
    assert grey.max() == (1 << depth) - 1 or depth == 8
    np.testing.assert_array_equal(decode_labels(data), grey)


def passes(depth: int) -> bytes:
    """Scanlines of 8x8 pixels in seven passes: 1x1, 1x1, 2x1, 2x2, 4x2, 4x4 and 8x4 pixels."""
    sizes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    return b''.join(rows(high, (wide * depth + 7) // 8) for wide, high in sizes)


@pytest.mark.parametrize('depth', [1, 2, 4, 8, 16])
def test_interlaced_files_give_the_pixels_of_opencv(depth: int) -> None:
    scale = 255 // ((1 << depth) - 1) if depth < 8 else 1
    assert_as_opencv(written((8, 8), depth, 0, passes(depth), interlaced=INTERLACED), scale)


def test_a_transparent_grey_value_is_an_id_as_any_other() -> None:
    transparent = chunk(b'tRNS', struct.pack('>H', 7))
    data = written((1, 3), 8, 0, bytes((0, 6, 7, 8)), transparent)
    assert decode_labels(packed(data)).tolist() == [[6, 7, 8]]


def test_colour_profiles_texts_and_animations_change_nothing() -> None:
    more = (chunk(b'gAMA', struct.pack('>I', 45455)), chunk(b'tEXt', b'a\0b'))
    animation = (chunk(b'acTL', struct.pack('>II', 2, 0)),)
    scanlines = rows(5, 12)
    plain = decode(packed(written((5, 4), 8, 2, scanlines)))
    for chunks in (more, animation):
        data = written((5, 4), 8, 2, scanlines, *chunks)
        np.testing.assert_array_equal(decode(packed(data)), plain)


GREY = written((6, 8), 8, 0, rows(6, 8))
_IDAT = GREY.index(b'IDAT')

BROKEN: dict[str, tuple[bytes, str]] = {
    'half': (GREY[: len(GREY) // 2], 'truncated PNG image: .* but a chunk claims'),
    'no end': (GREY[:-12], 'truncated PNG image: .* without its end'),
    'a chunk of 4 GB': (
        GREY[: _IDAT - 4] + b'\xff\xff\xff\xff' + GREY[_IDAT:],
        'a chunk claims 4294967295 more',
    ),
    'other bytes': (
        GREY[: _IDAT + 10] + bytes((GREY[_IDAT + 10] ^ 1,)) + GREY[_IDAT + 11 :],
        'the checksum of a chunk does not fit',
    ),
    'too few rows': (written((6, 8), 8, 0, rows(5, 8)), '45 bytes of pixels.*its header says 54'),
    'too many rows': (written((6, 8), 8, 0, rows(7, 8)), '55 bytes of pixels or more'),
    'no filter': (written((1, 8), 8, 0, b'\x09' + bytes(8)), 'a filter that does not exist'),
    'no palette': (written((1, 8), 8, PALETTE, bytes(9)), 'a palette of 0 bytes'),
    'no colours': (written((1, 8), 8, 5, bytes(9)), r'undecodable PNG .* header \(8, 1, 8, 5'),
    'no header': (HEAD + chunk(b'IEND', b''), 'it has no header'),
    'no pixels': (written((0, 8), 8, 0, b''), 'image of 8x0 pixels'),
    'a gigapixel': (written((32768, 32768), 8, 0, b''), 'above the limit of 25 megapixels'),
    'a hundredfold': (written((4900, 4900), 8, 0, b''), 'claims 24014900 bytes of pixels'),
}


@pytest.mark.parametrize(('data', 'words'), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_refused_in_words_and_in_silence(
    data: bytes, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for read in (decode, decode_labels):
        with pytest.raises(FrameError, match=words):
            read(packed(data))
    assert capfd.readouterr() == ('', '')


def test_no_part_of_a_file_ends_in_another_error() -> None:
    for length in range(8, len(GREY)):
        with pytest.raises(FrameError):
            decode(packed(GREY[:length]))


def test_labels_are_no_jpeg() -> None:
    jpeg = cv2.imencode('.jpg', np.zeros((8, 8), np.uint8))[1].reshape(-1)
    with pytest.raises(
        FrameError, match="labels of format 'png' are not PNG but JPEG, which changes values"
    ):
        decode_labels(jpeg, 'png')
