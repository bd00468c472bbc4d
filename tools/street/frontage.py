# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What lines the street: terraces, houses behind walls, fences and hedges, parks."""

from __future__ import annotations

import itertools
from typing import List, Tuple, Union

import numpy as np

from tools.street import facades, labels, nature, walls
from tools.street.bridge import bridge
from tools.street.houses import House, Lot, Shape, build, finished
from tools.street.layout import BLOCK, Plan, side_streets, stream, underpass
from tools.street.plants import bush, tree
from tools.street.props import Face, Prop, upright
from tools.street.texture import Texture

Things = List[Union[House, Prop]]


def lots(plan: Plan, block: int, side: int) -> List[Lot]:
    """The block's frontage on a side, cut at side streets and into plots."""
    rng = stream(plan.seed, 10, block, side)
    edges = [block * BLOCK, (block + 1) * BLOCK]
    for street in side_streets(plan, block):
        if street.side == side:
            room = street.half_width + street.sidewalk
            edges[1:1] = [street.x - room, street.x + room]
    result: List[Lot] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=False):
        count = max(1, round((end - begin) / float(rng.uniform(7, 14))))
        cuts = np.linspace(begin, end, count + 1)
        result += [Lot(float(a), float(b), side) for a, b in itertools.pairwise(cuts)]
    return result


def frontage(plan: Plan, block: int, side: int, district: str) -> List[Prop]:
    """Everything beyond the sidewalk on one side of a block."""
    rng = stream(plan.seed, 11, block, side)
    row = _shape(rng, int(rng.integers(2, 5)), False, rng.random() < 0.8)
    props: List[Prop] = []
    houses: List[House] = []
    x0, x1 = underpass(plan, block)
    for lot in lots(plan, block, side):
        if lot.x0 < x1 and lot.x1 > x0:
            continue
        kind = str(rng.choice(list(_DISTRICTS[district]), p=list(_DISTRICTS[district].values())))
        for thing in _LOTS[kind](plan, lot, rng, row):
            if isinstance(thing, House):
                houses.append(thing)
            else:
                props.append(thing)
    for street in side_streets(plan, block):
        if street.side == side:
            room = street.half_width + street.sidewalk
            end = Lot(street.x - room - 4, street.x + room + 4, side)
            houses.append(
                build(
                    plan,
                    end,
                    rng,
                    _shape(rng, int(rng.integers(2, 5)), False, True, float(rng.uniform(25, 40))),
                )
            )
    if x1 > x0 and side > 0:
        props.append(bridge(plan, x0, x1, rng))
    return finished(houses) + props


def _shape(
    rng: np.random.Generator, floors: int, shop: bool, pitched: bool, setback: float = 0.0
) -> Shape:
    return Shape(int(rng.integers(facades.STYLES)), floors, shop, bool(pitched), setback)


def barrier(
    plan: Plan,
    lot: Lot,
    d: float,
    height: float,
    texture: Texture,
    label: int,
) -> Prop:
    """A thin upright thing along the lot, with a front to the street and a back."""
    start, end = lot.line(plan, d)
    back_start, back_end = lot.line(plan, d + 0.15)
    faces = (
        Face(upright(start, end, 0, height), texture, label),
        Face(upright(back_end, back_start, 0, height), texture, label),
    )
    outline = np.array([start, end, back_end, back_start])
    return Prop(*start, faces=faces, footprints=(outline,), shadow=height, backdrop=True)


def _pieces(lot: Lot, length: float) -> List[Lot]:
    """Cut a lot into pieces of about a length, so that a texture keeps its scale."""
    count = max(1, round((lot.x1 - lot.x0) / length))
    cuts = np.linspace(lot.x0, lot.x1, count + 1)
    return [Lot(float(a), float(b), lot.side) for a, b in itertools.pairwise(cuts)]


