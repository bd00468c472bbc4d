# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The ground's surface, painted seen from above: asphalt, paving, grass, markings, shadows.

The street is painted in strips straightened along its centre line: rows run along x, columns
along d from right to left. Three levels of detail serve near, middle and far ground.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from tools.street.layout import BLOCK, Ground, Plan, sheltered
from tools.street.markings import markings, road_repairs
from tools.street.recent import Recent
from tools.street.texture import noise, tile_to

FIXED_BITS = 4  # of sub-texel outlines


class Level(NamedTuple):
    """A level of detail: texel size along x and d, painted half width, strip length, reach."""

    step_x: float
    step_d: float
    half_width: float
    length: float
    reach: float

    def fixed(self, outline: np.ndarray, x0: float) -> np.ndarray:
        """An outline (n, 2) in (x, d) as fixed-point texels of the strip that begins at x0."""
        columns = (outline[:, 1] + self.half_width) / self.step_d - 0.5
        rows = (outline[:, 0] - x0) / self.step_x - 0.5
        points = np.clip(np.stack([columns, rows], axis=1), -1e5, 1e5)
        return np.rint(points * (1 << FIXED_BITS)).astype(np.int32)


LEVELS = (
    Level(0.025, 0.025, 12.0, 8.0, 14.0),
    Level(0.1, 0.05, 16.0, 40.0, 55.0),
    Level(0.4, 0.1, 20.0, 80.0, 240.0),
)


class Materials(NamedTuple):
    """Colours (BGR albedo 0..255) and grain of one street's surfaces."""

    asphalt: Tuple[float, float, float]
    paving: Tuple[float, float, float]
    grass: Tuple[float, float, float]
    kerb: Tuple[float, float, float]
    slabs: float  # metres between joints of the paving; 0 for asphalt
    grain: float
    wear: float  # 0..1: how worn the markings are
    yellow_lines: bool
    seed: int
    age: float = 0.5  # 0..1: how much the road was mended
    lane_color: Optional[Tuple[float, float, float]] = None  # of a cycle lane, None for no lane


Shadows = Callable[[float, float], List[np.ndarray]]
"""Shadow outlines (n, 2) in (x, d) that touch the street between two x."""


class Pool(NamedTuple):
    """Light of a street lamp on the ground: where, and its radius in metres."""

    x: float
    d: float
    radius: float


Pools = Callable[[float, float], List[Pool]]
"""Pools of light that touch the street between two x."""


