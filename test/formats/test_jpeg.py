# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""JPEG: whole files give OpenCV's pixels, damaged and boundless ones a reason."""

from __future__ import annotations

import struct
import sys
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from segformer_ros.formats import decode, decode_stored
from segformer_ros.formats.limits import FrameError

END = b'\xff\xd9'
_COARSE = np.random.default_rng(7).integers(0, 256, (12, 16, 3), np.uint8)
SCENE = cv2.resize(_COARSE, (322, 239), interpolation=cv2.INTER_CUBIC)

FORMS: dict[str, list[int]] = {
    'baseline': [],
    'coarse': [cv2.IMWRITE_JPEG_QUALITY, 20],
    'fine': [cv2.IMWRITE_JPEG_QUALITY, 100],
    'progressive': [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    'restarts': [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
    'h2v1': [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422],
    '4:4:4': [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


def encoded(form: str = 'baseline', pixels: np.ndarray = SCENE) -> bytes:
    return cv2.imencode('.jpg', pixels, FORMS[form])[1].tobytes()


def decoded(data: bytes, **limit: Any) -> np.ndarray:
    return decode(np.frombuffer(data, np.uint8), **limit)


def opencv(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels)


def scan(data: bytes) -> int:
    """Where the first scan's entropy-coded data begin."""
    at = data.index(b'\xff\xda')
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], 'big')


def refused(data: bytes) -> bool:
    try:
        decoded(data)
    except FrameError:
        return True
    return False


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('pixels', [SCENE, SCENE[:5, :7], SCENE[..., 0]], ids=str)
def test_whole_files_give_the_pixels_of_opencv(form: str, pixels: np.ndarray) -> None:
    data = encoded(form, pixels)
    np.testing.assert_array_equal(decoded(data), opencv(data))


def test_one_channel_is_decoded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []
    decode_jpeg = simplejpeg.decode_jpeg

    def counted(data: bytes, kind: str, **options: Any) -> np.ndarray:
        kinds.append(kind)
        return np.asarray(decode_jpeg(data, kind, **options))

    monkeypatch.setattr(simplejpeg, 'decode_jpeg', counted)
    stored = decode_stored(np.frombuffer(encoded(pixels=SCENE[..., 0]), np.uint8))
    assert stored.shape == SCENE.shape[:2]
    assert kinds == ['GRAY', 'GRAY']  # the second for the means of its blocks


@pytest.mark.parametrize('grey', [0, 255])
def test_black_and_white_are_no_damage(grey: int) -> None:
    for form in FORMS:
        data = encoded(form, np.full((64, 64, 3), grey, np.uint8))
        np.testing.assert_array_equal(decoded(data), opencv(data))


def test_the_end_marker_alone_is_no_loss() -> None:
    data = encoded()
    for kept in (data[:-2], data[:-1], data[:-2] + bytes(100), data + bytes(100)):
        np.testing.assert_array_equal(decoded(kept), opencv(data))


def test_zeros_that_a_camera_fills_up_with_are_no_damage() -> None:
    data = encoded()
    np.testing.assert_array_equal(decoded(data[:-2] + bytes(30) + END), opencv(data))


@pytest.mark.parametrize('form', FORMS)
def test_half_a_file_is_refused_with_an_end_marker_too(form: str) -> None:
    data = encoded(form)
    half = data[: (scan(data) + len(data)) // 2]
    for cut in (half, half + END, half + bytes(len(half)) + END):
        with pytest.raises(FrameError, match=f'damaged JPEG image of {len(cut)} bytes: '):
            decoded(cut)


@pytest.mark.parametrize('form', ['baseline', 'progressive', 'restarts'])
@pytest.mark.parametrize('lost', [64, 512])
def test_nearly_all_files_with_a_piece_missing_are_refused(form: str, lost: int) -> None:
    """Where few blocks are lost, the bits behind them may happen to make up for them."""
    data = encoded(form)
    begins = range(scan(data), len(data) - 2 - lost, 101)
    taken = sum(not refused(data[:begin] + data[begin + lost :]) for begin in begins)
    assert taken <= len(begins) * 0.05


def test_a_shift_that_no_decoder_complains_of_is_refused() -> None:
    """A wrong bit in the first block's mean makes all of the image brighter or darker."""
    pixels = SCENE.copy()
    pixels[:16, :16] = 235
    data = encoded(pixels=pixels)
    begin, seen = scan(data), 0
    for bit in range(16):
        wrong = bytearray(data)
        wrong[begin + bit // 8] ^= 0x80 >> bit % 8
        try:
            shifted = simplejpeg.decode_jpeg(bytes(wrong), 'BGR').astype(int)
        except ValueError:
            continue
        if abs((shifted - opencv(data)).mean()) > 60:
            seen += 1
            with pytest.raises(FrameError, match='blocks of .* where 0 to 255 are possible'):
                decoded(bytes(wrong))
    assert seen


def test_a_header_that_claims_a_gigapixel_is_refused() -> None:
    data = bytearray(encoded())
    size = data.index(b'\xff\xc0') + 5
    data[size : size + 4] = struct.pack('>HH', 32768, 32768)
    with pytest.raises(FrameError, match='32768x32768 pixels is above the limit of 25 megapix'):
        decoded(bytes(data))
    with pytest.raises(FrameError, match='claims 3221225472 bytes of pixels, which it cannot'):
        decoded(bytes(data), max_megapixels=2000)
    data[size : size + 4] = bytes(4)
    with pytest.raises(FrameError, match='image of 0x0 pixels'):
        decoded(bytes(data))


def test_no_part_of_a_file_ends_in_another_error() -> None:
    data, random = encoded(), np.random.default_rng(1)
    for length in range(2, len(data), 17):
        refused(data[:length])
    for _ in range(300):
        wrong = bytearray(data)
        for at in random.integers(2, 700, 3):
            wrong[at] = random.integers(256)
        refused(bytes(wrong))
    assert refused(b'\xff\xd8abcd\xff\xd9')


def test_damage_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded()
    for begin in range(scan(data), len(data) - 300, 301):
        refused(data[:begin] + data[begin + 100 :])
    assert capfd.readouterr() == ('', '')


def test_without_simplejpeg_jpeg_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'simplejpeg', None)
    with pytest.raises(FrameError, match='^JPEG images need simplejpeg.*pip install simplejpeg'):
        decoded(encoded())
