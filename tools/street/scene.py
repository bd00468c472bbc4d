# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The whole street at a moment: what stands and moves around the camera, and what is free."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from tools.street import labels
from tools.street.batch import Batch, pack
from tools.street.blocks import Blocks
from tools.street.ground import Materials, Painter
from tools.street.groundview import to_world
from tools.street.layout import BLOCK, Plan, sheltered
from tools.street.light import Light
from tools.street.props import Prop
from tools.street.recent import Recent
from tools.street.traffic import Ego, Traffic

_BEHIND = 12.0  # metres behind the camera that are populated


class Moment(NamedTuple):
    """What is there at one time, as things and as arrays to draw."""

    props: List[Prop]
    batches: List[Batch]


class Scene:
    """A street by its plan, its light and who is out and about; the same for ever.

    ``districts`` are names of frontage.DISTRICTS, ``clutter`` scales what stands on the
    sidewalks, ``reach`` is how many metres ahead are populated; an ``empty`` scene is bare
    ground.
    """

    def __init__(
        self,
        plan: Plan,
        light: Light,
        materials: Materials,
        ego: Ego,
        traffic: Traffic,
        districts: Tuple[str, ...] = ('terraces',),
        clutter: float = 1.0,
        reach: float = 140.0,
        empty: bool = False,
    ) -> None:
        self.plan = plan
        self.light = light
        self.ego = ego
        self.traffic = traffic
        self.reach = reach
        self.empty = empty
        self.blocks = Blocks(plan, light, () if empty else districts, clutter)
        self.painter = Painter(
            plan, materials, self.blocks.shadows, self.blocks.pools if light.lamps else None
        )
        self._packed: Recent[Batch] = Recent(32)

    def at(self, t: float) -> Moment:
        """Everything around the camera at time t, world frame."""
        if self.empty:
            return Moment([], [pack([], np.zeros(0), np.zeros(0), self.light)])
        x, _, _ = self.ego.place(t)
        near = range(int((x - _BEHIND) // BLOCK), int((x + self.reach) // BLOCK) + 1)
        moving = self.traffic.around(t, _BEHIND, self.reach)
        sun = np.array([self._sunlit(prop) for prop in moving])
        sky = sheltered(self.plan, np.array([prop.x for prop in moving]))
        props = [prop for index in near for prop in self.blocks.block(index)] + moving
        batches = [self._batch(index) for index in near]
        return Moment(props, batches + [pack(moving, sun, sky, self.light)])

    def _batch(self, index: int) -> Batch:
        return self._packed.get(index, lambda: self._pack(self.blocks.block(index)))

    def _pack(self, props: Sequence[Prop]) -> Batch:
        if self.light.lamps:
            sun = np.array([self._sunlit(prop) for prop in props])
        else:
            backdrop = np.array([prop.backdrop for prop in props], bool)
            places = np.array([(prop.x, prop.y) for prop in props]).reshape(-1, 2)
            sun = np.where(self.blocks.in_shadow(places) & ~backdrop, 0.1, 1.0)
        return pack(props, sun, np.ones(len(props)), self.light)

    def _sunlit(self, prop: Prop) -> float:
        """Share of the sun (or of the street lamps' light) that reaches a thing, 0..1."""
        if not (self.light.casts or self.light.lamps):
            return 1.0
        return self.painter.sunlit(prop.x, prop.y - self.plan.bend_at(prop.x))

    def free_at(self, points: np.ndarray, t: float) -> np.ndarray:
        """Whether ground points are road that nothing stands on at time t.

        ``points`` is (N, 2) float, x forward and y left of the vehicle in metres; (N,) bool.
        """
        place = self.ego.place(t)
        world = to_world(np.asarray(points, np.float64), place)
        free = self.painter.ground(place[0]).label_at(world) == labels.ROAD
        for prop in self.at(t).props:
            for outline in prop.footprints:
                low, high = outline.min(axis=0), outline.max(axis=0)
                near = np.flatnonzero(((world >= low) & (world <= high)).all(axis=1))
                free[near[inside(outline, world[near])]] = False
        return free


def inside(outline: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points (N, 2) lie in a convex outline (n, 2) of either orientation."""
    ahead = np.roll(outline, -1, axis=0) - outline
    rel = points[:, None] - outline[None]
    cross = ahead[None, :, 0] * rel[..., 1] - ahead[None, :, 1] * rel[..., 0]
    return np.asarray((cross >= 0).all(axis=1) | (cross <= 0).all(axis=1))
