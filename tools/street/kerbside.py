# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What stands along the kerb: lamps, signs, signals, trees, bollards, parked vehicles."""

from __future__ import annotations

from typing import List

import numpy as np

from tools.street import cars, coaches, furniture, labels, walls
from tools.street.actors import two_wheeler, vehicle
from tools.street.frontage import barrier
from tools.street.houses import Lot
from tools.street.layout import (
    BLOCK,
    Plan,
    crossing,
    island,
    side_streets,
    stream,
    underpass,
)
from tools.street.plants import tree
from tools.street.props import Prop


def kerbside(plan: Plan, block: int, side: int, lamps: float, clutter: float) -> List[Prop]:
    """Static things between the frontage and the road on one side of a block."""
    rng = stream(plan.seed, 20, block, side)
    props = _lamps(plan, block, side, rng, lamps)
    props += _signs(plan, block, side, rng, clutter)
    props += _signals(plan, block, side, rng)
    props += _trees(plan, block, side, rng)
    props += _bollards(plan, block, side, rng, clutter)
    props += _parked(plan, block, side, rng)
    props += _parked_cycles(plan, block, side, rng, clutter)
    props += _guard_rail(plan, block, side, rng)
    props += _waiting(plan, block, side, rng)
    if side > 0:
        props += _island(plan, block)
    return props


def _clear(plan: Plan, block: int, side: int, x: float, room: float) -> bool:
    """Whether x lies away from the side streets' mouths and from an underpass."""
    x0, x1 = underpass(plan, block)
    return not x0 - 2 < x < x1 + 2 and all(
        street.side != side or abs(x - street.x) > street.half_width + room
        for street in side_streets(plan, block)
    )


def _lamps(
    plan: Plan,
    block: int,
    side: int,
    rng: np.random.Generator,
    lamps: float,
) -> List[Prop]:
    """Street lamps on one side in turn, or on both, and now and then a plain post."""
    tone = int(stream(plan.seed, 21).integers(35, 170))
    both = stream(plan.seed, 24).random() < 0.5
    props: List[Prop] = []
    x = block * BLOCK + float(rng.uniform(2, 38))
    if (both or (block + (side > 0)) % 2) and _clear(plan, block, side, x, 1.5):
        px, py = plan.at(x, side * (plan.carriageway(side) + 0.45))
        props.append(furniture.lamp_post(px, py, -side * 1.6, tone, lamps))
    x = block * BLOCK + float(rng.uniform(2, 38))
    if rng.random() < 0.3 and _clear(plan, block, side, x, 1.5):
        px, py = plan.at(x, side * (plan.carriageway(side) + float(rng.uniform(0.4, 1.5))))
        height, thickness = float(rng.uniform(2.2, 9)), float(rng.uniform(0.08, 0.28))
        props.append(furniture.post(px, py, height, thickness, int(rng.integers(30, 200))))
    return props


def _signs(
    plan: Plan,
    block: int,
    side: int,
    rng: np.random.Generator,
    clutter: float,
) -> List[Prop]:
    props = []
    for _ in range(int(rng.poisson(1.8 * clutter))):
        x = block * BLOCK + float(rng.uniform(1, 39))
        if _clear(plan, block, side, x, 1.0):
            toward = np.pi if side == plan.lane_side(True) else 0.0
            heading = toward + float(rng.normal(0, 0.15)) + plan.heading(x)
            kind = furniture.sign if rng.random() < 0.85 else furniture.board
            away = 1.2 if kind is furniture.board else float(rng.uniform(0.4, 0.9))
            px, py = plan.at(x, side * (plan.carriageway(side) + away))
            props.append(kind(px, py, heading, int(rng.integers(30))))
    return props


def _signals(plan: Plan, block: int, side: int, rng: np.random.Generator) -> List[Prop]:
    """Traffic lights at most crossings and at some side streets."""
    along = side == plan.lane_side(True)
    heads: List[float] = []
    x = crossing(plan, block)
    if np.isfinite(x) and stream(plan.seed, 22, block).random() < 0.75:
        heads += [x - 2.6, x + 2.6]
    for street in side_streets(plan, block):
        if stream(plan.seed, 25, block).random() < 0.35:
            room = street.half_width + 3.5
            heads += [street.x - room, street.x + room]
    state = int(stream(plan.seed, 23, block).integers(3))
    d = side * (plan.carriageway(side) + 0.4)
    return [
        furniture.traffic_light(*plan.at(x, d), (np.pi if along else 0.0) + plan.heading(x), state)
        for x in heads
        if _clear(plan, block, side, x, 0.5)
    ]


def _island(plan: Plan, block: int) -> List[Prop]:
    begin, end, half = island(plan, block)
    if not half:
        return []
    return [furniture.keep_left(*plan.at(x, 0.0), block) for x in (begin + 0.4, end - 0.4)]


