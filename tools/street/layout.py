# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Where road, kerb, verge, sidewalk and plots run: the street's plan, the same for ever by seed.

World frame: x along the street, y to the left, z up, metres. The street's centre line is
``y = bend(x)``; ``d = y - bend(x)`` is the offset from it. Everything walkable lies at z = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np

from tools.street import labels

BLOCK = 40.0  # metres of street that are drawn from one random stream
_STEP = 0.1  # metres between entries of the profile table
_FAR = 60.0  # metres: offset of a boundary that runs off to the side
_TABLE = 8000  # entries of a profile table


def stream(seed: int, *keys: int) -> np.random.Generator:
    """A generator of its own for every thing with a name; keys may be negative."""
    return np.random.default_rng((seed,) + tuple(key & 0xFFFFFFFF for key in keys))


class SideStreet(NamedTuple):
    """A street joining from one side (+1 left, -1 right), seen along the main street."""

    x: float
    side: int
    half_width: float
    sidewalk: float


@dataclass(frozen=True)
class Plan:
    """Widths in metres; left and right in driving direction as (left, right)."""

    seed: int
    keep_left: bool = True
    lane_width: float = 3.2
    lanes: int = 1  # per direction
    parking: Tuple[float, float] = (0.0, 0.0)  # strip for parked cars
    verge: Tuple[float, float] = (0.0, 0.0)  # grass between kerb and sidewalk
    sidewalk: Tuple[float, float] = (2.0, 2.0)
    side_streets: float = 0.35  # chance per block and side
    crossings: float = 0.3  # chance per block
    underpasses: float = 0.06  # chance per block without other features
    islands: float = 0.4  # chance per crossing
    bends: Tuple[Tuple[float, float, float], ...] = ()  # (amplitude, wavelength, phase)

    def bend(self, x: np.ndarray) -> np.ndarray:
        """Centre line y(x)."""
        total: np.ndarray = np.zeros_like(x, dtype=np.float64)
        for amplitude, wavelength, phase in self.bends:
            total = total + amplitude * np.sin(2 * np.pi * x / wavelength + phase)
        return total

    def heading(self, x: float) -> float:
        """Direction of the centre line at x, radians."""
        slope = sum(
            amplitude * 2 * np.pi / wavelength * math.cos(2 * math.pi * x / wavelength + phase)
            for amplitude, wavelength, phase in self.bends
        )
        return math.atan(slope)

    def at(self, x: float, d: float) -> Tuple[float, float]:
        """World (x, y) of an offset from the centre line."""
        return x, self.bend_at(x) + d

    def bend_at(self, x: float) -> float:
        """The same as ``bend`` for one x."""
        return sum(
            amplitude * math.sin(2 * math.pi * x / wavelength + phase)
            for amplitude, wavelength, phase in self.bends
        )

    def index(self, side: int) -> int:
        """Index of a side (+1 left, -1 right) in the pairs above."""
        return 0 if side > 0 else 1

    def carriageway(self, side: int) -> float:
        """Offset of the kerb from the centre line."""
        return self.lanes * self.lane_width + self.parking[self.index(side)]

    def frontage(self, side: int) -> float:
        """Offset of the line where the plots begin."""
        index = self.index(side)
        return self.carriageway(side) + self.verge[index] + self.sidewalk[index]

    def lane_side(self, along: bool) -> int:
        """Side on which traffic along (or against) x drives."""
        return 1 if self.keep_left == along else -1


@lru_cache(maxsize=4096)
def side_streets(plan: Plan, block: int) -> Tuple[SideStreet, ...]:
    """Side streets whose middle lies in a block."""
    found: List[SideStreet] = []
    for side in (1, -1):
        rng = stream(plan.seed, 1, block, side)
        half_width = float(rng.uniform(2.4, 4.0))
        sidewalk = float(rng.uniform(1.4, 2.4))
        room = half_width + sidewalk + 4
        x = block * BLOCK + float(rng.uniform(room, BLOCK - room))
        if rng.random() < plan.side_streets:
            found.append(SideStreet(x, side, half_width, sidewalk))
    return tuple(found)


@lru_cache(maxsize=4096)
def crossing(plan: Plan, block: int) -> float:
    """Middle x of a block's pedestrian crossing, or NaN."""
    rng = stream(plan.seed, 2, block)
    x = block * BLOCK + float(rng.uniform(0.3, 0.7)) * BLOCK
    blocked = any(
        abs(x - street.x) < street.half_width + street.sidewalk + 4
        for street in side_streets(plan, block)
    )
    return float('nan') if blocked or rng.random() > plan.crossings else x


@lru_cache(maxsize=4096)
def island(plan: Plan, block: int) -> Tuple[float, float, float]:
    """Refuge island on the centre line: x from, x to, half width (0 where there is none)."""
    rng = stream(plan.seed, 3, block)
    x = crossing(plan, block)
    if not np.isfinite(x) or plan.lane_width < 3.1 or rng.random() > plan.islands:
        return 0.0, 0.0, 0.0
    return x + 2.2, x + 2.2 + float(rng.uniform(1.5, 4.0)), 0.45


_ROW = 1024  # points a row: OpenCV wants neither side of a map above 32767
_BANDS = np.full((256, 1), labels.TERRAIN, np.uint8)
_BANDS[:4, 0] = labels.ROAD, labels.TERRAIN, labels.SIDEWALK, labels.TERRAIN


