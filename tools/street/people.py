# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""People, on foot and on two wheels, as sprites drawn from a style number and a phase."""

from __future__ import annotations

from functools import lru_cache
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np

from tools.street.texture import Texture, filled

_RES = 84  # texels per metre
PHASES = 8  # drawn steps of a walking or pedalling cycle
WALKER_SIZE = (1.2, 1.9)  # width and height of a pedestrian's sprite, metres
CYCLE_SIZE = (2.1, 1.95)  # of a two-wheeler with rider seen from the side
CYCLE_END_SIZE = (0.9, 1.95)  # seen from ahead or behind

Color = Tuple[float, float, float]
Point = Tuple[float, float]  # x, z in metres; x = 0 is the sprite's middle


class Clothes(NamedTuple):
    """Colours (BGR albedo) of one person."""

    skin: Color
    hair: Color
    top: Color
    legs: Color
    shoes: Color
    bag: bool
    coat: bool
    build: float


def _color(rng: np.random.Generator, low: float, high: float, spread: float) -> Color:
    tone = rng.uniform(low, high)
    b, g, r = np.clip(tone * rng.uniform(1 - spread, 1 + spread, 3), 5, 245).tolist()
    return b, g, r


def _clothes(rng: np.random.Generator) -> Clothes:
    tone = rng.uniform(0.35, 1.0)
    vivid = rng.random() < 0.25
    return Clothes(
        skin=(120 * tone, 150 * tone, 205 * tone),
        hair=_color(rng, 15, 100, 0.3),
        top=_color(rng, 40, 220, 0.7) if vivid else _color(rng, 10, 120, 0.2),
        legs=_color(rng, 10, 100, 0.25),
        shoes=_color(rng, 10, 110, 0.2),
        bag=bool(rng.random() < 0.35),
        coat=bool(rng.random() < 0.35),
        build=float(rng.uniform(0.85, 1.2)),
    )


class _Pad:
    """A BGRA drawing pad with metres as units."""

    def __init__(self, size: Tuple[float, float]) -> None:
        self.width, self.height = round(size[0] * _RES), round(size[1] * _RES)
        self.pixels = np.zeros((self.height, self.width, 4), np.uint8)

    def _fixed(self, point: Point) -> Tuple[int, int]:
        return (
            round((self.width / 2 + point[0] * _RES) * 16),
            round((self.height - point[1] * _RES) * 16),
        )

    def limb(self, points: List[Point], thickness: float, color: Color) -> None:
        line = np.array([self._fixed(point) for point in points], np.int32)
        cv2.polylines(
            self.pixels,
            [line],
            False,
            (*color, 255),
            max(1, round(thickness * _RES)),
            cv2.LINE_8,
            4,
        )

    def shape(self, points: List[Point], color: Color) -> None:
        outline = np.array([self._fixed(point) for point in points], np.int32)
        cv2.fillPoly(self.pixels, [outline], (*color, 255), cv2.LINE_8, 4)

    def disc(self, center: Point, radius: float, color: Color, thickness: int = -1) -> None:
        cv2.circle(
            self.pixels,
            self._fixed(center),
            round(radius * _RES * 16),
            (*color, 255),
            thickness,
            cv2.LINE_8,
            4,
        )

    def texture(self, gaps: int) -> Texture:
        """Soften the colours; outlines close gaps up to so many texels, as annotators do."""
        pixels = self.pixels
        solid = pixels[..., 3:] > 0
        shade = np.linspace(1.15, 0.75, pixels.shape[1], dtype=np.float32)[None, :, None]
        color = np.clip(
            cv2.GaussianBlur(pixels[..., :3], (0, 0), 0.8) * shade
            + _grain(self.height, self.width)[..., None],
            0,
            255,
        ).astype(np.uint8)
        color = np.where(solid, color, 0)
        alpha = cv2.GaussianBlur(pixels[..., 3], (0, 0), 1.0)
        return Texture(np.dstack([color, alpha]), filled(pixels[..., 3], gaps))


