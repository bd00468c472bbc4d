# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Random streets: layout, light, ground and traffic, all from one seed."""

from __future__ import annotations

from typing import Optional

import numpy as np

from tools.street.frontage import DISTRICTS
from tools.street.ground import Materials
from tools.street.layout import Plan, stream
from tools.street.light import Color, Light, sample_light
from tools.street.scene import Scene
from tools.street.traffic import Ego, Traffic

_LIGHT_MIX = {
    'day': 0.30,
    'overcast': 0.25,
    'low sun': 0.14,
    'dusk': 0.17,
    'night': 0.05,
    'fog': 0.05,
    'snow': 0.04,
}


def sample_scene(seed: int, light: Optional[str] = None) -> Scene:
    """A random street; ``light`` fixes the kind of light (one of light.LIGHTS)."""
    rng = stream(seed, 50)
    kind = light or str(rng.choice(list(_LIGHT_MIX), p=list(_LIGHT_MIX.values())))
    plan = sample_plan(seed)
    sampled: Light = sample_light(stream(seed, 51), kind)
    ego = Ego(
        plan,
        speed=float(rng.uniform(6, 12)),
        sway=float(rng.uniform(0, 0.3)),
        lane=int(rng.integers(plan.lanes)),
    )
    traffic = Traffic(
        plan,
        ego,
        vehicles=float(rng.uniform(0.3, 1.0)),
        cyclists=float(rng.uniform(0, 0.8)),
        people=float(rng.uniform(0.1, 1)),
        lamps=sampled.lamps,
    )
    chosen = rng.choice(len(DISTRICTS), int(rng.integers(1, 3)), replace=False)
    return Scene(
        plan,
        sampled,
        sample_materials(seed, sampled),
        ego,
        traffic,
        districts=tuple(DISTRICTS[i] for i in chosen),
        clutter=float(rng.uniform(0.4, 2)),
    )


def sample_plan(seed: int) -> Plan:
    """Random widths and bends."""
    rng = stream(seed, 52)

    def maybe(chance: float, low: float, high: float) -> float:
        value = float(rng.uniform(low, high))
        return value if rng.random() < chance else 0.0

    bends = tuple(
        (float(rng.normal(0, 1.2)) * wavelength / 150, wavelength, float(rng.uniform(0, 6.28)))
        for wavelength in rng.uniform(120, 400, 2).tolist()
    )
    return Plan(
        seed,
        keep_left=bool(rng.random() < 0.7),
        lane_width=float(rng.uniform(2.8, 3.6)),
        lanes=int(rng.choice([1, 1, 1, 2])),
        parking=(maybe(0.6, 1.9, 2.3), maybe(0.6, 1.9, 2.3)),
        verge=(maybe(0.25, 0.8, 2.5), maybe(0.25, 0.8, 2.5)),
        sidewalk=(float(rng.uniform(1.3, 4)), float(rng.uniform(1.3, 4))),
        side_streets=float(rng.uniform(0.15, 0.6)),
        bends=bends,
    )


def sample_materials(seed: int, light: Light) -> Materials:
    """Random ground colours, darker when wet, pale under snow."""
    rng = stream(seed, 53)
    wet, snow = 1 - 0.45 * light.wet, light.snow

    def grey(tone: float, cover: float) -> Color:
        color = tone * wet * rng.uniform(0.96, 1.04, 3)
        return _color(color * (1 - cover) + 235 * cover)

    asphalt = float(rng.uniform(70, 140))
    paving = asphalt * float(rng.uniform(0.75, 1.45))  # often no brighter than the road
    grass = np.array([50, 95, 75]) * rng.uniform(0.6, 1.2)
    grass = grass * (1 - 0.9 * snow) + 235 * 0.9 * snow
    return Materials(
        asphalt=grey(asphalt, 0.35 * snow),
        paving=grey(paving, 0.7 * snow),
        grass=_color(grass),
        kerb=grey(float(rng.uniform(105, 190)), 0.5 * snow),
        slabs=float(rng.choice([0.0, 0.4, 0.6, 0.9])),
        grain=float(rng.uniform(0.03, 0.12)),
        wear=float(rng.uniform(0.1, 0.8)),
        yellow_lines=bool(rng.random() < 0.4),
        seed=int(rng.integers(8)),
        age=float(rng.uniform(0, 1)),
        lane_color=_lane_color(rng, wet),
    )


def _lane_color(rng: np.random.Generator, wet: float) -> Optional[Color]:
    """Red or green asphalt of a cycle lane, on some streets."""
    red, green = (70, 75, 130), (95, 115, 75)
    color = np.array(red if rng.random() < 0.6 else green) * rng.uniform(0.8, 1.2) * wet
    return _color(color) if rng.random() < 0.15 else None


def _color(values: np.ndarray) -> Color:
    return float(values[0]), float(values[1]), float(values[2])
