# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Buildings on their plots: fronts, gables, roofs, chimneys."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from tools.street import facades, labels, walls
from tools.street.layout import Plan
from tools.street.props import Color, Face, Prop, box_shell, neighbours, placed, upright
from tools.street.texture import Texture

_DEPTH = 9.0  # metres from front to back


class Lot(NamedTuple):
    """A stretch of frontage on one side (+1 left, -1 right)."""

    x0: float
    x1: float
    side: int

    def line(self, plan: Plan, d: float) -> Tuple[Tuple[float, float], Tuple[float, float]]:
        """World points of the lot's ends at a distance from the centre line, left end first."""
        a, b = plan.at(self.x0, self.side * d), plan.at(self.x1, self.side * d)
        return (a, b) if self.side > 0 else (b, a)

    def corner(self, plan: Plan, x: float, d: float, z: float) -> Tuple[float, float, float]:
        """World point at a distance from the centre line on the lot's side."""
        return (*plan.at(x, self.side * d), z)


class Shape(NamedTuple):
    """What a building looks like."""

    style: int
    floors: int
    shop: bool
    pitched: bool
    setback: float = 0.0

    def varied(self, rng: np.random.Generator) -> Shape:
        """The same with a style of its own."""
        return self._replace(style=int(rng.integers(facades.STYLES)))


class House(NamedTuple):
    """A building whose gables may yet turn out to be hidden by its neighbours."""

    lot: Lot
    d: float  # of the front
    eaves: float
    ridge: float
    faces: List[Face]  # front, roof, chimney
    gables: Tuple[List[Face], List[Face]]  # at x0 and at x1
    outline: np.ndarray
    place: Tuple[float, float]


def build(plan: Plan, lot: Lot, rng: np.random.Generator, shape: Shape) -> House:
    """A building on a lot."""
    d = plan.frontage(lot.side) + shape.setback
    eaves = 3.0 * shape.floors * (1 + 0.08 * (shape.style % 5 - 2) / 2)
    ridge = eaves + (1.5 + shape.style % 7 / 3 if shape.pitched else 0.0)
    width = int(np.clip(round((lot.x1 - lot.x0) / 3) * 3, 6, 15))
    front = facades.building_front(shape.style, width, shape.floors, shape.shop)
    bare = rng.random() < 0.6
    gable = (
        walls.bare_wall(shape.style % 24, 9, 9)
        if bare
        else facades.building_front(shape.style, 9, shape.floors, False)
    )
    tone = rng.uniform(0.7, 1.7) * rng.uniform(0.97, 1.03, 3)
    tint = (float(tone[0]), float(tone[1]), float(tone[2]))
    faces = [Face(upright(*lot.line(plan, d), 0, eaves), front, labels.BUILDING, tint)]
    if shape.pitched:
        faces.append(_roof(plan, lot, d, eaves, ridge, walls.roof(shape.style % 8)))
        if rng.random() < 0.7:
            faces += _chimney(plan, lot, rng, d + _DEPTH / 2, ridge, tint)
    outline = np.array(
        [
            plan.at(x, lot.side * a)
            for x, a in ((lot.x0, d), (lot.x1, d), (lot.x1, d + _DEPTH), (lot.x0, d + _DEPTH))
        ]
    )
    gables = (
        _gable(plan, lot, lot.x0, d, eaves, ridge, gable, tint),
        _gable(plan, lot, lot.x1, d, eaves, ridge, gable, tint),
    )
    return House(
        lot, d, eaves, ridge, faces, gables, outline, plan.at((lot.x0 + lot.x1) / 2, lot.side * d)
    )


def _gable(
    plan: Plan,
    lot: Lot,
    x: float,
    d: float,
    eaves: float,
    ridge: float,
    wall: Texture,
    tint: Color,
) -> List[Face]:
    """The end wall at x, in two halves up to the ridge."""
    back, middle = d + _DEPTH, d + _DEPTH / 2
    frame = np.array(
        [
            lot.corner(plan, x, back, ridge),
            lot.corner(plan, x, d, ridge),
            lot.corner(plan, x, back, 0),
        ]
    )
    outward_left = (x == lot.x0) == (lot.side > 0)  # whether the back is at the viewer's left
    if not outward_left:
        frame = np.array([frame[1], frame[0], frame[1] - (frame[0] - frame[2])])
    halves: List[Face] = []
    for near, far, z_near, z_far in ((d, middle, eaves, ridge), (middle, back, ridge, eaves)):
        quad = np.array(
            [
                lot.corner(plan, x, far, z_far),
                lot.corner(plan, x, near, z_near),
                lot.corner(plan, x, near, 0),
                lot.corner(plan, x, far, 0),
            ]
        )
        if not outward_left:
            quad = quad[[1, 0, 3, 2]]
        halves.append(Face(quad, wall, labels.BUILDING, tint, frame=frame))
    return halves


def _roof(plan: Plan, lot: Lot, d: float, eaves: float, ridge: float, slates: Texture) -> Face:
    """The slope that looks to the street."""
    (x0, y0), (x1, y1) = lot.line(plan, d)
    (x2, y2), (x3, y3) = lot.line(plan, d + _DEPTH / 2)
    slope = np.array([[x2, y2, ridge], [x3, y3, ridge], [x1, y1, eaves], [x0, y0, eaves]])
    return Face(slope, slates, labels.BUILDING)


def _chimney(
    plan: Plan,
    lot: Lot,
    rng: np.random.Generator,
    d: float,
    ridge: float,
    tint: Color,
) -> List[Face]:
    """A stack on the ridge at one end of the house."""
    x = lot.x0 + 0.6 if rng.random() < 0.5 else lot.x1 - 0.6
    size = (
        float(rng.uniform(0.6, 1.1)),
        float(rng.uniform(0.6, 1.4)),
        float(rng.uniform(1.0, 1.8)),
    )
    brick = walls.bare_wall(int(rng.integers(12)), 1, 1)
    box = box_shell(size, (brick,) * 5, labels.BUILDING, bottom=ridge - 0.5)
    return [
        face._replace(tint=tint)
        for face in placed(box, *plan.at(x, lot.side * d), plan.heading(x))
    ]


def finished(houses: Sequence[House]) -> List[Prop]:
    """The houses as things, without the party walls that nobody sees."""
    props: List[Prop] = []
    for house in houses:
        faces = list(house.faces)
        for x, gable in zip((house.lot.x0, house.lot.x1), house.gables, strict=False):
            if not any(_hides(other, house, x) for other in houses):
                faces += gable
        props.append(
            Prop(
                *house.place,
                faces=tuple(faces),
                footprints=(house.outline,),
                shadow=(house.eaves + house.ridge) / 2,
                backdrop=True,
                hard=neighbours([face.corners for face in faces]),
            )
        )
    return props


def _hides(other: House, house: House, x: float) -> bool:
    """Whether another house stands wall to wall at x and is nowhere lower."""
    touches = other.lot.x0 == x or other.lot.x1 == x
    return (
        other is not house
        and touches
        and abs(other.d - house.d) < 0.01
        and other.eaves >= house.eaves
        and other.ridge >= house.ridge
    )
