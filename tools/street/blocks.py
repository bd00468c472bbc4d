# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The street that stands still, block by block, and the shadows and lights it throws."""

from __future__ import annotations

from functools import partial
from typing import List, Tuple

import cv2
import numpy as np

from tools.street.frontage import frontage
from tools.street.ground import Pool
from tools.street.kerbside import kerbside
from tools.street.layout import BLOCK, Plan, stream, underpass
from tools.street.light import Light
from tools.street.markings import box
from tools.street.props import Prop
from tools.street.recent import Recent
from tools.street.shadows import cast

_DISTRICT = 3  # blocks that share their character


class Blocks:
    """Static things by block of the street; none where there are no districts."""

    def __init__(
        self,
        plan: Plan,
        light: Light,
        districts: Tuple[str, ...],
        clutter: float,
    ) -> None:
        self.plan = plan
        self.light = light
        self.districts = districts
        self.clutter = clutter
        self._blocks: Recent[Tuple[Prop, ...]] = Recent(32)
        self._shadows: Recent[List[np.ndarray]] = Recent(32)

    def block(self, index: int) -> Tuple[Prop, ...]:
        """Everything that stands in a block."""
        return self._blocks.get(index, lambda: self._build(index))

    def _build(self, index: int) -> Tuple[Prop, ...]:
        props: List[Prop] = []
        for side in (1, -1) if self.districts else ():
            rng = stream(self.plan.seed, 40, index // _DISTRICT, side)
            district = self.districts[int(rng.integers(len(self.districts)))]
            props += frontage(self.plan, index, side, district)
            props += kerbside(self.plan, index, side, self.light.lamps, self.clutter)
        return tuple(props)

    def _around(self, x0: float, x1: float) -> List[Prop]:
        """What stands in the blocks from x0 to x1 and in the next ones."""
        return [
            prop
            for index in range(int(x0 // BLOCK) - 1, int(x1 // BLOCK) + 2)
            for prop in self.block(index)
        ]

    def in_shadow(self, points: np.ndarray) -> np.ndarray:
        """Which world points (N, 2) lie in the shadow of a building or wall: (N,) bool."""
        shaded = np.zeros(len(points), bool)
        if not self.light.casts or not len(points):
            return shaded
        for prop in self._around(points[:, 0].min(), points[:, 0].max()):
            for footprint in prop.footprints if prop.backdrop else ():
                outline = cast(footprint, prop.shadow, self.light.direction).astype(np.float32)
                shaded |= [
                    cv2.pointPolygonTest(outline, point, False) > 0
                    for point in points.astype(np.float32).tolist()
                ]
        return shaded

    def shadows(self, x0: float, x1: float) -> List[np.ndarray]:
        """Outlines in (x, d) of the shadows that touch the street between two x."""
        if not self.light.casts:
            return []
        return [
            outline
            for index in range(int(x0 // BLOCK) - 1, int(x1 // BLOCK) + 2)
            for outline in self._shadows.get(index, partial(self._cast, index))
            if outline[:, 0].max() > x0 and outline[:, 0].min() < x1
        ]

    def _cast(self, index: int) -> List[np.ndarray]:
        """Shadows in (x, d) of everything in a block."""
        outlines: List[np.ndarray] = []
        for prop in self.block(index):
            for footprint in prop.footprints:
                outlines.append(cast(footprint, prop.shadow, self.light.direction))
            if prop.crown:
                outlines.append(self._crown(prop))
        for outline in outlines:
            outline[:, 1] -= self.plan.bend(outline[:, 0])
        begin, end = underpass(self.plan, index)
        if self.districts and end > begin:
            outlines.append(box(begin, end, -30.0, 30.0))
        return outlines

    def _crown(self, prop: Prop) -> np.ndarray:
        """Shadow of a tree's crown, world (x, y)."""
        turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        ragged = 1 + 0.2 * np.sin(turn * 5 + prop.x)
        disc = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (prop.crown * ragged)[:, None]
        sun = self.light.direction
        height = max(prop.shadow - prop.crown, 1.0)
        shadow: np.ndarray = disc + (prop.x, prop.y) - sun[:2] / max(sun[2], 0.1) * height
        return shadow

    def pools(self, x0: float, x1: float) -> List[Pool]:
        """Pools of lamp light that touch the street between two x."""
        return [
            Pool(prop.x, prop.y - self.plan.bend_at(prop.x), prop.lamp)
            for prop in self._around(x0, x1)
            if prop.lamp
        ]
