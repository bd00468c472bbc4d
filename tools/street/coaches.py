# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Buses, trams and lorries as closed shells of painted quadrilaterals."""

from __future__ import annotations

from functools import lru_cache
from typing import Sequence

import numpy as np

from tools.street import labels
from tools.street.bodywork import PAINTS, Color, Panel, Shell, canvas, darker, shell
from tools.street.props import box_shell
from tools.street.texture import Texture


def _coach_side(
    length: float,
    height: float,
    paint: Color,
    seed: int,
    decks: int,
    axles: Sequence[float],
    stripe: Color,
) -> Texture:
    side = Panel(length, height, paint, seed)
    side.polish()
    side.box(0, length, 0, 0.3, (15, 15, 16))
    side.box(0, length, 0.5, 0.75, stripe)
    storey = height / decks
    for deck in range(decks):
        low = deck * storey + (1.15 if deck == 0 else 0.7)
        high = (deck + 1) * storey - 0.35
        side.box(0.2, length - 0.15, low, high, (38, 36, 34))
        for x in np.arange(0.2, length - 0.5, 1.4):
            side.box(x + 0.06, min(x + 1.34, length - 0.2), low + 0.05, high - 0.05, (62, 58, 54))
    for axle in axles:
        side.wheel(length * axle, 0.48)
    return side.texture()


def _coach_end(
    width: float,
    height: float,
    paint: Color,
    seed: int,
    front: bool,
    decks: int,
) -> Texture:
    end = Panel(width, height, paint, seed)
    end.polish()
    end.box(0, width, 0, 0.3, (15, 15, 16))
    storey = height / decks
    for deck in range(decks):
        low = deck * storey + (1.0 if front else 1.3)
        end.box(0.1, width - 0.1, low, (deck + 1) * storey - 0.35, (50, 47, 44))
    if front:
        end.box(0.4, width - 0.4, height - 0.33, height - 0.08, (20, 20, 20))
        end.line([(0.7, height - 0.2), (width - 0.7, height - 0.2)], (60, 200, 250), 5)
    lamp: Color = (225, 230, 230) if front else (30, 30, 190)
    for x in (0.12, width - 0.42):
        end.box(x, x + 0.3, 0.5, 0.72, lamp)
    end.box(width / 2 - 0.26, width / 2 + 0.26, 0.38, 0.5, (60, 190, 215))
    return end.texture()


@lru_cache(maxsize=24)
def bus(style: int) -> Shell:
    """A bus with one deck or two, or a coach."""
    rng = np.random.default_rng((63, style))
    decks = int(rng.choice([1, 1, 2]))
    length, width = float(rng.uniform(9.5, 12)), 2.5
    height = 4.2 if decks == 2 else float(rng.uniform(2.9, 3.3))
    paint = darker((rng.uniform(30, 220), rng.uniform(30, 200), rng.uniform(30, 220)), 1)
    stripe = (rng.uniform(20, 230), rng.uniform(20, 230), rng.uniform(20, 230))
    side = _coach_side(length, height, paint, style, decks, (0.22, 0.8), stripe)
    sides = (
        side,
        side.mirrored(),
        _coach_end(width, height, paint, style, True, decks),
        _coach_end(width, height, paint, style, False, decks),
        Texture(canvas(2, 1, (190, 190, 190), style)),
    )
    return shell(box_shell((length, width, height), sides, labels.BUS), length, width, height)


