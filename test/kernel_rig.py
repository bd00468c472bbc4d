# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames on host memory, for the kernels that are compiled for the CPU."""

from __future__ import annotations

import cv2
import numpy as np

from segformer_ros.engines.cuda import launches
from segformer_ros.frame import Frame

NETWORK = (64, 96)
"""Size of the network under test: (height, width)."""

ENCODINGS = {
    'bgr8': cv2.COLOR_BGR2BGRA,  # there and back
    'rgb8': cv2.COLOR_BGR2RGB,
    'bgra8': cv2.COLOR_BGR2BGRA,
    'rgba8': cv2.COLOR_BGR2RGBA,
    'mono8': cv2.COLOR_BGR2GRAY,
}


def address(array: np.ndarray) -> int:
    """Where an array lies, as the jobs take it."""
    return int(array.ctypes.data)


def frame_of(encoding: str, size: tuple[int, int], padding: int = 0, seed: int = 0) -> Frame:
    """A frame of smooth colours and noise, its rows `padding` pixels apart."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (size[1] + padding, size[0]))
    pixels = cv2.add(smooth, rng.integers(0, 30, smooth.shape, np.uint8))
    if encoding != 'bgr8':
        pixels = cv2.cvtColor(pixels, ENCODINGS[encoding])
    return Frame.from_array(pixels[:, : size[1]], encoding)


def image_of(frame: Frame) -> launches.Image:
    """The frame's pixels as the jobs take them."""
    pixels = frame.pixels
    return launches.Image(
        address(pixels), pixels.strides[0], frame.height, frame.width, frame.encoding
    )
