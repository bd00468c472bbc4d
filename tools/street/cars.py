# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Cars and vans as closed shells of painted quadrilaterals.

Shells reach the ground all around: the dark underbody counts as car, as annotators have it, so
the visible contact with the road is the footprint.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from tools.street import labels
from tools.street.bodywork import (
    DARK,
    HEADLAMP,
    PAINTS,
    TAIL_LAMP,
    Color,
    Panel,
    Shell,
    canvas,
    darker,
    glass,
)
from tools.street.props import Face, box_shell, neighbours
from tools.street.texture import Texture


class Body(NamedTuple):
    """Measures of a car: metres, and places along it as shares of the length from the rear."""

    length: float
    width: float
    height: float
    sill: float  # height of the doors' lower edge
    waist: float  # height of the windows' lower edge
    rear: float  # place of the rear window's foot
    roof_rear: float
    roof_front: float
    hood: float  # place of the windscreen's foot
    nose: float  # height of the bonnet's front edge
    boot: float  # height of the boot lid's rear edge
    lean: float = 0.80  # width of the roof against the width of the body
    axles: Tuple[float, ...] = (0.19, 0.81)
    wheel: float = 0.31  # radius


_BODIES: Tuple[Tuple[Body, float], ...] = (  # with their share of the traffic
    (Body(3.9, 1.70, 1.47, 0.26, 0.92, 0.03, 0.10, 0.62, 0.80, 0.72, 0.92), 0.20),  # hatchback
    (Body(4.1, 1.75, 1.45, 0.24, 0.92, 0.04, 0.16, 0.60, 0.79, 0.70, 0.88), 0.20),  # hatchback
    (Body(4.5, 1.78, 1.43, 0.23, 0.90, 0.17, 0.30, 0.58, 0.74, 0.70, 0.92), 0.18),  # saloon
    (Body(4.7, 1.82, 1.45, 0.23, 0.90, 0.02, 0.07, 0.58, 0.74, 0.70, 0.88), 0.12),  # estate
    (
        Body(4.5, 1.86, 1.72, 0.34, 1.08, 0.03, 0.09, 0.60, 0.77, 0.95, 1.05, 0.84),
        0.10,
    ),  # off-roader
    (Body(4.3, 1.80, 1.65, 0.26, 1.0, 0.02, 0.08, 0.68, 0.88, 0.85, 0.98), 0.10),  # people carrier
    (Body(4.9, 1.95, 2.10, 0.30, 1.25, 0.01, 0.02, 0.76, 0.90, 1.0, 1.25, 0.92), 0.10),  # van
)
STYLES = 96

Band = Tuple[float, float, float]
"""A line across the car: x, z and half width."""


@lru_cache(maxsize=STYLES)
def car(style: int) -> Shell:
    """A car by style number below STYLES."""
    rng = np.random.default_rng((62, style))
    index = int(rng.choice(len(_BODIES), p=[share for _, share in _BODIES]))
    body = _BODIES[index][0]
    stretch = rng.uniform(0.94, 1.06, 2)
    body = body._replace(length=body.length * stretch[0], height=body.height * stretch[1])
    paint = darker(PAINTS[int(rng.integers(len(PAINTS)))], float(rng.uniform(0.8, 1.1)))
    blind = index == len(_BODIES) - 1 and bool(rng.random() < 0.6)  # a van without windows
    bands = _bands(body)
    near = _spine(body, bands, paint, style) + _flanks(body, bands, paint, style, blind)
    far = _outlines(body, paint, style, blind)
    front, front_corner, rear_corner, rear = bands[0], bands[2], bands[-3], bands[-1]
    outline = [(x, w) for x, _, w in (front, front_corner, rear_corner, rear)]
    footprint = np.array(outline + [(x, -w) for x, w in outline[::-1]])
    links = np.concatenate(
        [neighbours([face.corners for face in near]), np.full((len(far), 4), -1)]
    )
    faces = [face._replace(detail=1) for face in near] + [face._replace(detail=-1) for face in far]
    return Shell(tuple(faces), links, footprint, body.height)