@lru_cache(maxsize=4096)
def underpass(plan: Plan, block: int) -> Tuple[float, float]:
    """Where a bridge crosses the street: x from, x to (equal where there is none)."""
    rng = stream(plan.seed, 4, block)
    length = float(rng.uniform(6, 26))
    x = block * BLOCK + float(rng.uniform(3, BLOCK - 3 - length))
    crossed = np.isfinite(crossing(plan, block)) or bool(side_streets(plan, block))
    if crossed or rng.random() > plan.underpasses:
        return x, x
    return x, x + length


def sheltered(plan: Plan, x: np.ndarray) -> np.ndarray:
    """Share of the sky's light at x (N,), 0..1: little under a bridge."""
    share = np.ones(len(x))
    for block in np.unique(np.floor(x / BLOCK)).astype(int).tolist():
        for near in (block - 1, block, block + 1):
            begin, end = underpass(plan, near)
            if end > begin:
                depth = np.minimum(x - begin, end - x)  # metres inside
                share = np.minimum(share, np.interp(depth, [-2.0, 4.0], [1.0, 0.22]))
    return share


class Ground:
    """What the ground is made of, answered for arrays of points near one place of the street.

    The plan is tabulated along x in steps of 0.1 m with linear interpolation between them; this
    table *is* the ground of the world, for the picture and for the truth alike.
    """

    def __init__(self, plan: Plan, x: float) -> None:
        self.plan = plan
        self.origin = float(np.floor(x / BLOCK) * BLOCK - 2 * BLOCK)
        grid = self.origin + np.arange(_TABLE) * _STEP
        self.offset = float(plan.bend(grid[:1])[0])
        self._bend = (plan.bend(grid) - self.offset).astype(np.float32)[None]
        island = self._islands(grid)
        # Two rows, right and left of the centre line: kerb, verge end, sidewalk end, island.
        self._sides = np.stack(
            [np.stack([*self._side(grid, side), island], axis=1) for side in (-1, 1)]
        ).astype(np.float32)

    def _islands(self, grid: np.ndarray) -> np.ndarray:
        half = np.zeros(len(grid), np.float32)
        for block in self._blocks():
            begin, end, width = island(self.plan, block)
            half[(grid >= begin) & (grid <= end)] = width
        return half

    def _blocks(self) -> range:
        first = int(np.floor(self.origin / BLOCK)) - 1
        return range(first, first + int(_TABLE * _STEP / BLOCK) + 3)

    def _side(self, grid: np.ndarray, side: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets of kerb, verge end and sidewalk end on one side."""
        plan, index = self.plan, self.plan.index(side)
        kerb = np.full(len(grid), plan.carriageway(side), np.float32)
        verge = kerb + plan.verge[index]
        walk = verge + plan.sidewalk[index]
        for block in self._blocks():
            x = crossing(plan, block)
            if np.isfinite(x):  # no grass where people cross
                verge[np.abs(grid - x) < 2.5] = plan.carriageway(side)
            for street in side_streets(plan, block):
                if street.side == side:
                    _open_side_street(grid, street, kerb, verge, walk)
        return kerb, verge, walk

    def offsets(self, x: np.ndarray, y: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Offset d (H, W) float32 from the centre line of points, and their table column."""
        column = ((x - self.origin) / _STEP).astype(np.float32)
        bend = cv2.remap(
            self._bend,
            column,
            np.zeros_like(column),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return (y - self.offset).astype(np.float32) - bend, column

    def profile(self, column: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Kerb, verge end, sidewalk end and island (H, W, 4) float32 on the side of d (H, W)."""
        left = (d > 0).astype(np.float32)
        return cv2.remap(
            self._sides, column, left, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def locate(self, x: np.ndarray, y: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Offset d (H, W) float32 from the centre line, and label (H, W) uint8, of points."""
        d, column = self.offsets(x, y)
        a = np.abs(d)
        # A point lies beyond none, one, two or all of kerb, verge and sidewalk.
        kerb, verge, walk, island_end = cv2.split(self.profile(column, d))
        count = (a >= kerb).view(np.uint8) + (a >= verge).view(np.uint8)
        count += (a >= walk).view(np.uint8)
        label = cv2.LUT(count, _BANDS)
        label[a < island_end] = labels.SIDEWALK
        return d, label

    def label_at(self, points: np.ndarray) -> np.ndarray:
        """Labels (N,) uint8 of any number of world points (N, 2)."""
        padded = np.zeros((-(-len(points) // _ROW) * _ROW, 2))
        padded[: len(points)] = points
        grid = padded.reshape(-1, _ROW, 2)
        return self.locate(grid[..., 0], grid[..., 1])[1].ravel()[: len(points)]

    def profile_at(self, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Profile (rows, cols, 4) on the grid of world x (rows,) and offsets d (cols,)."""
        column = np.broadcast_to(
            ((x - self.origin) / _STEP).astype(np.float32)[:, None], (len(x), len(d))
        )
        return self.profile(
            np.ascontiguousarray(column), np.broadcast_to(d[None].astype(np.float32), column.shape)
        )


def _open_side_street(
    grid: np.ndarray, street: SideStreet, kerb: np.ndarray, verge: np.ndarray, walk: np.ndarray
) -> None:
    """Lead the boundaries of one side around a side street's mouth, with rounded corners."""
    away = np.abs(grid - street.x)
    radius = min(3.0, street.sidewalk + 1.2)
    straight = kerb.copy()
    corner = away - street.half_width
    rounded = straight + radius - np.sqrt(np.maximum(radius**2 - (radius - corner) ** 2, 0))
    in_corner = (corner >= 0) & (corner < radius)
    kerb[in_corner] = rounded[in_corner]
    kerb[corner < 0] = _FAR
    near = corner < max(street.sidewalk, radius) + 0.5
    verge[near] = kerb[near]
    walk[corner < street.sidewalk] = _FAR
    walk[:] = np.maximum(walk, verge)
