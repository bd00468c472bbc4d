# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames: views of message buffers, conversions, and what is refused."""

from __future__ import annotations

import array
import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import recordings as rec

from segformer_ros.formats import BitDepth
from segformer_ros.frame import PACKED_CHANNELS, Frame, FrameError, Stamp

BGR = np.random.default_rng(7).integers(0, 256, (6, 10, 3), np.uint8)
SMOOTH = cv2.resize(BGR, (64, 48), interpolation=cv2.INTER_CUBIC)


def message(data: bytes, height: int, width: int, step: int, encoding: str) -> Any:
    return SimpleNamespace(
        header=SimpleNamespace(
            stamp=SimpleNamespace(sec=12, nanosec=345), frame_id='front_optical'
        ),
        height=height,
        width=width,
        step=step,
        encoding=encoding,
        is_bigendian=0,
        data=array.array('B', data),
    )


def compressed(data: bytes, kind: str = 'jpeg') -> Any:
    return SimpleNamespace(
        header=message(b'', 1, 1, 1, '').header, format=kind, data=array.array('B', data)
    )


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', PACKED_CHANNELS)
def test_packed_encodings_are_views_of_the_buffer(encoding: str, padding: int) -> None:
    channels = PACKED_CHANNELS[encoding]
    step = 10 * channels + padding
    rows = np.arange(6 * step, dtype=np.uint8).reshape(6, step)
    image = message(rows.tobytes(), 6, 10, step, encoding)
    frame = Frame.from_image(image)
    assert np.shares_memory(frame.pixels, np.frombuffer(image.data, np.uint8))
    wanted = rows[:, : 10 * channels].reshape(6, 10, channels)
    np.testing.assert_array_equal(frame.pixels.reshape(6, 10, channels), wanted)
    assert (frame.height, frame.width) == (6, 10)
    assert (frame.stamp, frame.frame_id) == (Stamp(12, 345), 'front_optical')
    assert frame.bgr().shape == (6, 10, 3)


def test_last_row_needs_no_padding() -> None:
    assert Frame.from_image(message(bytes(5 * 40 + 30), 6, 10, 40, 'bgr8')).height == 6


def test_bgr8_is_handed_on_without_a_copy() -> None:
    frame = Frame.from_array(BGR)
    assert frame.bgr() is frame.pixels


@pytest.mark.parametrize(
    ('encoding', 'code'),
    [
        ('rgb8', cv2.COLOR_BGR2RGB),
        ('bgra8', cv2.COLOR_BGR2BGRA),
        ('rgba8', cv2.COLOR_BGR2RGBA),
    ],
)
def test_colour_orders_come_back_as_bgr(encoding: str, code: int) -> None:
    pixels = cv2.cvtColor(BGR, code)
    np.testing.assert_array_equal(Frame.from_array(pixels, encoding).bgr(), BGR)


@pytest.mark.parametrize('bigendian', [0, 1])
def test_sixteen_bits_keep_their_upper_eight(bigendian: int) -> None:
    wide = (BGR.astype(np.uint16) << 8 | 0x7F).astype('>u2' if bigendian else '<u2')
    image = message(wide.tobytes(), 6, 10, 60, 'bgr16')
    image.is_bigendian = bigendian
    np.testing.assert_array_equal(Frame.from_image(image).bgr(), BGR)


@pytest.mark.parametrize(
    ('encoding', 'first_row'),
    [('rggb', 'rg'), ('bggr', 'bg'), ('gbrg', 'gb'), ('grbg', 'gr')],
)
def test_bayer_patterns_give_their_colour(encoding: str, first_row: str) -> None:
    blue, green, red = 40, 90, 200
    value = {'b': blue, 'g': green, 'r': red}
    mosaic = np.array([[value[c] for c in encoding[:2]], [value[c] for c in encoding[2:]]])
    data = np.tile(mosaic, (8, 8)).astype(np.uint8)
    frame = Frame.from_image(message(data.tobytes(), 16, 16, 16, f'bayer_{encoding}8'))
    assert first_row == encoding[:2]
    np.testing.assert_array_equal(frame.pixels[8, 8], [blue, green, red])


