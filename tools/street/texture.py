# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Textures with lazily built, anisotropic smaller copies (rip-maps), and tileable noise."""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, Optional, Tuple

import cv2
import numpy as np

Pyramid = Dict[Tuple[int, int], np.ndarray]


class Texture:
    """A picture to paint on a surface.

    ``pixels`` is (H, W, 3) uint8 BGR albedo, or (H, W, 4) with what is *visible* in the fourth
    channel. ``mask`` (H, W) uint8, only beside such pixels, is the outline as an annotator would
    draw it (holes filled); without it the outline is the visible part.
    """

    def __init__(self, pixels: np.ndarray, mask: Optional[np.ndarray] = None) -> None:
        self.opaque = pixels.shape[2] == 3
        self.outlined = mask is not None
        self._pixels: Pyramid = {(0, 0): pixels if self.opaque else _bleed(pixels)}
        self._mask: Pyramid = {} if mask is None else {(0, 0): np.ascontiguousarray(mask)}
        self._mirrored: Optional[Texture] = None

    @property
    def size(self) -> Tuple[int, int]:
        """(height, width) in texels."""
        height, width = self._pixels[0, 0].shape[:2]
        return height, width

    def pixels(self, level: Tuple[int, int]) -> np.ndarray:
        """The picture with its height and width halved (level[0], level[1]) times."""
        return _level(self._pixels, level)

    def mirrored(self) -> Texture:
        """The same seen in a mirror; kept, so that its smaller copies are made once."""
        if self._mirrored is None:
            mask = self._mask.get((0, 0))
            self._mirrored = Texture(
                np.ascontiguousarray(self._pixels[0, 0][:, ::-1]),
                None if mask is None else mask[:, ::-1],
            )
            self._mirrored._mirrored = self
        return self._mirrored

    def mask(self, level: Tuple[int, int]) -> np.ndarray:
        """The outline (H, W) uint8 at a level; only for textures that have their own."""
        return _level(self._mask, level)


def _level(pyramid: Pyramid, level: Tuple[int, int]) -> np.ndarray:
    if level not in pyramid:
        base = pyramid[0, 0]
        size = (max(1, base.shape[1] >> level[1]), max(1, base.shape[0] >> level[0]))
        pyramid[level] = cv2.resize(base, size, interpolation=cv2.INTER_AREA)
    return pyramid[level]


def _bleed(bgra: np.ndarray) -> np.ndarray:
    """Give invisible texels the colour of their visible neighbours, so that edges stay clean."""
    alpha = bgra[..., 3:] * np.float32(1 / 255)
    mean = np.array(cv2.mean(bgra, mask=(bgra[..., 3] > 127).astype(np.uint8))[:3], np.float32)
    size = (9, 9)
    spread = cv2.blur(alpha, size)[..., None] + np.float32(1e-3)
    near = (cv2.blur(bgra[..., :3] * alpha, size) + mean * np.float32(1e-3)) / spread
    hidden = bgra[..., 3:] < 128
    color = np.where(hidden, np.clip(near, 0, 255).astype(np.uint8), bgra[..., :3])
    return np.dstack([color, bgra[..., 3]])


def filled(drawn: np.ndarray, gap: int) -> np.ndarray:
    """Outline (H, W) uint8 round strokes as an annotator draws it: gaps closed, holes filled."""
    padded = np.pad(drawn, gap)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
    closed = cv2.morphologyEx((padded > 127).astype(np.uint8), cv2.MORPH_CLOSE, disc)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = cv2.drawContours(np.zeros_like(padded), contours, -1, 255, -1)
    return outline[gap:-gap, gap:-gap]


@lru_cache(maxsize=64)
def noise(size: int, octaves: Tuple[int, ...], seed: int) -> np.ndarray:
    """Tileable smooth noise, (size, size) float32 with mean 0 and standard deviation 1.

    ``octaves`` lists the cells per side of each layer; a layer's weight falls with its cells.
    """
    rng = np.random.default_rng((seed, size))
    total = np.zeros((size, size), np.float32)
    for cells in octaves:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode='wrap')
        scale = size / cells
        position = (np.arange(size, dtype=np.float32) + 0.5) / scale - 0.5 + 2
        u, v = np.meshgrid(position, position)
        total += cv2.remap(wrapped, u, v, cv2.INTER_CUBIC) / np.float32(cells**0.5)
    total -= total.mean()
    total /= total.std() + 1e-6
    total.setflags(write=False)
    return total


def tile_to(
    pattern: np.ndarray,
    height: int,
    width: int,
    row: int = 0,
    col: int = 0,
) -> np.ndarray:
    """Repeat a (size, size) pattern over (height, width), starting at texel (row, col)."""
    rows = (np.arange(height) + row) % pattern.shape[0]
    cols = (np.arange(width) + col) % pattern.shape[1]
    tiled: np.ndarray = pattern[rows[:, None], cols[None, :]]
    return tiled


def textured(
    color: Tuple[float, float, float],
    pattern: np.ndarray,
    contrast: float,
) -> np.ndarray:
    """Colour (BGR 0..255) modulated by a pattern (H, W) of unit deviation: (H, W, 3) uint8."""
    gain = 1 + contrast * pattern[..., None]
    return np.clip(np.asarray(color, np.float32) * gain, 0, 255).astype(np.uint8)
