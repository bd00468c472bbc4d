# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Trees, bushes and hedges as sprites with shaped outlines."""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

import cv2
import numpy as np

from tools.street.texture import Texture, filled, noise, textured, tile_to

_LEAVES = ((45, 90, 70), (50, 105, 95), (40, 75, 50), (50, 95, 100), (42, 80, 88), (55, 70, 60))


def _leaf_picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    color = np.array(_LEAVES[int(rng.integers(len(_LEAVES)))]) * rng.uniform(0.7, 1.2)
    seed = int(rng.integers(6))
    grain = tile_to(noise(256, (32, 64, 128, 256), seed), height, width, int(rng.integers(256)))
    clump = tile_to(noise(256, (6, 12, 24), seed + 6), height, width, int(rng.integers(256)))
    shade = np.linspace(0.35, -0.35, height, dtype=np.float32)[:, None]
    return textured((color[0], color[1], color[2]), 0.9 * grain + 1.0 * clump + shade, 0.33)


@lru_cache(maxsize=24)
def crown(style: int) -> Texture:
    """A leafy crown, (192, 192): ragged outline, holes to the sky near the rim."""
    rng = np.random.default_rng((81, style))
    size = 192
    v, u = np.mgrid[0:size, 0:size].astype(np.float32) / size * 2 - 1
    stretch, pointed = rng.uniform(0.8, 1.35), rng.uniform(0, 0.5)
    radius = np.sqrt((u * stretch * (1 - pointed * np.minimum(v, 0))) ** 2 + v**2)
    lumps = tile_to(
        noise(256, (5, 9, 14), int(rng.integers(8))),
        size,
        size,
        int(rng.integers(256)),
        int(rng.integers(256)),
    )
    leaves = tile_to(noise(256, (48, 128, 256), int(rng.integers(8))), size, size)
    solid = 0.80 - radius + rng.uniform(0.10, 0.2) * lumps
    border = np.minimum(1 - np.abs(u), 1 - np.abs(v)) * 4
    solid = np.minimum(solid, border - 0.05)
    sparse = rng.uniform(0, 0.25)  # how much sky shows through
    alpha = np.clip((np.minimum(solid, 0.35 - sparse) + (0.1 + sparse) * leaves) * 12 + 0.5, 0, 1)
    alpha *= solid > -0.08
    mask = (solid > 0).astype(np.uint8) * 255
    picture = np.dstack([_leaf_picture(rng, size, size), (alpha * 255).astype(np.uint8)])
    return Texture(picture, mask)


@lru_cache(maxsize=24)
def bare_crown(style: int) -> Texture:
    """A crown without leaves, (256, 256): branches against the sky inside an outline."""
    rng = np.random.default_rng((82, style))
    size = 256
    picture = np.zeros((size, size, 4), np.uint8)
    base = rng.uniform(25, 60)
    outline = np.zeros((size, size), np.uint8)
    _branch(
        rng,
        picture,
        outline,
        (size / 2, size),
        -np.pi / 2,
        size * 0.24,
        8.0,
        base,
        int(rng.integers(5, 7)),
    )
    mask = filled(outline, 33)
    # Twigs too fine to draw: a haze of dark specks, thicker toward the rim.
    twigs = tile_to(noise(256, (64, 128, 256), int(rng.integers(8))), size, size)
    rim = np.linspace(1.2, -0.6, size, dtype=np.float32)[:, None]
    haze = (twigs > 1.6 - rim * rng.uniform(0.3, 1.0)) & (mask > 0) & (picture[..., 3] == 0)
    picture[haze] = (base * 0.9, base, base * 1.1, 150)
    return Texture(picture, mask)


def _branch(
    rng: np.random.Generator,
    picture: np.ndarray,
    outline: np.ndarray,
    start: Tuple[float, float],
    angle: float,
    length: float,
    width: float,
    tone: float,
    depth: int,
) -> None:
    size = picture.shape[0]
    end = (
        float(np.clip(start[0] + np.cos(angle) * length, 4, size - 4)),
        float(np.clip(start[1] + np.sin(angle) * length, 4, size)),
    )
    points = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    shade = tone * rng.uniform(0.8, 1.2)
    cv2.line(picture, *points, (shade, shade * 1.05, shade * 1.15, 255), max(1, round(width)))
    cv2.line(outline, *points, 255, max(1, round(width)))
    if depth == 0:
        return
    for side in (-1, 1) if rng.random() < 0.75 else (-1, 0, 1):
        turn = side * rng.uniform(0.25, 0.7) + rng.normal(0, 0.12)
        _branch(
            rng,
            picture,
            outline,
            end,
            angle + turn,
            length * rng.uniform(0.62, 0.85),
            width * 0.66,
            tone,
            depth - 1,
        )


@lru_cache(maxsize=8)
def trunk(style: int) -> Texture:
    """Bark, (128, 24)."""
    rng = np.random.default_rng((83, style))
    grain = tile_to(noise(256, (16, 64, 256), style % 8), 128, 256)[:, ::8][:, :24]
    tone = rng.uniform(45, 80)
    round_off = np.cos(np.linspace(-1.2, 1.2, 24))[None, :, None]
    bark = textured((tone * 0.85, tone * 0.95, tone), grain, 0.2) * (0.4 + 0.6 * round_off)
    return Texture(bark.astype(np.uint8))


@lru_cache(maxsize=8)
def hedge(style: int) -> Texture:
    """Four metres of clipped leaves, (64, 256)."""
    rng = np.random.default_rng((84, style))
    return Texture(cv2.GaussianBlur(_leaf_picture(rng, 64, 256), (0, 0), 0.7))


@lru_cache(maxsize=12)
def bush(style: int) -> Texture:
    """A bush that stands on the ground, (96, 128)."""
    rng = np.random.default_rng((85, style))
    height, width = 96, 128
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = u / width * 2 - 1, 1 - v / height
    lumps = tile_to(
        noise(256, (6, 12, 30), int(rng.integers(8))), height, width, int(rng.integers(256))
    )
    top = 0.85 * np.sqrt(np.clip(1 - u**2 * 1.05, 0, 1))
    alpha = np.clip((top - v + 0.1 * lumps) * 10, 0, 1) * (np.abs(u) < 0.95)
    alpha[v < 0.1] = np.maximum(alpha[v < 0.1], (np.abs(u) < 0.8)[v < 0.1])
    return Texture(np.dstack([_leaf_picture(rng, height, width), (alpha * 255).astype(np.uint8)]))
