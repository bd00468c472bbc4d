# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Masonry, garden walls, roofs and fences as textures, drawn from a style number."""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

import cv2
import numpy as np

from tools.street.texture import Texture, noise, textured, tile_to

RES = 28  # texels per metre

Color = Tuple[float, float, float]

MATERIALS = (  # BGR albedo, kind
    ((62, 78, 138), 'brick'),
    ((74, 92, 142), 'brick'),
    ((92, 124, 152), 'brick'),
    ((120, 158, 180), 'brick'),
    ((58, 66, 92), 'brick'),
    ((84, 98, 122), 'brick'),
    ((138, 164, 178), 'stone'),
    ((148, 158, 164), 'stone'),
    ((112, 128, 138), 'stone'),
    ((205, 213, 218), 'plain'),
    ((172, 194, 206), 'plain'),
    ((176, 180, 182), 'plain'),
    ((150, 172, 196), 'plain'),
    ((122, 122, 120), 'panel'),
    ((90, 94, 98), 'panel'),
    ((168, 172, 172), 'panel'),
)


def masonry(rng: np.random.Generator, height: int, width: int, material: int) -> np.ndarray:
    """Bare wall (height, width, 3) uint8."""
    color, kind = MATERIALS[material % len(MATERIALS)]
    tone = rng.uniform(0.75, 1.1) * rng.uniform(0.96, 1.04, 3)
    color = (color[0] * tone[0], color[1] * tone[1], color[2] * tone[2])
    seed = int(rng.integers(8))
    grain = tile_to(noise(256, (128, 256), seed), height, width)
    dirt = tile_to(noise(256, (2, 5, 11, 23), seed + 8), height, width)
    wall = textured(color, 0.7 * grain + dirt + _streaks(rng, height, width), 0.08)
    if kind == 'brick':
        wall = bricks(rng, wall, 3, 9)
    elif kind == 'stone':
        wall = bricks(rng, wall, 9, 20)
    elif kind == 'panel':
        step = int(rng.integers(30, 70))
        wall[:, ::step] //= 2
        wall[::step] //= 2
    shade = np.linspace(1.05, 0.85, height, dtype=np.float32)[:, None, None]
    return np.clip(wall * shade, 0, 255).astype(np.uint8)


def _streaks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Dirt that the rain draws down a wall, (height, width) float32."""
    row = cv2.GaussianBlur(rng.normal(0, 1, (1, width)).astype(np.float32), (0, 0), 1.5)
    fade = np.linspace(1.6, 0.2, height, dtype=np.float32)[:, None]
    streaks: np.ndarray = np.minimum(row, 0) * fade * rng.uniform(0.3, 1.2)
    return streaks


def bricks(rng: np.random.Generator, wall: np.ndarray, rise: int, run: int) -> np.ndarray:
    """A wall (H, W, 3) uint8 laid in bricks of `rise` x `run` texels, each of its own tone."""
    height, width = wall.shape[:2]
    rows, cols = height // rise + 1, width // run + 2
    tone = rng.normal(1, 0.1, (rows, cols)).astype(np.float32)
    y, x = np.arange(height) // rise, np.arange(width)
    shift = (y % 2) * (run // 2)
    gain = tone[y[:, None], (x[None] + shift[:, None]) // run]
    joint = (np.arange(height) % rise == 0)[:, None] | ((x[None] + shift[:, None]) % run == 0)
    return np.clip(wall * np.where(joint, 1.12, gain)[..., None], 0, 255).astype(np.uint8)


@lru_cache(maxsize=32)
def bare_wall(style: int, width: int, height: int) -> Texture:
    """A gable or garden wall without openings; sizes in metres."""
    rng = np.random.default_rng((72, style))
    return Texture(masonry(rng, max(1, height) * RES, max(1, width) * RES, int(rng.integers(7))))


@lru_cache(maxsize=16)
def roof(style: int) -> Texture:
    """Slates or tiles."""
    rng = np.random.default_rng((73, style))
    color = ((75, 72, 70), (60, 70, 110), (55, 60, 85), (95, 95, 92))[style % 4]
    grain = tile_to(noise(256, (16, 64, 256), style % 8), 128, 256)
    picture = bricks(rng, textured(color, grain, 0.08), 5, 8)
    return Texture(picture)


@lru_cache(maxsize=16)
def fence(style: int) -> Texture:
    """Four metres of fence with its holes: railings, boards, wire mesh or pickets."""
    rng = np.random.default_rng((74, style))
    height, width = 96, 256
    picture = np.zeros((height, width, 4), np.uint8)
    kind = style % 4
    if kind == 0:  # iron railings
        ink = (*rng.uniform(10, 70, 3).tolist(), 255)
        for x in range(4, width, 9):
            cv2.line(picture, (x, 4), (x, height), ink, 2)
        for y in (12, height - 14):
            cv2.line(picture, (0, y), (width, y), ink, 3)
    elif kind == 1:  # boards
        base = rng.uniform(60, 130) * np.array([0.62, 0.8, 1.0])
        for x in range(0, width, 16):
            tone = base * rng.uniform(0.8, 1.15)
            cv2.rectangle(
                picture, (x, int(rng.integers(0, 5))), (x + 14, height), (*tone.tolist(), 255), -1
            )
            cv2.line(picture, (x + 15, 0), (x + 15, height), (25, 30, 35, 255), 1)
    elif kind == 2:  # wire mesh between posts
        for x in range(-height, width, 7):
            cv2.line(picture, (x, 0), (x + height, height), (120, 125, 120, 190), 1)
            cv2.line(picture, (x + height, 0), (x, height), (120, 125, 120, 190), 1)
        for x in (2, width // 2, width - 3):
            cv2.line(picture, (x, 0), (x, height), (110, 115, 110, 255), 5)
    else:  # pedestrian guard rail
        ink = (*rng.uniform(90, 190, 3).tolist(), 255)
        for x in range(2, width, 11):
            cv2.line(picture, (x, 8), (x, height - 12), ink, 1)
        for y in (5, height - 12):
            cv2.line(picture, (0, y), (width, y), ink, 3)
        for x in (2, width // 2, width - 3):
            cv2.line(picture, (x, 2), (x, height), ink, 4)
    return Texture(picture, np.full((height, width), 255, np.uint8))
