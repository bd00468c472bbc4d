# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What is painted on the road, and where it was mended: outlines in (x, d)."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from tools.street.layout import BLOCK, Plan, crossing, island, side_streets, stream

WHITE = (215, 220, 222)  # BGR albedo
YELLOW = (70, 170, 205)

Outlines = List[np.ndarray]


def markings(
    plan: Plan,
    x0: float,
    x1: float,
    yellow: bool,
) -> List[Tuple[Tuple[int, int, int], Outlines]]:
    """Colours and their outlines (n, 2) between two x."""
    white: Outlines = []
    lines: Outlines = []
    for block in range(int(x0 // BLOCK), int(x1 // BLOCK) + 1):
        for kind in _KINDS:
            white += kind(plan, block)
        lines += _box_junction(plan, block)
        if yellow:
            lines += _kerb_lines(plan, block)
    return [(WHITE, white), (YELLOW, lines)]


def box(x0: float, x1: float, d0: float, d1: float) -> np.ndarray:
    """A rectangle along the street."""
    return np.array([[x0, d0], [x1, d0], [x1, d1], [x0, d1]])


def _bar(start: Tuple[float, float], end: Tuple[float, float], width: float) -> np.ndarray:
    """A straight line of some width between two points."""
    a, b = np.array(start), np.array(end)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
    off = np.array([-along[1], along[0]]) * width / 2
    return np.array([a + off, b + off, b - off, a - off])


def _lane_lines(plan: Plan, block: int) -> Outlines:
    """Centre and lane lines: dashes whose rhythm the street keeps."""
    rng = stream(plan.seed, 61)
    period, share = (float(v) for v in (rng.choice([4.0, 6.0, 9.0]), rng.uniform(0.35, 0.7)))
    solid_center = rng.random() < 0.15
    middle = crossing(plan, block)
    lines = sorted(
        {lane * plan.lane_width * side for lane in range(plan.lanes) for side in (1, -1)}
    )
    shapes: Outlines = []
    for x in np.arange(np.ceil(block * BLOCK / period), (block + 1) * BLOCK / period) * period:
        if abs(x + period / 2 - middle) > 6:
            for d in lines:
                length = period if solid_center and d == 0 else period * share
                shapes.append(box(x, x + length, d - 0.06, d + 0.06))
    return shapes


def _edge_lines(plan: Plan, block: int) -> Outlines:
    """A line that separates the driving lane from parking or a cycle lane, on some streets."""
    shapes: Outlines = []
    begin, end = block * BLOCK, (block + 1) * BLOCK
    for side in (1, -1):
        parking = plan.parking[plan.index(side)]
        kerb = plan.carriageway(side)
        if parking:
            for x in np.arange(begin, end, 5.7):
                shapes.append(box(x, x + 0.1, side * (kerb - parking), side * kerb))
        if stream(plan.seed, 62, side).random() < (0.5 if parking else 0.25):
            d = side * (kerb - parking - (0.0 if parking else 0.35))
            for x0, x1 in _between_side_streets(plan, block, side, 0.5):
                shapes.append(box(x0, x1, d - 0.05, d + 0.05))
    return shapes


def _between_side_streets(
    plan: Plan,
    block: int,
    side: int,
    room: float,
) -> List[Tuple[float, float]]:
    """Stretches of one side of a block outside the side streets' mouths."""
    edges = [block * BLOCK, (block + 1) * BLOCK]
    for street in side_streets(plan, block):
        if street.side == side:
            edges[1:1] = [street.x - street.half_width - room, street.x + street.half_width + room]
    return list(zip(edges[::2], edges[1::2], strict=False))


def _zebra(plan: Plan, block: int) -> Outlines:
    """A zebra or a pair of dotted lines, with stop lines; zigzags before it."""
    middle = crossing(plan, block)
    if not np.isfinite(middle):
        return []
    rng = stream(plan.seed, 63, block)
    inner, outer = -plan.carriageway(-1) + 0.3, plan.carriageway(1) - 0.3
    if rng.random() < 0.65:
        shapes = [
            box(middle - 1.4, middle + 1.4, d, d + 0.55) for d in np.arange(inner, outer, 1.1)
        ]
    else:
        shapes = [
            box(middle + x - 0.08, middle + x + 0.08, d, d + 0.3)
            for d in np.arange(inner, outer, 0.7)
            for x in (-1.4, 1.4)
        ]
    shapes.append(box(middle - 2.6, middle - 2.4, 0, plan.lane_side(True) * plan.lane_width))
    shapes.append(box(middle + 2.4, middle + 2.6, 0, plan.lane_side(False) * plan.lane_width))
    if rng.random() < 0.5:
        for side in (1, -1):
            d = side * (plan.carriageway(side) - 0.5)
            for x in np.arange(3.0, 13.0, 2.0):
                for sign in (1, -1):
                    shapes.append(
                        _bar(
                            (middle + sign * x, d), (middle + sign * (x + 2), d - side * 0.35), 0.1
                        )
                    )
    return shapes


def _give_way(plan: Plan, block: int) -> Outlines:
    """Broken lines across the side streets' mouths."""
    shapes: Outlines = []
    for street in side_streets(plan, block):
        edge = street.side * (plan.carriageway(street.side) + 0.3)
        for x in np.arange(street.x - street.half_width, street.x + street.half_width, 0.9):
            shapes.append(box(x, x + 0.6, edge, edge + street.side * 0.2))
    return shapes


def _island_hatching(plan: Plan, block: int) -> Outlines:
    begin, _, half = island(plan, block)
    if not half:
        return []
    return [_bar((begin - 7, 0), (begin, side * (half + 0.25)), 0.1) for side in (1, -1)]


def _arrows(plan: Plan, block: int) -> Outlines:
    """Turn and straight-on arrows in the lanes of some blocks."""
    rng = stream(plan.seed, 64, block)
    if rng.random() > 0.3:
        return []
    shapes: Outlines = []
    x = block * BLOCK + float(rng.uniform(4, 30))
    for along in (True, False):
        sign = 1 if along else -1
        for lane in range(plan.lanes):
            d = plan.lane_side(along) * (lane + 0.5) * plan.lane_width
            turn = float(rng.choice([0.0, 0.0, 0.7, -0.7]))
            tip = (x + sign * 3.2, d + turn)
            neck = (x + sign * 2.2, d + turn * 0.5)
            shapes += [
                _bar((x, d), neck, 0.15),
                _bar(neck, tip, 0.15),
                np.array(
                    [
                        [tip[0] + sign * 0.7, tip[1] + turn * 0.5],
                        [tip[0] - sign * 0.2, tip[1] + 0.35],
                        [tip[0] - sign * 0.2, tip[1] - 0.35],
                    ]
                ),
            ]
    return shapes


def _box_junction(plan: Plan, block: int) -> Outlines:
    """Yellow crossed lines before some side streets."""
    shapes: Outlines = []
    for street in side_streets(plan, block):
        if stream(plan.seed, 65, block, street.side).random() > 0.2:
            continue
        reach = street.side * plan.carriageway(street.side)
        x0, x1 = street.x - street.half_width, street.x + street.half_width
        for start in np.arange(x0 - abs(reach), x1, 1.6):
            for slope in (1, -1):
                a = (start, 0.0) if slope > 0 else (start + abs(reach), 0.0)
                b = (start + abs(reach), reach) if slope > 0 else (start, reach)
                low = np.clip([a[0], b[0]], x0, x1)
                if abs(low[1] - low[0]) > 0.3:
                    share = (low - a[0]) / (b[0] - a[0])
                    shapes.append(
                        _bar((low[0], share[0] * reach), (low[1], share[1] * reach), 0.12)
                    )
    return shapes


def _kerb_lines(plan: Plan, block: int) -> Outlines:
    """Double yellow lines along the kerb."""
    shapes: Outlines = []
    for side in (1, -1):
        kerb = plan.carriageway(side)
        for x0, x1 in _between_side_streets(plan, block, side, 3.0):
            for inset in (0.25, 0.45):
                shapes.append(box(x0, x1, side * (kerb - inset), side * (kerb - inset - 0.08)))
    return shapes


def road_repairs(plan: Plan, x0: float, x1: float, age: float) -> List[Tuple[np.ndarray, int]]:
    """Patches, trenches, cracks and covers: outlines with their tone (128 keeps the asphalt's)."""
    found: List[Tuple[np.ndarray, int]] = []
    for block in range(int((x0 - 20) // BLOCK), int((x1 + 20) // BLOCK) + 1):
        rng = stream(plan.seed, 66, block)
        reach = plan.carriageway(1)
        for _ in range(int(rng.poisson(4 * age))):
            x, d = block * BLOCK + rng.uniform(0, BLOCK), rng.uniform(-reach, reach)
            length, width = rng.uniform(0.6, 9), rng.uniform(0.4, 2.2)
            found.append((box(x, x + length, d, d + width), int(rng.uniform(92, 150))))
        for _ in range(int(rng.poisson(1.5 * age))):  # a trench across, or along the street
            x, d = block * BLOCK + rng.uniform(0, BLOCK), rng.uniform(-reach, reach)
            across = rng.random() < 0.5
            ends = (
                ((x, -reach), (x + rng.normal(0, 1), reach))
                if across
                else ((x, d), (x + rng.uniform(8, 20), d + rng.normal(0, 0.3)))
            )
            found.append((_bar(*ends, float(rng.uniform(0.3, 0.7))), int(rng.uniform(85, 120))))
        found += _cracks(rng, block, reach, age)
        for _ in range(int(rng.poisson(1.5))):  # manhole covers and gully grates
            x, d = block * BLOCK + rng.uniform(0, BLOCK), rng.uniform(-reach, reach)
            turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
            ring = np.array([x, d]) + 0.33 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
            found.append((ring, int(rng.uniform(60, 165))))
    return found


def _cracks(
    rng: np.random.Generator,
    block: int,
    reach: float,
    age: float,
) -> List[Tuple[np.ndarray, int]]:
    found: List[Tuple[np.ndarray, int]] = []
    for _ in range(int(rng.poisson(2 * age))):
        x, d = block * BLOCK + rng.uniform(0, BLOCK), rng.uniform(-reach, reach)
        heading = rng.uniform(0, np.pi)
        for _ in range(int(rng.integers(4, 14))):
            step = rng.uniform(0.3, 0.8)
            x1, d1 = x + np.cos(heading) * step, d + np.sin(heading) * step
            found.append((_bar((x, d), (x1, d1), 0.03), 70))
            x, d = x1, d1
            heading += rng.normal(0, 0.4)
    return found


_KINDS = (_lane_lines, _edge_lines, _zebra, _give_way, _island_hatching, _arrows)