def _outlines(body: Body, paint: Color, seed: int, blind: bool) -> Tuple[Face, ...]:
    """The car from afar: four pictures, cut out along its contour."""
    length, high = body.length, body.height
    side, _ = _side(body, paint, seed)
    tall = Panel(length, high, paint, seed)
    tall.picture[-len(side.picture) :] = side.picture
    window = [
        (length * body.rear, body.waist),
        (length * body.roof_rear, high - 0.08),
        (length * body.roof_front, high - 0.08),
        (length * body.hood, body.waist),
    ]
    if not blind:
        tall.shape(window, (48, 44, 40))
    contour = [
        (0, -1),
        (0, body.boot),
        (length * body.rear, body.waist),
        (length * body.roof_rear, high),
        (length * body.roof_front, high),
        (length * body.hood, body.waist),
        (length, body.nose),
        (length, -1),
    ]
    ends = []
    for front, top in ((True, body.nose), (False, body.boot)):
        lower = _end(body, 1.0, top, paint, front, seed).pixels((0, 0))
        end = Panel(body.width, high, paint, seed)
        end.picture[-len(lower) :, : lower.shape[1]] = lower[:, : end.picture.shape[1]]
        inset = body.width * (1 - body.lean) / 2
        end.shape(
            [
                (0.06, body.waist),
                (inset, high - 0.08),
                (body.width - inset, high - 0.08),
                (body.width - 0.06, body.waist),
            ],
            (58, 54, 50),
        )
        ends.append(
            end.texture(
                [
                    (0, -1),
                    (0, body.waist),
                    (inset, high),
                    (body.width - inset, high),
                    (body.width, body.waist),
                    (body.width, -1),
                ]
            )
        )
    flank = tall.texture(contour)
    return box_shell((length, body.width, high), (flank, flank.mirrored(), *ends), labels.CAR)


def _bands(body: Body) -> List[Band]:
    """Lines across the car from the foot of the nose over the roof to the foot of the tail."""
    half, w = body.length / 2, body.width / 2

    def x(share: float) -> float:
        return (share - 0.5) * body.length

    cut = min(0.32, 0.8 * (half - x(body.hood)))
    bonnet = body.nose + (body.waist - body.nose) * cut / (half - x(body.hood))
    tail = x(body.rear) + half
    rear_cut = max(0.05, min(0.22, 0.8 * tail))
    lid = body.boot + (body.waist - body.boot) * min(rear_cut / max(tail, 0.06), 1.0)
    return [
        (half, 0.0, 0.8 * w),
        (half, body.nose, 0.8 * w),
        (half - cut, bonnet, w),
        (x(body.hood), body.waist, w),
        (x(body.roof_front), body.height, w * body.lean),
        (x(body.roof_rear), body.height, w * body.lean),
        (max(x(body.rear), rear_cut - half + 0.01), body.waist, w),
        (rear_cut - half, lid, w),
        (-half, body.boot, 0.86 * w),
        (-half, 0.0, 0.86 * w),
    ]


def _spine(body: Body, bands: List[Band], paint: Color, seed: int) -> List[Face]:
    """Nose, bonnet, windscreen, roof, rear window, boot and tail."""
    sheet = Texture(canvas(1, 1, darker(paint, 1.12), seed))
    screen = glass(body.width * body.lean, 0.7, seed + 1, darker(paint, 0.6))
    textures = (
        _end(body, 0.8, body.nose, paint, True, seed),
        sheet,
        sheet,
        screen,
        sheet,
        screen,
        sheet,
        sheet,
        _end(body, 0.86, body.boot, paint, False, seed),
    )
    faces: List[Face] = []
    for index, texture in enumerate(textures):
        (x0, z0, w0), (x1, z1, w1) = bands[index], bands[index + 1]
        corners = [(x1, -w1, z1), (x1, w1, z1), (x0, w0, z0), (x0, -w0, z0)]
        if index > 3:  # seen from behind, the other line is the upper one
            corners = corners[2:] + corners[:2]
        faces.append(Face(np.array(corners), texture, labels.CAR))
    return faces


