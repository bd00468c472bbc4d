# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Faults of sensor_msgs/CompressedImage: damaged JPEG and PNG files, and huge claims."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from robustness.faults import Camera, Leg, Outcome, Publish, Step, fault
from robustness.scenes import CLOSED, Scene, compressed_image, jpeg, png

_PNG_HEAD = b'\x89PNG\r\n\x1a\n'
_END = b'\xff\xd9'

MakeFile = Callable[[np.random.Generator], bytes]


def _file_fault(
    name: str, outcome: Outcome = Outcome.REFUSED, kind: str = 'jpeg'
) -> Callable[[MakeFile], MakeFile]:
    """A fault that is one message with the bytes of one file."""

    def enter(make_file: MakeFile) -> MakeFile:
        def make(rng: np.random.Generator, camera: Camera) -> list[Step]:
            del camera
            return [Publish(compressed_image(make_file(rng), kind))]

        fault(name, outcome, Leg.COMPRESSED)(make)
        return make_file

    return enter


def _whole(rng: np.random.Generator, *options: int) -> bytes:
    return jpeg(Scene(CLOSED).noisy(rng), *options)


def scan_of(data: bytes) -> tuple[int, int]:
    """First and last byte (not included) of a JPEG's longest piece of entropy-coded data."""
    scans, at = [], data.find(b'\xff\xda')
    while at >= 0:
        start = end = at + 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
        # A marker ends the scan: FF followed by neither a stuffed zero nor a restart marker.
        while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
            end += 1
        scans.append((start, end))
        at = data.find(b'\xff\xda', end)
    return max(scans, key=lambda scan: scan[1] - scan[0])


def without_piece(rng: np.random.Generator, data: bytes) -> bytes:
    """A JPEG that lacks a twentieth to a half of its entropy-coded data, its end being there."""
    start, end = scan_of(data)
    length = int((end - start) * rng.uniform(0.05, 0.5))
    cut = int(rng.integers(start, end - length))
    return data[:cut] + data[cut + length :]


@_file_fault('a JPEG with a piece missing')
def _piece(rng: np.random.Generator) -> bytes:
    return without_piece(rng, _whole(rng))


# Of thousands some decode without a complaint: what lacks is detail (doc/damaged_images.md).
@_file_fault('a progressive JPEG with a piece missing', Outcome.SAFE)
def _progressive_piece(rng: np.random.Generator) -> bytes:
    return without_piece(rng, _whole(rng, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))


@_file_fault('a JPEG of restart intervals with a piece missing')
def _restart_piece(rng: np.random.Generator) -> bytes:
    return without_piece(rng, _whole(rng, cv2.IMWRITE_JPEG_RST_INTERVAL, 4))


