# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Lamp posts, traffic lights, signs, bollards: the thin things along the kerb."""

from __future__ import annotations

from functools import lru_cache
from typing import List, Tuple

import cv2
import numpy as np

from tools.street import labels
from tools.street.props import Face, Prop, Sprite, disc
from tools.street.texture import Texture

Color = Tuple[float, float, float]


@lru_cache(maxsize=16)
def _post(tone: int) -> Texture:
    shade = (0.55 + 0.45 * np.cos(np.linspace(-1.4, 1.2, 16)))[None, :, None]
    return Texture(np.broadcast_to(tone * shade, (32, 16, 3)).astype(np.uint8).copy())


@lru_cache(maxsize=16)
def _bollard(style: int) -> Texture:
    color = ((35, 35, 35), (60, 170, 200), (200, 200, 200), (40, 60, 75))[style % 4]
    shade = (0.55 + 0.45 * np.cos(np.linspace(-1.4, 1.2, 16)))[None, :, None]
    picture = (np.broadcast_to(np.array(color), (64, 16, 3)) * shade).astype(np.uint8)
    picture[6:14] = 210
    return Texture(picture)


@lru_cache(maxsize=32)
def _sign_face(style: int) -> Texture:
    """Disc, triangle, rectangle or octagon with a symbol, (96, 96)."""
    rng = np.random.default_rng((51, style))
    picture = np.zeros((96, 96, 4), np.uint8)
    white, red, blue, black = (
        (235, 238, 238, 255),
        (40, 30, 200, 255),
        (180, 90, 20, 255),
        (25, 25, 25, 255),
    )
    kind = style % 6
    if kind == 0:
        cv2.circle(picture, (48, 48), 45, red, -1, cv2.LINE_AA)
        cv2.circle(picture, (48, 48), 34, white, -1, cv2.LINE_AA)
        cv2.putText(
            picture,
            str(int(rng.integers(2, 6)) * 10),
            (22, 60),
            cv2.FONT_HERSHEY_SIMPLEX,
            1.2,
            black,
            4,
        )
    elif kind == 1:
        cv2.fillPoly(picture, [np.array([[48, 4], [93, 90], [3, 90]])], red, cv2.LINE_AA)
        cv2.fillPoly(picture, [np.array([[48, 26], [76, 80], [20, 80]])], white, cv2.LINE_AA)
        cv2.line(picture, (48, 42), (48, 70), black, 6)
    elif kind == 2:
        cv2.circle(picture, (48, 48), 45, blue, -1, cv2.LINE_AA)
        cv2.arrowedLine(picture, (30, 28), (66, 68), white, 8, cv2.LINE_AA, 0, 0.4)
    elif kind == 3:
        picture[4:92, 4:92] = blue
        picture[20:76, 24:72] = white
        cv2.putText(picture, 'P', (30, 66), cv2.FONT_HERSHEY_SIMPLEX, 1.6, blue, 5)
    elif kind == 4:
        ground = ((60, 120, 20, 255), white, (60, 200, 235, 255))[int(rng.integers(3))]
        picture[10:86, 2:94] = ground
        ink = black if ground != (60, 120, 20, 255) else white
        for y in (28, 50, 72):
            cv2.line(picture, (12, y), (int(rng.integers(50, 86)), y), ink, 6)
    else:
        cv2.circle(picture, (48, 48), 45, red, -1, cv2.LINE_AA)
        cv2.line(picture, (18, 48), (78, 48), white, 14)
    return Texture(picture)


@lru_cache(maxsize=4)
def _sign_back() -> Texture:
    picture = np.zeros((96, 96, 4), np.uint8)
    cv2.circle(picture, (48, 48), 45, (120, 122, 122, 255), -1, cv2.LINE_AA)
    return Texture(picture)