@lru_cache(maxsize=12)
def tram(style: int) -> Shell:
    """A tram or local train of two to three articulated cars."""
    rng = np.random.default_rng((64, style))
    length, width, height = float(rng.uniform(18, 28)), 2.55, 3.5
    paint = (rng.uniform(40, 230), rng.uniform(40, 230), rng.uniform(40, 230))
    stripe = (rng.uniform(20, 230), rng.uniform(20, 230), rng.uniform(20, 230))
    side = Panel(length, height, paint, style)
    side.polish()
    side.box(0, length, 0, 0.35, (20, 20, 20))
    side.box(0, length, 0.6, 0.8, stripe)
    side.box(0.3, length - 0.3, 1.5, 2.75, (30, 30, 32))
    for x in np.arange(0.4, length - 1.2, 1.6):
        side.box(x, x + 1.45, 1.55, 2.7, (70, 66, 62))
    for x in np.arange(3.0, length - 2, 5.0):
        side.box(x, x + 1.3, 0.35, 2.75, darker(paint, 0.6))
        side.box(x + 0.08, x + 0.6, 0.6, 2.6, (58, 55, 52))
        side.box(x + 0.7, x + 1.22, 0.6, 2.6, (58, 55, 52))
    for x in (length / 3, 2 * length / 3):
        side.box(x - 0.25, x + 0.25, 0.3, 3.3, (35, 35, 38))
    texture = side.texture()
    sides = (
        texture,
        texture.mirrored(),
        _coach_end(width, height, paint, style, True, 1),
        _coach_end(width, height, paint, style, False, 1),
        Texture(canvas(2, 1, (140, 140, 140), style)),
    )
    return shell(box_shell((length, width, height), sides, labels.TRAIN), length, width, height)


@lru_cache(maxsize=24)
def truck(style: int) -> Shell:
    """A lorry: cab in front of a box, a tipper or a flat bed."""
    rng = np.random.default_rng((65, style))
    length, width = float(rng.uniform(6, 10)), float(rng.uniform(2.2, 2.5))
    height, cab_height = float(rng.uniform(2.9, 3.8)), float(rng.uniform(2.4, 2.9))
    cab_length = 2.0
    paint = PAINTS[int(rng.integers(len(PAINTS)))]
    load = (rng.uniform(120, 235), rng.uniform(120, 235), rng.uniform(120, 235))
    box_length = length - cab_length
    side = Panel(box_length, height, load, style)
    side.polish()
    side.box(0, box_length, 0, 0.95, (22, 22, 24))
    if rng.random() < 0.6:
        side.box(
            box_length * 0.2,
            box_length * 0.8,
            height * 0.5,
            height * 0.75,
            (rng.uniform(20, 220), rng.uniform(20, 220), rng.uniform(20, 220)),
        )
    for x in np.arange(0, box_length, 0.8):
        side.line([(x, 0.95), (x, height)], darker(load, 0.85))
    side.wheel(box_length * 0.2, 0.48)
    rear = Panel(width, height, darker(load, 0.9), style)
    rear.polish()
    rear.box(0, width, 0, 0.6, (18, 18, 18))
    rear.box(0, width, 0.6, 0.95, (45, 45, 48))
    rear.line([(width / 2, 0.95), (width / 2, height)], (40, 40, 40), 2)
    for x in (0.1, width - 0.4):
        rear.box(x, x + 0.3, 0.68, 0.86, (30, 30, 190))
    box_side, roof = side.texture(), Texture(canvas(1, 1, load, style))
    box = box_shell(
        (box_length, width, height),
        (box_side, box_side.mirrored(), rear.texture(), rear.texture(), roof),
        labels.TRUCK,
        center=-cab_length / 2,
    )
    cab_side = Panel(cab_length, cab_height, paint, style)
    cab_side.polish()
    cab_side.box(0, cab_length, 0, 0.45, (18, 18, 18))
    cab_side.box(0.5, 1.7, 1.5, cab_height - 0.25, (55, 50, 46))
    cab_side.wheel(cab_length * 0.6, 0.48)
    cab_front = Panel(width, cab_height, paint, style)
    cab_front.polish()
    cab_front.box(0, width, 0, 0.35, (18, 18, 18))
    cab_front.box(0.12, width - 0.12, 1.45, cab_height - 0.3, (60, 55, 50))
    cab_front.box(0.5, width - 0.5, 0.75, 1.25, (28, 28, 28))
    for x in (0.1, width - 0.42):
        cab_front.box(x, x + 0.32, 0.5, 0.7, (225, 230, 230))
    side_texture = cab_side.texture()
    cab = box_shell(
        (cab_length, width * 0.97, cab_height),
        (
            side_texture,
            side_texture.mirrored(),
            cab_front.texture(),
            cab_front.texture(),
            Texture(canvas(1, 1, paint, style)),
        ),
        labels.TRUCK,
        center=length / 2 - cab_length / 2,
    )
    return shell(box + cab, length, width, height)
