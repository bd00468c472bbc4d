# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fronts of buildings as textures, drawn from a style number."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Tuple

import cv2
import numpy as np

from tools.street.texture import Texture
from tools.street.walls import MATERIALS, RES, masonry

Color = Tuple[float, float, float]
STYLES = 240  # fronts that differ
_STOREY = 3 * RES  # texels
_FRAMES: Tuple[Color, ...] = (
    (225, 228, 230),
    (225, 228, 230),
    (60, 60, 60),
    (90, 110, 120),
    (70, 90, 60),
)


class _Openings(NamedTuple):
    """The windows of one front: counts, shares of their cell, and how they are built."""

    spacing: float  # texels
    width: float
    height: float
    frame: Color
    bars: int
    lintel: float  # tone of the stone above, 0 for none
    arched: bool


def _color(rng: np.random.Generator, low: float, high: float, vividness: float) -> Color:
    """A random colour, mostly muted."""
    tone = rng.uniform(low, high)
    b, g, r = np.clip(tone * (1 + vividness * rng.uniform(-1, 1, 3)), 5, 245).tolist()
    return b, g, r


def _scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _glass(
    picture: np.ndarray,
    rng: np.random.Generator,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
) -> None:
    """Fill a pane with a dim room, a reflected sky, perhaps curtains."""
    if x1 <= x0 or y1 <= y0:
        return
    bottom = rng.uniform(12, 45)
    top = bottom + rng.uniform(0, 110) * (rng.random() < 0.7)
    shade = np.linspace(top, bottom, y1 - y0)[:, None, None]
    picture[y0:y1, x0:x1] = np.clip(shade * np.array([1.12, 1.02, 0.93]), 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        edge = x0 + int((x1 - x0) * rng.uniform(0.12, 0.4))
        cv2.rectangle(picture, (x0, y0), (edge, y1), _color(rng, 90, 190, 0.1), -1)
    if rng.random() < 0.25:
        y = y0 + int((y1 - y0) * rng.uniform(0.2, 0.7))
        cv2.rectangle(picture, (x0, y0), (x1, y), _color(rng, 140, 210, 0.08), -1)


def _window(
    picture: np.ndarray, rng: np.random.Generator, box: Tuple[int, int, int, int], style: _Openings
) -> None:
    x0, y0, x1, y1 = box
    middle, frame = (x0 + x1) // 2, style.frame
    if style.lintel:
        tone: Color = (style.lintel * 0.92, style.lintel * 0.97, style.lintel)
        cv2.rectangle(picture, (x0 - 4, y0 - 9), (x1 + 4, y0 - 2), tone, -1)
    cv2.rectangle(picture, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), frame, -1)
    if style.arched:
        cv2.ellipse(
            picture, (middle, y0), ((x1 - x0) // 2 + 2, (x1 - x0) // 2 + 2), 0, 180, 360, frame, -1
        )
        cv2.ellipse(
            picture, (middle, y0), ((x1 - x0) // 2, (x1 - x0) // 2), 0, 180, 360, (45, 42, 40), -1
        )
    _glass(picture, rng, x0, y0, x1, y1)
    for bar in range(1, style.bars):
        x = x0 + (x1 - x0) * bar // style.bars
        cv2.line(picture, (x, y0), (x, y1), frame, 1)
    cv2.line(picture, (x0, (y0 + y1) // 2), (x1, (y0 + y1) // 2), frame, 1)
    cv2.line(picture, (x0 - 2, y0), (x1 + 2, y0), (28, 28, 28), 1)  # shadow of the reveal
    cv2.line(picture, (x0, y0), (x0, y1), (35, 35, 35), 1)
    cv2.rectangle(picture, (x0 - 4, y1 + 2), (x1 + 4, y1 + 4), _scaled(frame, 0.85), -1)
    cv2.line(picture, (x0 - 3, y1 + 5), (x1 + 3, y1 + 5), (40, 40, 40), 1)


def _shopfront(picture: np.ndarray, rng: np.random.Generator, top: int) -> None:
    height, width = picture.shape[:2]
    vivid = 0.8 if rng.random() < 0.35 else 0.15
    cv2.rectangle(picture, (0, top), (width, height), _color(rng, 20, 170, vivid), -1)
    sign = max(8, int((height - top) * rng.uniform(0.14, 0.24)))
    cv2.rectangle(picture, (0, top), (width, top + sign), _color(rng, 15, 200, vivid), -1)
    ink, x = _color(rng, 130, 250, 0.2), int(width * rng.uniform(0.05, 0.3))
    while x < width * 0.85:  # lettering
        step = int(rng.integers(3, 9))
        cv2.line(picture, (x, top + sign // 3), (x + step - 2, top + 2 * sign // 3), ink, 2)
        x += step + (6 if rng.random() < 0.15 else 0)
    panes = int(rng.integers(2, 7))
    door = int(rng.integers(panes))
    for pane in range(panes):
        x0, x1 = int(width * (pane + 0.06) / panes), int(width * (pane + 0.94) / panes)
        low = height - (4 if pane == door else int(rng.uniform(0.08, 0.25) * (height - top)))
        y0 = top + sign + 4
        _glass(picture, rng, x0, y0, x1, low)
        for _ in range(int(rng.integers(3, 12))):  # goods, posters, reflections
            gx, gy = int(rng.integers(x0, x1 + 1)), int(rng.integers(y0, low + 1))
            size = rng.integers(2, 16, 2)
            cv2.rectangle(
                picture,
                (gx, gy),
                (min(gx + int(size[0]), x1), min(gy + int(size[1]), low)),
                _color(rng, 25, 200, 0.4),
                -1,
            )
    if rng.random() < 0.3:  # awning
        drop = int((height - top) * 0.22)
        cv2.rectangle(
            picture, (0, top + sign), (width, top + sign + drop), _color(rng, 40, 200, 0.6), -1
        )


def _ribbons(picture: np.ndarray, rng: np.random.Generator, floors: int, frame: Color) -> None:
    """Bands of glass round every storey, or a grid of panels."""
    height, width = picture.shape[:2]
    low, high = rng.uniform(0.25, 0.35), rng.uniform(0.65, 0.95)
    step = int(rng.integers(24, 60))
    for floor in range(floors):
        y0 = height - floor * _STOREY - int(_STOREY * high)
        y1 = height - floor * _STOREY - int(_STOREY * low)
        for x in range(0, width, step):
            _glass(picture, rng, x, max(y0, 0), min(x + step - 3, width), y1)
        cv2.rectangle(picture, (0, max(y0, 0) - 2), (width, max(y0, 0)), frame, -1)
        for x in range(0, width, step):
            cv2.rectangle(picture, (x - 3, max(y0, 0)), (x - 1, y1), frame, -1)


def _timber(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Dark beams on plaster above the ground floor."""
    height, width = picture.shape[:2]
    beam: Color = (28, 32, 38)
    foot = height - _STOREY
    for x in range(0, width, int(rng.integers(26, 46))):
        cv2.line(picture, (x, 0), (x, foot), beam, 5)
    for y in range(0, foot + 1, _STOREY // 2):
        cv2.line(picture, (0, y), (width, y), beam, 5)


def _door(picture: np.ndarray, rng: np.random.Generator, middle: int, frame: Color) -> None:
    height = picture.shape[0]
    half = int(rng.integers(11, 17))
    cv2.rectangle(
        picture, (middle - half - 3, height - 66), (middle + half + 3, height), frame, -1
    )
    cv2.rectangle(
        picture,
        (middle - half, height - 62),
        (middle + half, height),
        _color(rng, 20, 130, 0.7),
        -1,
    )
    _glass(picture, rng, middle - half + 3, height - 60, middle + half - 3, height - 50)
    cv2.rectangle(
        picture, (middle - half - 4, height - 5), (middle + half + 4, height), (130, 135, 138), -1
    )


@lru_cache(maxsize=128)
def building_front(style: int, width: int, floors: int, shop: bool) -> Texture:
    """A front ``width`` metres wide with ``floors`` storeys of 3 m; ``style`` below STYLES."""
    rng = np.random.default_rng((71, style))
    height, columns = floors * _STOREY, width * RES
    picture = masonry(rng, height, columns, int(rng.integers(len(MATERIALS))))
    frame = _FRAMES[int(rng.integers(len(_FRAMES)))]
    kind = str(rng.choice(['windows', 'ribbons', 'timber'], p=[0.78, 0.16, 0.06]))
    if kind == 'timber':
        picture = np.clip(picture * 0.2 + 165, 0, 255).astype(np.uint8)
        _timber(picture, rng)
    if kind == 'ribbons':
        _ribbons(picture, rng, floors, frame)
    else:
        _windows(picture, rng, floors, frame, shop)
    if shop:
        _shopfront(picture, rng, height - int(_STOREY * 1.15))
    else:
        plinth = int(rng.integers(4, 16))
        picture[height - plinth :] = (picture[height - plinth :] * rng.uniform(0.5, 0.9)).astype(
            np.uint8
        )
    cv2.rectangle(
        picture, (0, 0), (columns, int(rng.integers(3, 9))), _color(rng, 60, 200, 0.08), -1
    )  # cornice or gutter
    if rng.random() < 0.6:  # downpipe
        x = int(rng.choice([3, columns - 4]))
        cv2.line(picture, (x, 0), (x, height), _color(rng, 20, 90, 0.05), 3)
    return Texture(picture)


def _windows(
    picture: np.ndarray, rng: np.random.Generator, floors: int, frame: Color, shop: bool
) -> None:
    height, columns = picture.shape[:2]
    style = _Openings(
        float(rng.uniform(1.3, 2.8)) * RES,
        float(rng.uniform(0.35, 0.75)),
        float(rng.uniform(0.42, 0.68)),
        frame,
        int(rng.integers(1, 4)),
        float(rng.choice([0, 0, 190, 150])),
        bool(rng.random() < 0.1),
    )
    count = max(1, int(columns / style.spacing))
    sill = float(rng.uniform(0.22, 0.32))
    doors = {int(rng.integers(count)) for _ in range(1 + columns // (9 * RES))}
    band = rng.random() < 0.3
    for floor in range(1 if shop else 0, floors):
        y1 = height - floor * _STOREY - int(_STOREY * sill)
        for column in range(count):
            middle = int(columns * (column + 0.5) / count)
            half = int(style.spacing * style.width / 2)
            if floor == 0 and column in doors:
                _door(picture, rng, middle, frame)
            else:
                _window(
                    picture,
                    rng,
                    (middle - half, y1 - int(_STOREY * style.height), middle + half, y1),
                    style,
                )
        if band and floor:
            y = height - floor * _STOREY
            cv2.rectangle(picture, (0, y - 4), (columns, y), _scaled(frame, 0.9), -1)
