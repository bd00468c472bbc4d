# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The ground as one camera sees it: exact labels and depth, and its painted colour."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.camera import CameraPose
from tools.street.ground import LEVELS, Painter
from tools.street.light import Light

_FAR = 3000.0  # metres: ground beyond has no colour of its own

Place = Tuple[float, float, float]
"""World x, y and heading of the vehicle."""


def to_world(points: np.ndarray, place: Place) -> np.ndarray:
    """World (x, y) of vehicle-frame points (..., 2)."""
    c, s = np.cos(place[2]), np.sin(place[2])
    world = np.empty(points.shape)
    world[..., 0] = points[..., 0] * c - points[..., 1] * s + place[0]
    world[..., 1] = points[..., 0] * s + points[..., 1] * c + place[1]
    return world


class _Band(NamedTuple):
    """Image rows served by one level of detail."""

    level: int
    rows: slice
    where: np.ndarray  # (rows, W) bool


class GroundView:
    """Where each pixel's ray meets the ground; the same for all frames of a drive.

    depth: (H, W) float32, z along the optical axis, inf above the horizon.
    below: (H, W) bool, the pixel sees ground if nothing stands before it.
    """

    def __init__(self, rays: np.ndarray, pose: CameraPose, painter: Painter, light: Light) -> None:
        """Rays are (H, W, 3) in the vehicle frame, of length 1 along the optical axis."""
        self.painter = painter
        self.light = light
        with np.errstate(divide='ignore', invalid='ignore'):
            depth = np.where(rays[..., 2] < -1e-9, -pose.height / rays[..., 2], np.inf)
        self.depth = depth.astype(np.float32)
        self.below = np.isfinite(depth)
        rows = np.flatnonzero(self.below.any(axis=1))
        self.rows = slice(int(rows[0]) if len(rows) else len(depth), len(depth))
        near = np.minimum(depth, _FAR)[self.rows, :, None]
        self._points = pose.position[:2] + near * np.nan_to_num(rays[self.rows, :, :2])
        away = np.hypot(self._points[..., 0], self._points[..., 1])
        self._bands = _bands(away)
        self._canvases: Dict[int, Tuple[Tuple[int, int], np.ndarray]] = {}

    def draw(self, image: np.ndarray, label: np.ndarray, place: Place, shadow: np.ndarray) -> None:
        """Draw colour (H, W, 3) and labels (H, W) where ground is seen.

        ``shadow`` (h, W) uint8 over ``rows`` is 0 where something moving shades the ground.
        """
        if self.rows.start == len(label):
            return
        world = to_world(self._points, place)
        d, kind = self.painter.ground(place[0]).locate(world[..., 0], world[..., 1])
        below = self.below[self.rows]
        np.copyto(label[self.rows], kind, where=below)
        color = self._color(world[..., 0], d, place[0], shadow)
        np.copyto(image[self.rows], color, where=below[..., None])

    def _color(
        self,
        x: np.ndarray,
        d: np.ndarray,
        origin: float,
        shadow: np.ndarray,
    ) -> np.ndarray:
        painted = np.zeros(d.shape + (4,), np.uint8)
        for level, rows, where in self._bands:
            spec = LEVELS[level]
            seen = x[rows][where]
            low = float(seen.min())
            high = min(
                float(seen.max()), origin + spec.reach + spec.length, low + 20 * spec.length
            )
            first, last = int(low // spec.length), int(high // spec.length)
            v = ((x[rows] - first * spec.length) / spec.step_x - 0.5).astype(np.float32)
            u = d[rows] * np.float32(1 / spec.step_d)
            u += np.float32(spec.half_width / spec.step_d - 0.5)
            sampled = cv2.remap(
                self._canvas(level, first, last),
                u,
                v,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            np.copyto(painted[rows], sampled, where=where[..., None])
        albedo = cv2.cvtColor(painted, cv2.COLOR_BGRA2BGR)
        sunlit = np.minimum(painted[..., 3], shadow) * np.float32(1 / 255)
        sun = max(float(np.sin(self.light.elevation)), 0.0)
        shade = self.light.tone(0.0, sky=0.85)
        return cv2.blendLinear(
            cv2.LUT(albedo, self.light.tone(sun)), cv2.LUT(albedo, shade), sunlit, 1 - sunlit
        )

    def _canvas(self, level: int, first: int, last: int) -> np.ndarray:
        """Strips first..last of a level, one after the other along x."""
        key, canvas = self._canvases.get(level, ((0, -1), np.zeros((0, 0, 4), np.uint8)))
        if key != (first, last):
            canvas = np.concatenate(
                [self.painter.strip(level, index) for index in range(first, last + 1)]
            )
            self._canvases[level] = (first, last), canvas
        return canvas


def _bands(away: np.ndarray) -> Sequence[_Band]:
    bands: List[_Band] = []
    begin = 0.0
    for number, level in enumerate(LEVELS):
        end = np.inf if number == len(LEVELS) - 1 else level.reach
        where = (away >= begin) & (away < end)
        rows = np.flatnonzero(where.any(axis=1))
        if len(rows):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            bands.append(_Band(number, part, where[part]))
        begin = level.reach
    return bands