class Painter:
    """Paints strips of ground; a strip is (rows, cols, 4) uint8: BGR albedo and sunlit share.

    Where there are ``pools`` they are the light, by night; else the sun between ``shadows``.
    """

    def __init__(
        self, plan: Plan, materials: Materials, shadows: Shadows, pools: Optional[Pools] = None
    ) -> None:
        self._pools = pools
        self.plan = plan
        self.materials = materials
        self.shadows = shadows
        self._strips: Recent[np.ndarray] = Recent(20)

    def strip(self, level: int, index: int) -> np.ndarray:
        """Strip number ``index`` of a level of detail."""
        return self._strips.get((level, index), lambda: self._paint(level, index))

    def ground(self, x: float) -> Ground:
        """The plan tabulated around x."""
        return _ground(self.plan, int(np.floor(x / BLOCK)))

    def sunlit(self, x: float, d: float) -> float:
        """Share of the sun that reaches the ground at a place, 0..1."""
        spec = LEVELS[-1]
        index = int(x // spec.length)
        strip = self.strip(len(LEVELS) - 1, index)
        row = int((x - index * spec.length) / spec.step_x)
        col = int(np.clip((d + spec.half_width) / spec.step_d, 0, strip.shape[1] - 1))
        return float(strip[min(row, len(strip) - 1), col, 3]) / 255

    def _paint(self, level: int, index: int) -> np.ndarray:
        spec = LEVELS[level]
        x0 = index * spec.length
        rows, cols = round(spec.length / spec.step_x), round(2 * spec.half_width / spec.step_d)
        x = x0 + (np.arange(rows) + 0.5) * spec.step_x
        d = ((np.arange(cols) + 0.5) * spec.step_d - spec.half_width).astype(np.float32)
        albedo = self._surfaces(spec, x, d)
        self._mark(albedo, spec, x0)
        shade = sheltered(self.plan, x)
        if shade.min() < 1:
            albedo *= shade.astype(np.float32)[:, None, None]
        sunlit = (
            self._sunlit(spec, x0, rows, cols)
            if self._pools is None
            else self._lamplit(self._pools, spec, x0, x, d)
        )
        return cv2.merge([*cv2.split(cv2.convertScaleAbs(albedo)), sunlit])

    def _surfaces(self, spec: Level, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Albedo (rows, cols, 3) float32 without markings."""
        m = self.materials
        a, left = np.abs(d)[None], (d > 0)[None]
        # The profile differs along x and by side only: (rows, cols) from two columns.
        ends = self.ground(float(x[0])).profile_at(x, np.array([-1.0, 1.0]))
        kerb, verge, walk, island_end = (
            np.where(left, ends[:, 1:, i], ends[:, :1, i]) for i in range(4)
        )
        fine, broad = self._grain(spec, x, d)
        gain = 1 + m.grain * fine + np.float32(0.07) * broad
        gain -= np.float32(0.12) * np.maximum(1 - np.abs(kerb - a) * np.float32(3), 0)  # gutter
        gain *= self._repairs(spec, float(x[0]) - spec.step_x / 2, len(x), len(d))
        paving = 1 + np.float32(0.5 * m.grain) * fine + np.float32(0.06) * broad
        if m.slabs and spec.step_d < 0.1:
            paving *= self._joints(spec, x, d)
        is_walk = ((a >= verge) & (a < walk)) | (a < island_end)
        beyond = a >= kerb
        stone = (beyond & (a < kerb + 0.14)) | ((a < island_end) & (a > island_end - 0.12))
        np.copyto(gain, paving, where=is_walk)
        np.copyto(
            gain, 1 + np.float32(0.2) * fine + np.float32(0.15) * broad, where=beyond & ~is_walk
        )
        surface = np.where(is_walk, np.uint8(1), (beyond * np.uint8(2)))
        surface[stone] = 3
        if m.lane_color is not None:  # a cycle lane along the kerb of the outer driving lane
            edge = self.plan.lanes * self.plan.lane_width
            surface[(a < edge) & (a > edge - 1.4) & (kerb < 2 * edge) & (surface == 0)] = 4
        colors = np.array(
            [m.asphalt, m.paving, m.grass, m.kerb, m.lane_color or m.asphalt], np.float32
        )
        albedo: np.ndarray = colors[surface]
        albedo *= gain[..., None]
        return albedo

    def _repairs(self, spec: Level, x0: float, rows: int, cols: int) -> np.ndarray:
        """Gain (rows, cols) float32 of patches, trenches, cracks and manhole covers."""
        gain = np.full((rows, cols), 128, np.uint8)
        for outline, tone in road_repairs(self.plan, x0, x0 + spec.length, self.materials.age):
            cv2.fillPoly(gain, [spec.fixed(outline, x0)], tone, cv2.LINE_AA, FIXED_BITS)
        return gain * np.float32(1 / 128)

    def _grain(self, spec: Level, x: np.ndarray, d: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        rows, cols = len(x), len(d)
        seed = self.materials.seed
        fine = tile_to(noise(512, (256, 512), seed), rows, cols, int(x[0] / spec.step_x) % 512)
        broad = tile_to(
            noise(512, (4, 9, 31), seed + 1), rows, cols, int(x[0] / spec.step_x) % 512
        )
        weight = (0.025 / spec.step_x) ** 0.5
        return fine * np.float32(weight), broad

    def _joints(self, spec: Level, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        size = self.materials.slabs
        line = 0.012 + spec.step_x / 2
        along = (np.mod(x, size) < line)[:, None]
        across = (np.mod(d, size) < line)[None]
        return np.where(along | across, np.float32(0.8), np.float32(1))

    def _mark(self, albedo: np.ndarray, spec: Level, x0: float) -> None:
        """Paint the road markings that touch this strip, worn by noise."""
        rows, cols = albedo.shape[:2]
        pattern = noise(512, (16, 64, 256), self.materials.seed + 2)
        yellow = self.materials.yellow_lines
        for color, shapes in markings(self.plan, x0 - 1, x0 + spec.length + 1, yellow):
            cover = np.zeros((rows, cols), np.uint8)
            for shape in shapes:
                cv2.fillPoly(cover, [spec.fixed(shape, x0)], 255, cv2.LINE_AA, FIXED_BITS)
            u, v, width, height = cv2.boundingRect(cover)
            part = (slice(v, v + height), slice(u, u + width))
            wear = tile_to(pattern, height, width, v, u)
            worn = np.clip(1.25 - self.materials.wear * (1 + np.float32(0.6) * wear), 0, 1)
            weight = (cover[part] * np.float32(1 / 255) * worn)[..., None].astype(np.float32)
            albedo[part] += weight * (np.asarray(color, np.float32) - albedo[part])

    def _sunlit(self, spec: Level, x0: float, rows: int, cols: int) -> np.ndarray:
        sunlit = np.full((rows, cols), 255, np.uint8)
        for outline in self.shadows(x0, x0 + spec.length):
            cv2.fillPoly(sunlit, [spec.fixed(outline, x0)], 0, cv2.LINE_AA, FIXED_BITS)
        blur = 0.06 / spec.step_d
        return cv2.GaussianBlur(sunlit, (0, 0), blur) if blur > 0.5 else sunlit

    def _lamplit(
        self,
        pools: Pools,
        spec: Level,
        x0: float,
        x: np.ndarray,
        d: np.ndarray,
    ) -> np.ndarray:
        total = np.zeros((len(x), len(d)), np.float32)
        for pool in pools(x0, x0 + spec.length):
            along = np.exp(-(((x - pool.x) / pool.radius) ** 2)).astype(np.float32)
            across = np.exp(-(((d - pool.d) / pool.radius) ** 2)).astype(np.float32)
            total += along[:, None] * across[None]
        return (np.minimum(total, 1) * 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _ground(plan: Plan, block: int) -> Ground:
    return Ground(plan, block * BLOCK)