@pytest.mark.parametrize('encoding', ['nv12', 'nv21', 'yuv422', 'yuv422_yuy2'])
def test_yuv_encodings_give_back_a_grey_ramp_and_a_tint(encoding: str) -> None:
    luma, first, second = 120, 100, 160
    planar = encoding.startswith('nv')
    if planar:
        chroma = (first, second) if encoding == 'nv12' else (second, first)
        data = bytes([luma]) * (16 * 8) + bytes(chroma) * (8 * 4)
        step = 16
    else:
        quad = (first, luma, second, luma) if encoding == 'yuv422' else (luma, first, luma, second)
        data, step = bytes(quad) * (8 * 8), 32
    frame = Frame.from_image(message(data, 8, 16, step, encoding))
    assert frame.encoding == 'bgr8' and frame.pixels.shape == (8, 16, 3)
    blue, green, red = frame.pixels[4, 8].astype(float)
    # BT.601 limited range, as ROS drivers send it: y = 1.164 (Y - 16), + the chroma terms.
    grey = 1.164 * (luma - 16)
    assert blue == pytest.approx(grey + 2.018 * (first - 128), abs=2)
    assert red == pytest.approx(grey + 1.596 * (second - 128), abs=2)
    assert green == pytest.approx(grey - 0.813 * (second - 128) - 0.391 * (first - 128), abs=2)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'height': 0}, 'image of 10x0 pixels'),
        ({'width': 0}, 'image of 0x6 pixels'),
        ({'width': 4_000_000_000}, 'image of 4000000000x6 pixels'),
        ({'encoding': 'cmyk8'}, "unknown image encoding 'cmyk8'; known are bgr8"),
        ({'step': 29}, 'step of 29 bytes is less than a row of 10 bgr8 pixels'),
        ({'data': array.array('B', bytes(179))}, 'truncated image: 179 bytes.*needs 180'),
        ({'data': array.array('B')}, 'truncated image: 0 bytes'),
        ({'encoding': 'nv12', 'step': 10, 'height': 5, 'width': 9}, 'odd sizes'),
    ],
)
def test_broken_images_are_refused_in_words(change: dict[str, Any], words: str) -> None:
    image = message(BGR.tobytes(), 6, 10, 30, 'bgr8')
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(FrameError, match=words):
        Frame.from_image(image)