@lru_cache(maxsize=8)  # one for each size of sprite
def _grain(height: int, width: int) -> np.ndarray:
    """The weave of cloth, (height, width) float32 in grey levels."""
    white = np.random.default_rng(5).normal(0, 14, (height, width)).astype(np.float32)
    return cv2.GaussianBlur(white, (0, 0), 2) * 2


def _dim(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _head(pad: _Pad, clothes: Clothes, at: Point, turned: bool) -> None:
    pad.limb([(at[0] * 0.6, at[1] - 0.24), (at[0], at[1] - 0.05)], 0.11, _dim(clothes.skin, 0.85))
    pad.disc(at, 0.115, clothes.skin if not turned else clothes.hair)
    pad.disc((at[0], at[1] + 0.035), 0.11, clothes.hair)
    if not turned:
        pad.disc((at[0] + 0.02, at[1] - 0.03), 0.09, clothes.skin)


@lru_cache(maxsize=640)  # 80 people in sight in all their phases: more would be drawn every frame
def walker(style: int, phase: int, view: str) -> Texture:
    """A pedestrian; ``view`` is 'side' (walking to the right), 'front' or 'back'."""
    clothes = _clothes(np.random.default_rng((91, style)))
    pad = _Pad(WALKER_SIZE)
    swing = np.sin(2 * np.pi * phase / PHASES)
    draw = _walk_side if view == 'side' else _walk_end
    draw(pad, clothes, float(swing), view)
    return pad.texture(25)


def _walk_side(pad: _Pad, c: Clothes, swing: float, view: str) -> None:
    hip, shoulder = (0.0, 0.92), (0.03, 1.45)
    for leg, dim in ((-swing, 0.7), (swing, 1.0)):
        knee = (0.20 * leg + 0.03, 0.50)
        foot = (0.36 * leg, 0.05 + 0.08 * max(0.0, -leg))
        pad.limb([hip, knee, foot], 0.14 * c.build, _dim(c.legs, dim))
        pad.limb([foot, (foot[0] + 0.14, foot[1] - 0.01)], 0.09, _dim(c.shoes, dim))
    pad.limb([shoulder, (-0.18 * swing, 1.15), (-0.26 * swing + 0.06, 0.9)], 0.1, _dim(c.top, 0.7))
    w = 0.14 * c.build
    low = 0.55 if c.coat else 0.84
    pad.shape([(-w, 1.42), (w + 0.02, 1.44), (w + 0.01, low), (-w - 0.02, low)], c.top)
    pad.disc((0.02, 1.42), w, c.top)
    if c.bag:
        pad.shape([(-w - 0.16, 1.38), (-w, 1.4), (-w, 1.0), (-w - 0.14, 1.02)], _dim(c.shoes, 1.5))
    pad.limb([shoulder, (0.17 * swing, 1.16), (0.25 * swing + 0.06, 0.92)], 0.1, _dim(c.top, 0.9))
    pad.disc((0.25 * swing + 0.06, 0.9), 0.045, c.skin)
    _head(pad, c, (0.06, 1.68), False)


def _walk_end(pad: _Pad, c: Clothes, swing: float, view: str) -> None:
    for leg in (-1, 1):
        lift = 0.06 * max(0.0, leg * swing)
        foot = (0.1 * leg, 0.04 + lift)
        pad.limb(
            [(0.08 * leg, 0.9), (0.1 * leg, 0.48), foot],
            0.15 * c.build,
            _dim(c.legs, 1 - 0.2 * (leg * swing > 0)),
        )
        pad.limb([foot, (foot[0] + 0.03 * leg, foot[1])], 0.11, c.shoes)
    w = 0.21 * c.build
    low = 0.5 if c.coat else 0.84
    for arm in (-1, 1):
        pad.limb(
            [(arm * w, 1.42), (arm * (w + 0.07), 1.15), (arm * (w + 0.05), 0.9)],
            0.1,
            _dim(c.top, 0.85),
        )
        pad.disc((arm * (w + 0.05), 0.87), 0.045, c.skin)
    pad.shape(
        [
            (-w - 0.02, 1.42),
            (-0.1, 1.52),
            (0.1, 1.52),
            (w + 0.02, 1.42),
            (w * 0.9, low),
            (-w * 0.9, low),
        ],
        c.top,
    )
    if c.bag and view == 'back':
        pad.shape(
            [(-w * 0.8, 1.45), (w * 0.8, 1.45), (w * 0.8, 1.0), (-w * 0.8, 1.0)],
            _dim(c.shoes, 1.6),
        )
    _head(pad, c, (0.0, 1.68), view == 'back')


@lru_cache(maxsize=256)
def rider(style: int, phase: int, view: str, motor: bool) -> Texture:
    """The person on a two-wheeler, without it; the side view rides to the right."""
    c = _clothes(np.random.default_rng((92, style)))
    helmet = _color(np.random.default_rng((93, style)), 20, 230, 0.5)
    end = view != 'side'
    pad = _Pad(CYCLE_END_SIZE if end else CYCLE_SIZE)
    turn = 2 * np.pi * phase / PHASES
    saddle = 0.85 if motor else 0.95
    if end:
        _ride_end(pad, c, float(np.sin(turn)), saddle)
        _head(pad, c, (0.0, saddle + 0.82), view == 'back')
        head = (0.0, saddle + 0.85)
    else:
        _ride_side(pad, c, turn, saddle, motor)
        head = (0.20, saddle + 0.80)
        _head(pad, c, head, False)
    if motor or style % 2:
        pad.disc((head[0] - 0.02, head[1] + 0.05), 0.14 if motor else 0.12, helmet)
    return pad.texture(9)


def _ride_side(pad: _Pad, c: Clothes, turn: float, saddle: float, motor: bool) -> None:
    hip, shoulder = (-0.22, saddle + 0.02), (0.10, saddle + 0.55)
    for pedal, dim in ((turn + np.pi, 0.7), (turn, 1.0)):
        foot = (
            (0.05, 0.35)
            if motor
            else (0.02 + 0.16 * float(np.cos(pedal)), 0.30 + 0.16 * float(np.sin(pedal)))
        )
        knee = (0.5 * (hip[0] + foot[0]) + 0.24, 0.5 * (hip[1] + foot[1]) + 0.08)
        pad.limb([hip, knee, foot], 0.14, _dim(c.legs, dim))
        pad.limb([foot, (foot[0] + 0.12, foot[1])], 0.08, c.shoes)
    pad.limb([hip, shoulder], 0.27 * c.build, c.top)
    pad.limb([shoulder, (0.26, saddle + 0.25), (0.46, saddle + 0.15)], 0.09, _dim(c.top, 0.85))
    if c.bag:
        pad.limb([(-0.20, saddle + 0.35), (-0.05, saddle + 0.55)], 0.22, _dim(c.shoes, 1.8))


def _ride_end(pad: _Pad, c: Clothes, swing: float, saddle: float) -> None:
    for leg in (-1, 1):
        foot = (0.13 * leg, 0.32 + 0.15 * leg * swing)
        knee = (0.17 * leg, 0.62 + 0.07 * leg * swing)
        pad.limb([(0.1 * leg, saddle), knee, foot], 0.13, c.legs)
        pad.limb([foot, (foot[0], foot[1] + 0.03)], 0.1, c.shoes)
    w = 0.2 * c.build
    for arm in (-1, 1):
        elbow, hand = (arm * 0.29, saddle + 0.3), (arm * 0.25, saddle + 0.12)
        pad.limb([(arm * w, saddle + 0.55), elbow, hand], 0.09, _dim(c.top, 0.85))
    pad.shape(
        [
            (-w, saddle + 0.6),
            (w, saddle + 0.6),
            (w * 0.85, saddle - 0.03),
            (-w * 0.85, saddle - 0.03),
        ],
        c.top,
    )


@lru_cache(maxsize=32)
def bicycle(style: int, view: str) -> Texture:
    """A bicycle; its outline is filled down to the ground between the wheels."""
    rng = np.random.default_rng((94, style))
    ink = _color(rng, 15, 200, 0.7)
    rubber: Color = (25.0, 25.0, 25.0)
    end = view != 'side'
    pad = _Pad(CYCLE_END_SIZE if end else CYCLE_SIZE)
    if end:
        pad.limb([(0, 0.03), (0, 0.68)], 0.06, rubber)
        pad.limb([(0, 0.68), (0, 1.0)], 0.05, ink)
        pad.limb([(-0.27, 1.05), (0.27, 1.05)], 0.04, rubber)
        return pad.texture(5)
    rear, front, crank = (-0.52, 0.34), (0.52, 0.34), (-0.02, 0.30)
    for hub in (rear, front):
        pad.disc(hub, 0.32, rubber, 4)
        pad.disc(hub, 0.04, ink)
    seat, head = (-0.22, 0.90), (0.40, 0.92)
    for line in (
        [rear, crank, seat, rear],
        [crank, head, seat],
        [head, front],
        [(-0.24, 0.95), seat],
    ):
        pad.limb(line, 0.045, ink)
    pad.limb([(-0.33, 0.97), (-0.13, 0.97)], 0.05, rubber)
    pad.limb([head, (0.38, 1.03), (0.48, 1.05)], 0.04, rubber)
    outline = _Pad(CYCLE_SIZE)
    outline.shape(
        [
            (-0.84, 0.34),
            (-0.6, 0.68),
            (-0.3, 1.0),
            (0.5, 1.06),
            (0.7, 0.62),
            (0.84, 0.34),
            (0.66, 0.0),
            (-0.66, 0.0),
        ],
        ink,
    )
    for hub in (rear, front):
        outline.disc(hub, 0.34, ink)
    texture = pad.texture(9)
    return Texture(texture.pixels((0, 0)), outline.pixels[..., 3])


@lru_cache(maxsize=32)
def motorcycle(style: int, view: str) -> Texture:
    """A motorcycle or scooter; its outline is filled down to the ground between the wheels."""
    rng = np.random.default_rng((95, style))
    ink = _color(rng, 20, 200, 0.8)
    dark: Color = (30.0, 30.0, 32.0)
    end = view != 'side'
    pad = _Pad(CYCLE_END_SIZE if end else CYCLE_SIZE)
    if end:
        pad.limb([(0, 0.08), (0, 0.6)], 0.16, dark)
        pad.shape([(-0.2, 0.4), (0.2, 0.4), (0.24, 0.85), (-0.24, 0.85)], ink)
        pad.limb([(-0.36, 1.02), (0.36, 1.02)], 0.05, dark)
        lamp: Color = (40.0, 40.0, 220.0) if view == 'back' else (225.0, 235.0, 235.0)
        pad.disc((0, 0.75), 0.09, lamp)
        return pad.texture(9)
    for hub in ((-0.68, 0.31), (0.68, 0.31)):
        pad.disc(hub, 0.30, dark)
        pad.disc(hub, 0.17, (120.0, 120.0, 120.0), 3)
    pad.shape([(-0.4, 0.22), (0.35, 0.22), (0.45, 0.6), (-0.45, 0.6)], dark)
    pad.shape(
        [
            (-0.95, 0.72),
            (-0.3, 0.72),
            (0.05, 0.82),
            (0.4, 0.95),
            (0.55, 0.8),
            (0.4, 0.55),
            (-0.6, 0.55),
        ],
        ink,
    )
    pad.limb([(-0.75, 0.8), (-0.1, 0.8)], 0.09, dark)
    pad.limb([(0.68, 0.31), (0.48, 1.0), (0.36, 1.07)], 0.06, dark)
    pad.disc((0.58, 0.85), 0.09, (220.0, 230.0, 230.0))
    outline = _Pad(CYCLE_SIZE)
    outline.shape(
        [
            (-1.0, 0.3),
            (-0.98, 0.8),
            (0.3, 1.08),
            (0.6, 0.95),
            (0.98, 0.3),
            (0.85, 0.0),
            (-0.85, 0.0),
        ],
        ink,
    )
    texture = pad.texture(9)
    return Texture(texture.pixels((0, 0)), outline.pixels[..., 3])