@_file_fault('a JPEG cut short')
def _cut(rng: np.random.Generator) -> bytes:
    data = _whole(rng)
    start, end = scan_of(data)
    return data[: int(rng.integers(start, end - (end - start) // 20))]


@_file_fault('a JPEG cut short that ends as a whole one')
def _cut_with_end(rng: np.random.Generator) -> bytes:
    return _cut(rng) + _END


@_file_fault('a JPEG cut short behind a thumbnail')
def _cut_behind_thumbnail(rng: np.random.Generator) -> bytes:
    thumbnail = b'Exif\0\0' + jpeg(np.zeros((16, 16, 3), np.uint8))
    segment = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 2) + thumbnail
    data = _cut(rng)
    return data[:2] + segment + data[2:]


@_file_fault('a JPEG with nothing but a header')
def _header(rng: np.random.Generator) -> bytes:
    data = _whole(rng)
    return data[: scan_of(data)[0]] + _END


@_file_fault('a JPEG that claims 32768 x 32768')
def _huge_jpeg(rng: np.random.Generator) -> bytes:
    return _claiming(_whole(rng), 32768, 32768)


@_file_fault('a JPEG that claims 65500 x 65500')
def _hugest_jpeg(rng: np.random.Generator) -> bytes:
    return _claiming(_whole(rng), 65500, 65500)


@_file_fault('a JPEG of one colour that claims 20000 x 20000')
def _plain_huge_jpeg(rng: np.random.Generator) -> bytes:
    return _claiming(jpeg(np.zeros((64, 64, 3), np.uint8)), 20000, 20000)


@_file_fault('a JPEG without its end marker', Outcome.ANSWERED)
def _no_end(rng: np.random.Generator) -> bytes:
    return _whole(rng).removesuffix(_END)


@_file_fault('a JPEG with bytes behind it', Outcome.ANSWERED)
def _tail(rng: np.random.Generator) -> bytes:
    return _whole(rng) + rng.bytes(int(rng.integers(1, 5000)))


@_file_fault('a progressive JPEG', Outcome.ANSWERED)
def _progressive(rng: np.random.Generator) -> bytes:
    return _whole(rng, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


@_file_fault('a JPEG with bytes changed', Outcome.SAFE)
def _changed_jpeg(rng: np.random.Generator) -> bytes:
    return _changed(rng, _whole(rng))


@_file_fault('a PNG with bytes changed', Outcome.SAFE, 'png')
def _changed_png(rng: np.random.Generator) -> bytes:
    return _changed(rng, png(Scene(CLOSED).pixels))


@_file_fault('a PNG cut short', kind='png')
def _cut_png(rng: np.random.Generator) -> bytes:
    data = png(Scene(CLOSED).noisy(rng))
    return data[: int(rng.integers(40, len(data) * 9 // 10))]


@_file_fault('a PNG cut short that ends as a whole one', kind='png')
def _cut_png_with_end(rng: np.random.Generator) -> bytes:
    return _cut_png(rng) + _chunk(b'IEND')


@_file_fault('a PNG whose rows end early', kind='png')
def _png_piece(rng: np.random.Generator) -> bytes:
    raw = zlib.compress(b'\0' + rng.bytes(3 * 256))
    return _PNG_HEAD + _png_header(256, 128) + _chunk(b'IDAT', raw) + _chunk(b'IEND')


@_file_fault('a PNG whose chunk claims 4 GB', kind='png')
def _huge_chunk(rng: np.random.Generator) -> bytes:
    claim = int(rng.choice([2**32 - 1, 2**31 - 1, 2**31 - 13]))
    name = [b'IDAT', b'tEXt', b'iCCP'][int(rng.integers(3))]
    chunk = struct.pack('>I', claim) + name + bytes(8)
    return _PNG_HEAD + _png_header(256, 128) + chunk + _chunk(b'IEND')


@_file_fault('a PNG that claims 32768 x 32768', kind='png')
def _huge_png(rng: np.random.Generator) -> bytes:
    del rng
    row = zlib.compress(bytes(3 * 32768 + 1))
    return _PNG_HEAD + _png_header(32768, 32768) + _chunk(b'IDAT', row) + _chunk(b'IEND')


@_file_fault('no bytes')
def _nothing(rng: np.random.Generator) -> bytes:
    del rng
    return b''


@_file_fault('bytes at random')
def _random(rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(1, 20_000)))


@_file_fault('a BMP, TIFF, WebP or PPM that is cut')
def _cut_other(rng: np.random.Generator) -> bytes:
    kind = str(rng.choice(['.bmp', '.tiff', '.webp', '.ppm']))
    data = cv2.imencode(kind, Scene(CLOSED).noisy(rng))[1].tobytes()
    return data[: int(len(data) * rng.uniform(0.1, 0.9))]


@_file_fault('a BMP that claims 32768 x 32768')
def _huge_bmp(rng: np.random.Generator) -> bytes:
    del rng
    data = cv2.imencode('.bmp', Scene(CLOSED).pixels)[1].tobytes()
    return data[:18] + struct.pack('<ii', 32768, 32768) + data[26:]


@_file_fault('a file of another kind')
def _another_kind(rng: np.random.Generator) -> bytes:
    head = [b'GIF89a', b'%PDF-1.7\n', b'PK\3\4', b'\0\0\0\x18ftypheic'][int(rng.integers(4))]
    return head + rng.bytes(4000)


@fault('a format of megabytes', Outcome.REFUSED, Leg.COMPRESSED)
def _long_format(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    return [Publish(compressed_image(rng.bytes(100), 'jpeg ' * 600_000))]


@fault('a format that drives terminals', Outcome.REFUSED, Leg.COMPRESSED)
def _wild_format(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    return [Publish(compressed_image(rng.bytes(100), '\x1b]0;jpeg\x07\n[ERROR] [0.0] [node]: no'))]


def _claiming(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header gives another size."""
    at = data.index(b'\xff\xc0') + 5
    return data[:at] + struct.pack('>HH', height, width) + data[at + 4 :]


def _changed(rng: np.random.Generator, data: bytes) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    count = int(rng.integers(1, 20))
    changed[rng.integers(2, len(changed), count)] = rng.integers(0, 256, count)
    return changed.tobytes()


def _chunk(name: bytes, data: bytes = b'') -> bytes:
    checksum = struct.pack('>I', zlib.crc32(name + data))
    return struct.pack('>I', len(data)) + name + data + checksum


def _png_header(width: int, height: int) -> bytes:
    return _chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