def _terrace(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    """A house of a row: mostly like its neighbours."""
    likeness = rng.random()
    shape = (
        row
        if likeness < 0.5
        else row.varied(rng)
        if likeness < 0.75
        else _shape(rng, int(rng.integers(2, 5)), False, rng.random() < 0.8)
    )
    return [build(plan, lot, rng, shape)]


def _shops(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    shape = (
        row.varied(rng)._replace(shop=True)
        if rng.random() < 0.5
        else _shape(rng, int(rng.integers(2, 5)), True, rng.random() < 0.6)
    )
    return [build(plan, lot, rng, shape)]


def _offices(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    return [
        build(
            plan,
            lot,
            rng,
            _shape(rng, int(rng.integers(3, 7)), False, False, float(rng.uniform(0, 3))),
        )
    ]


def _house(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    """A house behind a front garden with a wall, fence or hedge."""
    gap = float(rng.uniform(0.3, 1.5))
    inner = Lot(lot.x0 + gap, lot.x1 - gap, lot.side)
    props: Things = [
        build(
            plan,
            inner,
            rng,
            _shape(rng, int(rng.integers(2, 4)), False, True, float(rng.uniform(3, 7))),
        )
    ]
    props += _border(plan, lot, rng)
    if rng.random() < 0.5:
        x = float(rng.uniform(lot.x0 + 1, lot.x1 - 1))
        props.append(tree(plan, x, lot.side * (plan.frontage(lot.side) + 2), rng))
    return props


def _border(plan: Plan, lot: Lot, rng: np.random.Generator) -> List[Prop]:
    d = plan.frontage(lot.side) + 0.05
    kind = rng.choice(['wall', 'fence', 'hedge', 'bushes'], p=[0.4, 0.3, 0.2, 0.1])
    if kind == 'wall':
        texture = walls.bare_wall(int(rng.integers(12)), 4, 2)
        height = float(rng.uniform(0.8, 2.2))
        return [barrier(plan, piece, d, height, texture, labels.WALL) for piece in _pieces(lot, 4)]
    if kind == 'fence':
        texture, height = walls.fence(int(rng.integers(12))), float(rng.uniform(1.0, 1.9))
        return [
            barrier(plan, piece, d, height, texture, labels.FENCE) for piece in _pieces(lot, 4)
        ]
    if kind == 'hedge':
        texture, height = nature.hedge(int(rng.integers(8))), float(rng.uniform(1.0, 2.2))
        return [
            barrier(plan, piece, d + 0.1, height, texture, labels.VEGETATION)
            for piece in _pieces(lot, 4)
        ]
    return [
        bush(plan, float(x), lot.side * (d + 1.0), rng)
        for x in np.arange(lot.x0 + 0.8, lot.x1, 1.8)
    ]


def _park(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    props = _border(plan, lot, rng) if rng.random() < 0.5 else []
    d = plan.frontage(lot.side)
    for _ in range(int(rng.integers(1, 4))):
        x, away = float(rng.uniform(lot.x0, lot.x1)), float(rng.uniform(1.5, 12))
        props.append(tree(plan, x, lot.side * (d + away), rng))
    for _ in range(int(rng.integers(0, 4))):
        x, away = float(rng.uniform(lot.x0, lot.x1)), float(rng.uniform(3, 15))
        props.append(bush(plan, x, lot.side * (d + away), rng))
    return props + _backdrop(plan, lot, rng, 22.0)


def _high_wall(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    texture = walls.bare_wall(int(rng.integers(12)), 6, 4)
    height = float(rng.uniform(2.2, 4.0))
    d = plan.frontage(lot.side)
    props = [barrier(plan, piece, d, height, texture, labels.WALL) for piece in _pieces(lot, 6)]
    return props + _backdrop(plan, lot, rng, 15.0)


def _yard(plan: Plan, lot: Lot, rng: np.random.Generator, row: Shape) -> Things:
    texture, height = walls.fence(int(rng.integers(12))), float(rng.uniform(1.4, 2.6))
    d = plan.frontage(lot.side)
    props = [barrier(plan, piece, d, height, texture, labels.FENCE) for piece in _pieces(lot, 4)]
    return props + _backdrop(plan, lot, rng, 14.0)


def _backdrop(plan: Plan, lot: Lot, rng: np.random.Generator, setback: float) -> Things:
    """Something further back that closes the view."""
    if rng.random() < 0.45:
        return [build(plan, lot, rng, _shape(rng, int(rng.integers(2, 5)), False, True, setback))]
    d = plan.frontage(lot.side) + setback
    return [tree(plan, float(x), lot.side * d, rng) for x in np.arange(lot.x0 + 2, lot.x1, 5.0)]


_LOTS = {
    'terrace': _terrace,
    'shops': _shops,
    'offices': _offices,
    'house': _house,
    'park': _park,
    'high wall': _high_wall,
    'yard': _yard,
}

_DISTRICTS = {
    'centre': {'shops': 0.5, 'terrace': 0.3, 'offices': 0.15, 'high wall': 0.05},
    'terraces': {'terrace': 0.6, 'house': 0.2, 'shops': 0.1, 'high wall': 0.05, 'yard': 0.05},
    'suburb': {'house': 0.65, 'park': 0.15, 'yard': 0.1, 'high wall': 0.1},
    'outskirts': {'park': 0.35, 'yard': 0.2, 'offices': 0.25, 'high wall': 0.1, 'house': 0.1},
}

DISTRICTS: Tuple[str, ...] = tuple(_DISTRICTS)
