# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A bridge over the street: walls on both sides, a ceiling, darkness beneath."""

from __future__ import annotations

import itertools
from typing import List

import numpy as np

from tools.street import labels, walls
from tools.street.layout import Plan
from tools.street.props import Face, Prop, neighbours, rectangle, upright


def bridge(plan: Plan, x0: float, x1: float, rng: np.random.Generator) -> Prop:
    """A bridge over the street, on walls behind both sidewalks."""
    clear, deck = 4.7, float(rng.uniform(1.0, 2.2))
    stone = walls.bare_wall(int(rng.integers(24)), 6, 4)
    left, right = plan.frontage(1) + 0.3, -plan.frontage(-1) - 0.3
    faces: List[Face] = []
    outlines: List[np.ndarray] = []
    cuts = np.linspace(x0, x1, max(2, round((x1 - x0) / 6)) + 1)
    for a, b in itertools.pairwise(cuts):
        corners = [
            (*plan.at(x, d), 0.0) for x, d in ((a, left), (b, left), (b, right), (a, right))
        ]
        sheltered = 0.25 if a > x0 and b < x1 else 0.45
        walls_up = [
            upright(corners[0][:2], corners[1][:2], 0, clear),
            upright(corners[2][:2], corners[3][:2], 0, clear),
        ]
        faces += [Face(quad, stone, labels.WALL, sky=sheltered) for quad in walls_up]
        ceiling = np.array([corners[0], corners[3], corners[2], corners[1]]) + (0, 0, clear)
        faces.append(Face(ceiling, stone, labels.BUILDING, sky=0.2))
        for d in (left, right):
            thick = d + np.sign(d) * 0.5
            outlines.append(
                np.array([plan.at(x, e) for x, e in ((a, d), (b, d), (b, thick), (a, thick))])
            )
    wide = (left + 6, right - 6)
    for x, near in ((x0, True), (x1, False)):
        ends = [plan.at(x, wide[0]), plan.at(x, wide[1])]
        start, end = ends if near else ends[::-1]
        faces.append(Face(upright(start, end, clear, clear + deck), stone, labels.BUILDING))
        for d, edge in ((left, wide[0]), (right, wide[1])):
            ends = sorted([plan.at(x, d), plan.at(x, edge)], key=lambda place: -place[1])
            start, end = ends if near else ends[::-1]
            faces.append(Face(upright(start, end, 0, clear), stone, labels.WALL))
            outlines.append(rectangle(x, (start[1] + end[1]) / 2, 0, 0.1, abs(start[1] - end[1])))
    return Prop(
        *plan.at(x0, left),
        faces=tuple(faces),
        footprints=tuple(outlines),
        shadow=0.1,
        backdrop=True,
        hard=neighbours([face.corners for face in faces]),
    )