@lru_cache(maxsize=8)
def _signal(state: int, rear: bool) -> Texture:
    """A three-lamp signal head, (120, 44): state 0 red, 1 amber, 2 green."""
    picture = np.zeros((120, 44, 4), np.uint8)
    picture[2:118, 3:41] = (22, 24, 22, 255)
    lit = ((40, 40, 255), (40, 170, 255), (120, 255, 60))
    if not rear:
        for lamp in range(3):
            color = lit[lamp] if lamp == state else (30, 34, 38)
            cv2.circle(picture, (22, 22 + 38 * lamp), 14, (*color, 255), -1, cv2.LINE_AA)
    return Texture(picture)


def post(
    x: float, y: float, height: float, thickness: float, tone: int = 120, label: int = labels.POLE
) -> Prop:
    """An upright post."""
    sprite = Sprite(x, y, 0.0, thickness, height, _post(tone), label, toward=thickness / 2)
    return Prop(x, y, sprites=(sprite,), footprints=(disc(x, y, thickness / 2),), shadow=height)


def bollard(x: float, y: float, style: int) -> Prop:
    """A bollard, one metre high."""
    sprite = Sprite(x, y, 0.0, 0.16, 1.0, _bollard(style), labels.POLE, toward=0.08)
    return Prop(x, y, sprites=(sprite,), footprints=(disc(x, y, 0.08),), shadow=1.0)


def lamp_post(x: float, y: float, reach: float, tone: int, lamps: float) -> Prop:
    """A street lamp whose arm reaches over the road by ``reach`` metres (signed, to the left)."""
    height = 7.5
    base = post(x, y, height, 0.16, tone)
    arm = np.array(
        [
            [x, y, height + 0.35],
            [x, y + reach, height + 0.55],
            [x, y + reach, height + 0.42],
            [x, y, height + 0.2],
        ]
    )
    quads = [arm, arm[[1, 0, 3, 2]]]
    faces: List[Face] = [Face(quad, _post(tone), labels.POLE) for quad in quads]
    head = Sprite(
        x,
        y + reach,
        height + 0.35,
        0.6,
        0.2,
        _post(230 if lamps else 150),
        labels.POLE,
        glow=3 * lamps,
    )
    return Prop(
        x,
        y,
        faces=tuple(faces),
        sprites=base.sprites + (head,),
        footprints=base.footprints,
        shadow=height,
        lamp=6.0 if lamps else 0.0,
    )


def _facing_plate(
    x: float,
    y: float,
    z: float,
    width: float,
    height: float,
    heading: float,
) -> np.ndarray:
    """Corners of a plate whose front looks along ``heading``."""
    right = np.array([-np.sin(heading), np.cos(heading)]) * width / 2
    left_end, right_end = np.array([x, y]) - right, np.array([x, y]) + right
    return np.array(
        [[*left_end, z + height], [*right_end, z + height], [*right_end, z], [*left_end, z]]
    )


def sign(x: float, y: float, heading: float, style: int) -> Prop:
    """A traffic sign on its post, looking along ``heading``."""
    rng = np.random.default_rng((52, style))
    size = float(rng.uniform(0.55, 1.1))
    bottom = float(rng.uniform(2.15, 2.5))
    pole = post(x, y, bottom + size * 0.8, 0.08, int(rng.integers(70, 170)))
    ahead = np.array([np.cos(heading), np.sin(heading)]) * 0.06
    front = _facing_plate(x + ahead[0], y + ahead[1], bottom, size, size, heading)
    back = _facing_plate(x - ahead[0], y - ahead[1], bottom, size, size, heading + np.pi)
    faces = (
        Face(front, _sign_face(style), labels.TRAFFIC_SIGN),
        Face(back, _sign_back(), labels.TRAFFIC_SIGN),
    )
    return Prop(x, y, faces=faces, sprites=pole.sprites, footprints=pole.footprints, shadow=2.5)


