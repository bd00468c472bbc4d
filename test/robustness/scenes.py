# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Scenes: streets whose free road is known, as the messages of one camera that sees them."""

from __future__ import annotations

import math
from array import array
from typing import NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segformer_ros.classes import load_class_map

HEIGHT, WIDTH = 128, 256
"""Of the images: the fake network's own input, so that its labels are exact."""

CAMERA_HEIGHT = 1.5
"""Metres from the ground to the lens, which looks straight ahead."""

FIELD_OF_VIEW = math.radians(120.0)
"""Wide, so that a column of the mask spans more than one beam of the scan."""

FOCAL = WIDTH / 2 / math.tan(FIELD_OF_VIEW / 2)
WALL_ROWS = (80, 96, 112)
CLOSED = HEIGHT
"""As the row of a wall's foot: the wall fills the image."""

FRAME = 'camera_optical'

_MAP = load_class_map('cityscapes')


class Scene(NamedTuple):
    """A road from the lower border of the image up to a wall right across it.

    foot: the first row of road, of WALL_ROWS; CLOSED where there is no road.
    """

    foot: int

    @property
    def distance(self) -> float:
        """Metres from the camera to the wall; 0 where the image shows no road."""
        return 0.0 if self.foot >= HEIGHT else FOCAL * CAMERA_HEIGHT / (self.foot - HEIGHT / 2)

    @property
    def labels(self) -> np.ndarray:
        """Train ids (HEIGHT, WIDTH) uint8."""
        labels = np.full((HEIGHT, WIDTH), _MAP.ids('building')[0], np.uint8)
        labels[self.foot :] = _MAP.ids('road')[0]
        return labels

    @property
    def pixels(self) -> np.ndarray:
        """(HEIGHT, WIDTH, 3) uint8 BGR in the class colours, which the fake engine reads back."""
        return np.ascontiguousarray(_MAP.palette_bgr[self.labels])

    def noisy(self, rng: np.random.Generator) -> np.ndarray:
        """`pixels` with the texture that makes a JPEG of them as long as one of a street."""
        noise = rng.integers(-20, 21, (HEIGHT, WIDTH, 3))
        return np.clip(self.pixels + noise, 0, 255).astype(np.uint8)


def raw_image(pixels: np.ndarray, encoding: str = 'bgr8') -> Image:
    """Image message of (H, W) or (H, W, C) uint8 pixels."""
    message = Image(encoding=encoding, height=pixels.shape[0], width=pixels.shape[1])
    message.header.frame_id = FRAME
    message.step = pixels.strides[0]
    message.data = array('B', pixels.tobytes())
    return message


def compressed_image(data: bytes, kind: str = 'jpeg') -> CompressedImage:
    """CompressedImage message of a file's bytes."""
    message = CompressedImage(format=kind, data=array('B', data))
    message.header.frame_id = FRAME
    return message


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    """JPEG file of (H, W, 3) BGR pixels; options of cv2.imencode."""
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 95, *options])[1].tobytes()


def png(pixels: np.ndarray) -> bytes:
    """PNG file of pixels in OpenCV's order."""
    return cv2.imencode('.png', pixels)[1].tobytes()


def scene_message(
    scene: Scene, compressed: bool, lossless: bool = True
) -> Image | CompressedImage:
    """A whole, plain message of a scene, as the node subscribes to it."""
    if not compressed:
        return raw_image(scene.pixels)
    if lossless:
        return compressed_image(png(scene.pixels), 'png')
    return compressed_image(jpeg(scene.pixels))


def camera_info(height: int = HEIGHT, width: int = WIDTH) -> CameraInfo:
    """Calibration of the pinhole camera that sees the scenes."""
    message = CameraInfo(height=height, width=width, distortion_model='plumb_bob')
    message.header.frame_id = FRAME
    cx, cy = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    message.d = [0.0] * 5
    message.k = [FOCAL, 0.0, cx, 0.0, FOCAL, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [FOCAL, 0.0, cx, 0.0, 0.0, FOCAL, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message