@pytest.mark.parametrize(
    ('pixels', 'encoding', 'words'),
    [
        (BGR, 'mono8', 'is not mono8'),
        (BGR.astype(np.float32), 'bgr8', 'type float32 is not bgr8'),
        (BGR, 'yuv422', "encoding 'yuv422' of an array"),
    ],
)
def test_arrays_of_another_kind_are_refused(pixels: Any, encoding: str, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        Frame.from_array(pixels, encoding)


@pytest.mark.parametrize(('kind', 'tolerance'), [('.png', 0), ('.jpg', 30)])
def test_compressed_images_are_decoded(kind: str, tolerance: int) -> None:
    data = cv2.imencode(kind, SMOOTH)[1].tobytes()
    frame = Frame.from_compressed(compressed(data, f'bgr8; {kind[1:]} compressed bgr8'))
    assert frame.stamp == Stamp(12, 345)
    assert np.abs(frame.pixels.astype(int) - SMOOTH).max() <= tolerance


def test_a_foreign_file_is_named() -> None:
    with pytest.raises(
        FrameError, match="'jp2' .*0 bytes.* not a JPEG, PNG, BMP, WebP, TIFF or PPM"
    ):
        Frame.from_compressed(compressed(b'', 'jp2'))


@pytest.mark.parametrize('kind', ['.png', '.jpg'])
def test_a_compressed_image_above_the_limit_is_refused(kind: str) -> None:
    data = cv2.imencode(kind, SMOOTH)[1].tobytes()  # 64x48
    assert Frame.from_compressed(compressed(data), 0.004).width == 64
    with pytest.raises(FrameError, match='64x48 pixels is above the limit of 0.003 megapixels'):
        Frame.from_compressed(compressed(data), 0.003)


def test_a_raw_image_above_the_limit_is_refused() -> None:
    image = message(SMOOTH.tobytes(), 48, 64, 3 * 64, 'bgr8')
    assert Frame.from_image(image, 0.004).width == 64
    with pytest.raises(FrameError, match='above the limit of 0.003 megapixels; raise max_mega'):
        Frame.from_image(image, 0.003)


def test_stamp_splits_and_joins_nanoseconds() -> None:
    assert Stamp.from_ns(1_500_000_007) == Stamp(1, 500_000_007)
    assert Stamp(1, 500_000_007).ns == 1_500_000_007


@pytest.mark.parametrize('little_endian', [True, False])
def test_the_stamp_of_a_serialized_message(little_endian: bool) -> None:
    made = rec.image(rec.picture(1), 'bgr8', 1_234_000_567)
    data = rec.TYPESTORE.serialize_cdr(made, rec.IMAGE, little_endian=little_endian)
    assert Stamp.of_message(bytes(data)) == Stamp(1, 234_000_567)


def test_a_cut_message_has_no_stamp() -> None:
    with pytest.raises(struct.error):
        Stamp.of_message(b'\0\1\0\0\1\0')


@pytest.mark.parametrize('kind', ['.jpg', '.png'])
def test_a_compressed_mosaic_becomes_colours(kind: str) -> None:
    colours = np.zeros((32, 48, 3), np.uint8)
    colours[:] = (200, 120, 40)
    mosaic = np.empty((32, 48), np.uint8)
    mosaic[:] = 120
    mosaic[::2, ::2], mosaic[1::2, 1::2] = 40, 200  # RGGB
    data = cv2.imencode(kind, mosaic, (cv2.IMWRITE_JPEG_QUALITY, 100))[1].tobytes()
    frame = Frame.from_compressed(compressed(data, f'bayer_rggb8; {kind[1:]} compressed '))
    assert np.abs(frame.pixels.astype(int) - colours)[4:-4, 4:-4].max() < 8
    grey = Frame.from_compressed(compressed(data, 'mono8; jpeg compressed '))
    assert np.array_equal(grey.pixels[..., 0], grey.pixels[..., 2])
    with pytest.raises(FrameError, match="'bayer_xyzw8; .* names an unknown Bayer pattern"):
        Frame.from_compressed(compressed(data, 'bayer_xyzw8; jpeg compressed '))


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_images_are_no_pictures(encoding: str) -> None:
    with pytest.raises(FrameError, match=f'an image of {encoding} is a depth image'):
        Frame.from_image(message(bytes(8 * 16 * 4), 8, 16, 64, encoding))
    data = cv2.imencode('.png', np.zeros((8, 16), np.uint16))[1].tobytes()
    with pytest.raises(FrameError, match=f'an image of {encoding} is a depth image'):
        Frame.from_compressed(compressed(data, f'{encoding}; png compressed '))


@pytest.mark.parametrize('encoding', ['mono16', 'bayer_rggb16', 'bgr16'])
def test_ten_bits_of_sixteen_are_scaled_by_what_they_hold(encoding: str) -> None:
    channels = 3 if encoding == 'bgr16' else 1
    data = np.full((8, 16, channels), 1000, np.uint16).tobytes()
    image = message(data, 8, 16, 32 * channels, encoding)
    assert Frame.from_image(image).pixels.max() == 1000 >> 8
    assert Frame.from_image(image, depth=BitDepth(10)).pixels.max() == 1000 >> 2
    with pytest.raises(FrameError, match='up to 1000'):
        Frame.from_image(image, depth=BitDepth(8))
    png = cv2.imencode('.png', np.full((8, 16), 1000, np.uint16))[1].tobytes()
    packed = compressed(png, 'mono16; png compressed ')
    assert Frame.from_compressed(packed, depth=BitDepth(10)).pixels.max() == 1000 >> 2


def test_a_picture_of_fractions_is_refused() -> None:
    """Nobody knows which of them is white."""
    data = cv2.imencode('.tiff', np.full((8, 16, 3), 64, np.float32))[1].tobytes()
    with pytest.raises(FrameError, match='TIFF image of .*f32le: .* convert it to 8 or 16 bits'):
        Frame.from_compressed(compressed(data, 'tiff'))