def board(x: float, y: float, heading: float, style: int) -> Prop:
    """A large panel on two posts: directions, works or advertising."""
    rng = np.random.default_rng((53, style))
    width, height = float(rng.uniform(1.2, 2.8)), float(rng.uniform(0.8, 2.2))
    bottom = float(rng.uniform(2.1, 2.6))
    across = np.array([-np.sin(heading), np.cos(heading)]) * width * 0.4
    posts = [
        post(x + sign * across[0], y + sign * across[1], bottom + height, 0.1, 110)
        for sign in (1, -1)
    ]
    ahead = np.array([np.cos(heading), np.sin(heading)]) * 0.08
    front = _facing_plate(x + ahead[0], y + ahead[1], bottom, width, height, heading)
    back = _facing_plate(x - ahead[0], y - ahead[1], bottom, width, height, heading + np.pi)
    faces = (
        Face(front, _panel(style), labels.TRAFFIC_SIGN),
        Face(back, _post(120), labels.TRAFFIC_SIGN),
    )
    return Prop(
        x,
        y,
        faces=faces,
        sprites=posts[0].sprites + posts[1].sprites,
        footprints=posts[0].footprints + posts[1].footprints,
        shadow=bottom + height,
    )


@lru_cache(maxsize=16)
def _panel(style: int) -> Texture:
    """Lines of lettering on a coloured ground, (96, 160)."""
    rng = np.random.default_rng((54, style))
    grounds = ((60, 110, 20), (170, 80, 20), (235, 238, 238), (50, 190, 225), (40, 35, 190))
    ground = np.array(grounds[int(rng.integers(len(grounds)))])
    ink = (240, 240, 240) if ground.sum() < 450 else (30, 30, 30)
    picture = np.empty((96, 160, 3), np.uint8)
    picture[:] = ground
    cv2.rectangle(picture, (3, 3), (156, 92), ink, 2)
    for y in range(18, 90, 18):
        x = 12
        while x < int(rng.integers(60, 150)):
            step = int(rng.integers(5, 22))
            cv2.line(picture, (x, y), (x + step, y), ink, 7)
            x += step + 9
    return Texture(picture)


def keep_left(x: float, y: float, style: int) -> Prop:
    """An island's illuminated bollard with its blue disc: a sign that stands on the ground."""
    sprite = Sprite(
        x, y, 0.0, 0.5, 1.15, _island_sign(style % 2), labels.TRAFFIC_SIGN, glow=0.15, toward=0.15
    )
    return Prop(x, y, sprites=(sprite,), footprints=(disc(x, y, 0.15),), shadow=1.15)


@lru_cache(maxsize=2)
def _island_sign(kind: int) -> Texture:
    picture = np.zeros((110, 48, 4), np.uint8)
    body = (70, 200, 230, 255) if kind else (225, 230, 230, 255)
    cv2.rectangle(picture, (4, 4), (43, 109), body, -1)
    cv2.rectangle(picture, (4, 92), (43, 109), (40, 40, 40, 255), -1)
    cv2.circle(picture, (24, 28), 18, (190, 95, 25, 255), -1, cv2.LINE_AA)
    cv2.arrowedLine(picture, (33, 18), (15, 38), (240, 240, 240, 255), 4, cv2.LINE_AA, 0, 0.5)
    return Texture(picture)


def traffic_light(x: float, y: float, heading: float, state: int) -> Prop:
    """A signal head on its post, looking along ``heading``."""
    pole = post(x, y, 3.2, 0.12, 60)
    ahead = np.array([np.cos(heading), np.sin(heading)]) * 0.12
    size = (0.36, 0.98)
    front = _facing_plate(x + ahead[0], y + ahead[1], 2.3, *size, heading)
    back = _facing_plate(x - ahead[0], y - ahead[1], 2.3, *size, heading + np.pi)
    faces = (
        Face(front, _signal(state, False), labels.TRAFFIC_LIGHT, glow=1.0),
        Face(back, _signal(state, True), labels.TRAFFIC_LIGHT),
    )
    return Prop(x, y, faces=faces, sprites=pole.sprites, footprints=pole.footprints, shadow=3.0)
