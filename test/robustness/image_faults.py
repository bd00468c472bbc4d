# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Faults of sensor_msgs/Image: sizes, steps, data and encodings that do not go together."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from robustness.faults import Camera, Leg, Outcome, Publish, Step, fault
from robustness.scenes import CLOSED, FRAME, HEIGHT, WIDTH, Scene, raw_image
from sensor_msgs.msg import Image

MEGABYTES = 3_000_000

_BITS = {
    'rgb8': 24, 'bgr8': 24, 'rgba8': 32, 'bgra8': 32, 'mono8': 8, 'mono16': 16,
    'rgb16': 48, 'bgr16': 48, 'rgba16': 64, 'bgra16': 64,
    **{f'bayer_{order}{bits}': bits for order in ('rggb', 'bggr', 'gbrg', 'grbg')
       for bits in (8, 16)},
    'yuv422': 16, 'uyvy': 16, 'yuv422_yuy2': 16, 'yuyv': 16, 'nv12': 12, 'nv21': 12, 'nv24': 24,
    **{f'{bits}{kind}C{count}': bits * count for bits, kinds in ((8, 'US'), (16, 'US'), (32, 'SF'),
       (64, 'F')) for kind in kinds for count in (1, 2, 3, 4)},
}  # fmt: skip
"""Bits of a pixel in every encoding that sensor_msgs names."""

Change = Callable[[np.random.Generator, Image], None]


def _image_fault(name: str, outcome: Outcome = Outcome.REFUSED) -> Callable[[Change], Change]:
    """A fault that changes one field or two of a whole image of a wall."""

    def enter(change: Change) -> Change:
        def make(rng: np.random.Generator, camera: Camera) -> list[Step]:
            del camera
            message = raw_image(Scene(CLOSED).pixels)
            change(rng, message)
            return [Publish(message)]

        fault(name, outcome, Leg.RAW)(make)
        return change

    return enter


def _set(name: str, outcome: Outcome = Outcome.REFUSED, **fields: Any) -> None:
    """A fault that sets fields."""

    @_image_fault(name, outcome)
    def change(rng: np.random.Generator, message: Image) -> None:
        del rng
        for field, value in fields.items():
            setattr(message, field, value)


_set('an encoding of megabytes', encoding='x' * MEGABYTES)
_set('an encoding that drives terminals', encoding='\x1b[2Jbgr8\r\n[FATAL] [0.0] [node]: stop')
_set('no encoding', encoding='')
_set('a step of zero', step=0)
_set('a step of 4 GB', step=2**32 - 1)
_set('no data', data=array('B'))
_set('a width of zero', width=0)
_set('a height of zero', height=0)
_set('a claim of 65535 x 65535', width=65535, height=65535, step=3 * 65535)
_set('a claim of 32768 x 32768', width=32768, height=32768, step=3 * 32768)
_set('a row of 4 G pixels', width=2**32 - 1, height=1, step=2**32 - 1)
_set('the wrong byte order', Outcome.ANSWERED, is_bigendian=255)


@_image_fault('an unknown encoding')
def _unknown(rng: np.random.Generator, message: Image) -> None:
    message.encoding = ''.join(chr(code) for code in rng.integers(32, 0x300, rng.integers(1, 40)))


@_image_fault('a step shorter than a row')
def _short_step(rng: np.random.Generator, message: Image) -> None:
    message.step = int(rng.integers(1, 3 * WIDTH))


@_image_fault('data cut short')
def _short_data(rng: np.random.Generator, message: Image) -> None:
    message.data = message.data[: int(rng.integers(1, len(message.data)))]


@_image_fault('data longer than the image', Outcome.ANSWERED)
def _long_data(rng: np.random.Generator, message: Image) -> None:
    message.data = message.data + array('B', rng.bytes(int(rng.integers(1, 100_000))))


@_image_fault('padded rows', Outcome.ANSWERED)
def _padded(rng: np.random.Generator, message: Image) -> None:
    pad = int(rng.integers(1, 600))
    rows = np.frombuffer(message.data, np.uint8).reshape(HEIGHT, -1)
    message.data = array('B', np.pad(rows, ((0, 0), (0, pad))).tobytes())
    message.step += pad


@_image_fault('any encoding, any size', Outcome.SAFE)
def _encodings(rng: np.random.Generator, message: Image) -> None:
    message.encoding = str(rng.choice(list(_BITS)))
    message.height, message.width = (int(side) for side in rng.integers(1, 200, 2))
    message.step = -(-message.width * _BITS[message.encoding] // 8)
    message.data = array('B', rng.bytes(message.step * message.height * 2))


@_image_fault('fields at random', Outcome.SAFE)
def _fields(rng: np.random.Generator, message: Image) -> None:
    limit = int(rng.choice([4, 300, 70_000, 2**32]))
    message.encoding = str(rng.choice([*_BITS, 'jpeg', 'BGR8', 'bgr8 ']))
    message.height, message.width, message.step = (int(n) for n in rng.integers(0, limit, 3))
    message.is_bigendian = int(rng.integers(0, 256))
    message.data = array('B', rng.bytes(int(rng.integers(0, 200_000))))


@fault('another size than camera_info', Outcome.NO_METRES, Leg.RAW)
def _another_size(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    height, width = (int(side) for side in rng.integers(1, 120, 2))
    return [Publish(raw_image(np.zeros((height, width, 3), np.uint8)))]


@fault('a large image', Outcome.NO_METRES, Leg.RAW)
def _large(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    return [Publish(raw_image(rng.integers(0, 256, (1080, 1920, 3), np.uint8)))]


@fault('a strip one pixel high', Outcome.SAFE, Leg.RAW)
def _strip(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    shape = (1, int(rng.integers(2000, 40_000)), 3)
    pixels = np.zeros(shape if rng.random() < 0.5 else (shape[1], 1, 3), np.uint8)
    message = raw_image(pixels)
    message.header.frame_id = FRAME
    return [Publish(message)]