def _flanks(body: Body, bands: List[Band], paint: Color, seed: int, blind: bool) -> List[Face]:
    """Both sides: lower body, side windows, and the four rounded corners."""
    panel, outline = _side(body, paint, seed)
    front, corner, rear_corner, rear = bands[1], bands[2], bands[-3], bands[-2]

    def share(x: float) -> float:
        return x / body.length + 0.5

    top = panel.height
    cuts: Dict[Tuple[float, float], Tuple[Band, Band]] = {
        (share(rear_corner[0]), share(corner[0])): (rear_corner, corner),
        (share(corner[0]), 1.0): (corner, front),
        (0.0, share(rear_corner[0])): (rear, rear_corner),
    }
    faces: List[Face] = []
    for part, ((x0, z0, w0), (x1, z1, w1)) in cuts.items():
        whole = x0 == rear_corner[0]
        texture = panel.texture(outline if whole else None, part)
        z0, z1 = (top, top) if whole else (z0, z1)
        faces += _both_sides([(x0, -w0, z0), (x1, -w1, z1), (x1, -w1, 0), (x0, -w0, 0)], texture)
    pillars = glass(
        body.length * (body.hood - body.rear), body.height - body.waist, seed, paint, 2 + seed % 2
    )
    window = Texture(canvas(1, 1, paint, seed)) if blind else pillars
    (xr, _, wr), (xf, _, wf), (xt, _, wt), (xb, _, wb) = bands[5], bands[4], bands[3], bands[6]
    faces += _both_sides(
        [
            (xr, -wr, body.height),
            (xf, -wf, body.height),
            (xt, -wt, body.waist),
            (xb, -wb, body.waist),
        ],
        window,
    )
    return faces


def _both_sides(right: List[Band], texture: Texture) -> List[Face]:
    """A face of the right side, and its mirror image on the left."""
    corners = np.array(right)
    return [
        Face(corners, texture, labels.CAR),
        Face(corners[[1, 0, 3, 2]] * (1, -1, 1), texture.mirrored(), labels.CAR),
    ]


def _side(body: Body, paint: Color, seed: int) -> Tuple[Panel, List[Tuple[float, float]]]:
    """Painted side up to the waist, front to the right, and its outline."""
    length, top = body.length, max(body.waist, body.nose, body.boot)
    side = Panel(length, top, paint, seed)
    side.polish()
    side.box(0, length, 0, body.sill, DARK)
    side.line(
        [(0.05, body.waist * 0.78), (length - 0.05, body.waist * 0.74)], darker(paint, 0.7), 2
    )
    for x in (0.36, 0.56, 0.74):
        side.line([(length * x, body.sill), (length * x, top)], darker(paint, 0.45))
    for x in (0.36, 0.56):
        side.box(
            length * x - 0.2,
            length * x - 0.06,
            body.waist - 0.16,
            body.waist - 0.12,
            darker(paint, 0.6),
        )
    side.box(0, 0.14, body.boot - 0.28, body.boot - 0.08, TAIL_LAMP)
    side.box(length - 0.26, length, body.nose - 0.2, body.nose - 0.05, HEADLAMP)
    side.box(0, length * 0.07, body.sill, body.sill + 0.14, darker(paint, 0.6))
    side.box(length * 0.93, length, body.sill, body.sill + 0.14, darker(paint, 0.6))
    for axle in body.axles:
        side.wheel(length * axle, body.wheel)
    grow = 0.02
    return side, [
        (0, -1),
        (0, body.boot + grow),
        (length * body.rear, body.waist + grow),
        (length * body.hood, body.waist + grow),
        (length, body.nose + grow),
        (length, -1),
    ]


def _end(body: Body, share: float, top: float, paint: Color, front: bool, seed: int) -> Texture:
    """Nose below the bonnet or tail below the boot lid."""
    width = body.width * share
    end = Panel(width, top, paint, seed)
    end.polish()
    end.box(0, width, 0, body.sill * 0.8, DARK)
    for x in (0.02, width - 0.2):  # tyres
        end.box(x, x + 0.18, 0, body.sill, (24, 24, 24))
    end.box(0, width, body.sill * 0.8, body.sill + 0.16, darker(paint, 0.65))
    middle, lamp = width / 2, HEADLAMP if front else TAIL_LAMP
    size = 0.24 + 0.1 * (seed % 3) / 2
    for x0 in (0.0, width - size):
        end.box(x0, x0 + size, top - 0.24, top - 0.06, lamp)
        end.line([(x0, top - 0.15), (x0 + size, top - 0.15)], darker(lamp, 0.6))
    if front:
        end.box(middle - 0.42, middle + 0.42, top - 0.26, top - 0.1, (25, 25, 26))
        end.box(middle - 0.5, middle + 0.5, body.sill + 0.02, body.sill + 0.12, (20, 20, 20))
    plate: Color = (225, 230, 230) if front else (60, 190, 215)
    z = body.sill + 0.18 if front else (body.sill + top) / 2 - 0.05
    end.box(middle - 0.26, middle + 0.26, z, z + 0.11, plate)
    end.line([(middle - 0.2, z + 0.055), (middle + 0.2, z + 0.055)], (30, 30, 30), 2)
    return end.texture()
