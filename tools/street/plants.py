# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Trees and bushes placed in the street."""

from __future__ import annotations

import numpy as np

from tools.street import labels, nature
from tools.street.layout import Plan
from tools.street.props import Prop, Sprite, disc


def tree(plan: Plan, x: float, d: float, rng: np.random.Generator) -> Prop:
    """A tree, leafy or bare as the street's season has it."""
    px, py = plan.at(x, d)
    thickness, clear = float(rng.uniform(0.18, 0.5)), float(rng.uniform(2.6, 4.0))
    spread = float(rng.uniform(3.5, 7.5))
    bare = (plan.seed % 3 == 0) != (rng.random() < 0.15)
    trunk = Sprite(
        px,
        py,
        0.0,
        thickness,
        clear + spread * 0.3,
        nature.trunk(int(rng.integers(8))),
        labels.VEGETATION,
        toward=thickness / 2,
    )
    sprites = [trunk]
    if bare:
        sprites.append(
            Sprite(
                px,
                py,
                clear - 0.3,
                spread,
                spread * 1.1,
                nature.bare_crown(int(rng.integers(16))),
                labels.VEGETATION,
            )
        )
    else:
        for _ in range(int(rng.integers(1, 4))):
            dx, dy, dz = rng.uniform(-0.22, 0.22, 3) * spread
            size = spread * float(rng.uniform(0.75, 1.1))
            sprites.append(
                Sprite(
                    px + dx,
                    py + dy,
                    clear - 0.4 + abs(dz),
                    size,
                    size * 0.95,
                    nature.crown(int(rng.integers(24))),
                    labels.VEGETATION,
                    flip=bool(rng.random() < 0.5),
                )
            )
    return Prop(
        px,
        py,
        sprites=tuple(sprites),
        crown=spread / 2,
        footprints=(disc(px, py, thickness / 2),),
        shadow=clear + spread,
    )


def bush(plan: Plan, x: float, d: float, rng: np.random.Generator) -> Prop:
    """A bush."""
    px, py = plan.at(x, d)
    width, height = float(rng.uniform(1.2, 2.6)), float(rng.uniform(0.8, 2.2))
    sprite = Sprite(
        px,
        py,
        0.0,
        width,
        height,
        nature.bush(int(rng.integers(12))),
        labels.VEGETATION,
        toward=0.3,
    )
    return Prop(px, py, sprites=(sprite,), footprints=(disc(px, py, 0.3),), shadow=height)