def _guard_rail(plan: Plan, block: int, side: int, rng: np.random.Generator) -> List[Prop]:
    """Railings that keep people off the road, on some stretches of kerb."""
    begin, length = block * BLOCK + float(rng.uniform(0, 20)), float(rng.uniform(6, 20))
    style = int(rng.choice([0, 3, 7, 11]))
    if rng.random() > 0.12:
        return []
    d, texture = plan.carriageway(side) + 0.25, walls.fence(style)
    stretch = np.arange(begin, begin + length, 2.0)
    return [
        barrier(plan, Lot(float(x), float(x) + 2.0, side), d, 1.0, texture, labels.FENCE)
        for x in stretch
        if _clear(plan, block, side, float(x) + 1, 2.5)
    ]


def _waiting(plan: Plan, block: int, side: int, rng: np.random.Generator) -> List[Prop]:
    """A car that waits in a side street to join, or one that has just turned into it."""
    props: List[Prop] = []
    for street in side_streets(plan, block):
        if street.side != side:
            continue
        for joins in (True, False):
            away, style = float(rng.uniform(3.2, 16)), int(rng.integers(cars.STYLES))
            if rng.random() < 0.45:
                heading = -side * np.pi / 2 if joins else side * np.pi / 2
                # Seen by its driver the car is on the side where the street drives.
                lane = street.half_width / 2 * plan.lane_side(True)
                x = street.x - np.sin(heading) * lane
                px, py = plan.at(x, side * (plan.carriageway(side) + away))
                props.append(
                    vehicle(cars.car(style), px, py, heading, _instance(block, side, 50 + joins))
                )
    return props


def _trees(plan: Plan, block: int, side: int, rng: np.random.Generator) -> List[Prop]:
    index = plan.index(side)
    if plan.verge[index]:
        d, chance = plan.carriageway(side) + plan.verge[index] / 2, 0.7
    else:
        d, chance = plan.carriageway(side) + 0.7, 0.4 * (plan.sidewalk[index] > 2.0)
    props = []
    for x in np.arange(block * BLOCK + 4, (block + 1) * BLOCK, 9.0):
        if rng.random() < chance and _clear(plan, block, side, float(x), 3.0):
            props.append(tree(plan, float(x + rng.uniform(-2, 2)), side * d, rng))
    return props


def _bollards(
    plan: Plan,
    block: int,
    side: int,
    rng: np.random.Generator,
    clutter: float,
) -> List[Prop]:
    if rng.random() > 0.25 * clutter:
        return []
    begin, style = block * BLOCK + float(rng.uniform(0, 25)), int(rng.integers(4))
    d = side * (plan.carriageway(side) + 0.3)
    return [
        furniture.bollard(*plan.at(float(x), d), style)
        for x in np.arange(begin, begin + rng.uniform(4, 14), 1.6)
        if _clear(plan, block, side, float(x), 0.5)
    ]


def _instance(block: int, side: int, number: int) -> int:
    """An instance id below 32768 that repeats only after 256 blocks."""
    return 1 + (block % 256) * 128 + (64 if side > 0 else 0) + number % 64


def _parked(plan: Plan, block: int, side: int, rng: np.random.Generator) -> List[Prop]:
    parking = plan.parking[plan.index(side)]
    if not parking:
        return []
    props: List[Prop] = []
    d = side * (plan.carriageway(side) - parking / 2)
    fullness = float(rng.uniform(0.2, 1.0))
    for number, x in enumerate(np.arange(block * BLOCK + 3, (block + 1) * BLOCK - 2.7, 5.7)):
        jitter, away, style = float(rng.uniform(-0.3, 0.3)), rng.random(), int(rng.integers(96))
        kind = rng.random()
        near_crossing = abs(float(x) - crossing(plan, block)) < 6
        if away > fullness or near_crossing or not _clear(plan, block, side, float(x), 5.0):
            continue
        heading = 0.0 if side == plan.lane_side(True) or rng.random() < 0.3 else np.pi
        heading += plan.heading(float(x)) + float(rng.normal(0, 0.02))
        shell = coaches.truck(style % 24) if kind < 0.02 else cars.car(style)
        px, py = plan.at(float(x) + jitter, d)
        props.append(vehicle(shell, px, py, heading, _instance(block, side, number)))
    return props


def _parked_cycles(
    plan: Plan,
    block: int,
    side: int,
    rng: np.random.Generator,
    clutter: float,
) -> List[Prop]:
    if rng.random() > 0.3 * clutter:
        return []
    begin, count = block * BLOCK + float(rng.uniform(2, 30)), int(rng.integers(1, 6))
    motor = rng.random() < 0.3
    props: List[Prop] = []
    for number in range(count):
        x = begin + number * (1.1 if motor else 0.6)
        if _clear(plan, block, side, x, 1.0):
            px, py = plan.at(x, side * (plan.carriageway(side) + 1.4))
            heading = float(np.pi / 2 + rng.normal(0, 0.3))
            props.append(
                two_wheeler(
                    px,
                    py,
                    heading,
                    int(rng.integers(32)),
                    motor,
                    _instance(block, side, 40 + number),
                    np.array([px - 30.0, 0.0]),
                )
            )
    return props
