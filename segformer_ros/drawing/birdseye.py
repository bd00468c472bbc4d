# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Bird's-eye panel: the drivable area from above, to be looked at beside the camera's picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drawing.overlay import class_color, write
from segformer_ros.drivable import DrivableArea, GridNumbers, PlanarPose
from segformer_ros.drivable.grid import FREE, OCCUPIED, UNKNOWN

_BACKGROUND = (38, 34, 32)
_FREE = (92, 128, 74)
_KEPT = (72, 92, 58)
_COSTLY = (52, 84, 128)
_BLOCKED = (150, 146, 142)
_RING = (96, 92, 90)
_TEXT = (225, 225, 225)
_CORRIDOR = (240, 240, 240)
_RINGS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # m between two rings, whichever gives 3 to 7
_MOST_RINGS = 7
_LABEL_SIDE = 0.7  # distances stand 45 degrees right of ahead, clear of the road, if they fit
_LABEL_ROOM = 36  # pixels that a distance needs
_VEHICLE = np.array([[0.0, -0.9], [0.0, 0.9], [1.5, 0.0]])  # m, an arrow's head at the origin


@dataclass(frozen=True)
class _Frame:
    """Places metres in the panel: the vehicle's x points up, its y to the left."""

    scale: float  # pixels per metre
    middle: float  # pixel column of y = 0
    bottom: float  # pixel row of x = 0

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) x, y in m as (n, 2) int32 pixels (column, row)."""
        column = self.middle - points[:, 1] * self.scale
        row = self.bottom - points[:, 0] * self.scale
        return np.round(np.stack([column, row], axis=1)).astype(np.int32)


class BirdsEye:
    """Draws panels of one size.

    height, width: pixels. The grid's whole extent is shown, as large as it fits.
    """

    def __init__(self, height: int, width: int, class_map: ClassMap) -> None:
        self.height = height
        self.width = width
        self._class_map = class_map

    def draw(
        self,
        area: DrivableArea,
        grid: Optional[GridNumbers],
        ground_map: Optional[GridNumbers] = None,
        place: Optional[PlanarPose] = None,
    ) -> np.ndarray:
        """Panel of one frame: (height, width, 3) uint8 BGR.

        Free cells green, what is not known dark; blockers that lie in the panel in their class's
        colour, with a line along the view as long as one standard deviation to both sides; rings
        of distance; the corridor up to what ends it, from an arrow at the vehicle's origin.
        Without a grid the panel says why. ground_map, place: of the vehicle in its frame: what is
        remembered is drawn beneath, free ground in dull green, browner where it costs more, and
        what is blocked in grey.
        """
        panel = np.full((self.height, self.width, 3), _BACKGROUND, np.uint8)
        if grid is None:
            _write(panel, (8, 20), area.reason or 'not calibrated: no metres')
            return panel
        frame = self._frame(grid)
        if ground_map is not None and place is not None:
            self._draw_map(panel, frame, ground_map, place)
        self._draw_free(panel, frame, grid)
        self._draw_rings(panel, frame, grid)
        self._draw_corridor(panel, frame, area)
        self._draw_blockers(panel, frame, area)
        _write(panel, (8, 20), self._caption(area, _depth(grid)))
        return panel

    def _frame(self, grid: GridNumbers) -> _Frame:
        deep = grid.cells.shape[1] * grid.resolution
        wide = grid.cells.shape[0] * grid.resolution
        scale = min(self.height / deep, self.width / wide)
        middle = self.width / 2 + (grid.origin_y + wide / 2) * scale
        return _Frame(scale, middle, self.height / 2 + (grid.origin_x + deep / 2) * scale)

    def _draw_free(self, panel: np.ndarray, frame: _Frame, grid: GridNumbers) -> None:
        # From panel pixels back to cells: x up and y left turn the grid by a quarter.
        rows, columns = np.arange(self.height) + 0.5, np.arange(self.width) + 0.5
        ix = np.floor(((frame.bottom - rows) / frame.scale - grid.origin_x) / grid.resolution)
        iy = np.floor(((frame.middle - columns) / frame.scale - grid.origin_y) / grid.resolution)
        deep, wide = grid.cells.shape[1], grid.cells.shape[0]
        inside = ((ix >= 0) & (ix < deep))[:, None] & ((iy >= 0) & (iy < wide))
        cells = grid.cells.T[
            np.clip(ix, 0, deep - 1).astype(np.intp)[:, None],
            np.clip(iy, 0, wide - 1).astype(np.intp),
        ]
        panel[inside & (cells == FREE)] = _FREE

    def _draw_map(
        self, panel: np.ndarray, frame: _Frame, ground_map: GridNumbers, place: PlanarPose
    ) -> None:
        rows, columns = np.mgrid[0 : self.height, 0 : self.width] + 0.5
        points = np.stack(
            [(frame.bottom - rows) / frame.scale, (frame.middle - columns) / frame.scale], axis=-1
        )  # (h, w, 2)
        corner = (ground_map.origin_x, ground_map.origin_y)
        at = np.floor((place.apply(points) - corner) / ground_map.resolution)
        deep, wide = ground_map.cells.shape
        inside = ((at >= 0) & (at < (wide, deep))).all(axis=-1)
        ix, iy = np.clip(at, 0, (wide - 1, deep - 1)).astype(np.intp).transpose(2, 0, 1)
        cells = np.where(inside, ground_map.cells[iy, ix], UNKNOWN)
        share = np.clip(cells, 0, 100)[..., None] / 100.0
        ground = np.array(_KEPT) * (1 - share) + np.array(_COSTLY) * share
        np.copyto(panel, ground.astype(np.uint8), where=(cells != UNKNOWN)[..., None])
        panel[cells == OCCUPIED] = _BLOCKED

    def _draw_rings(self, panel: np.ndarray, frame: _Frame, grid: GridNumbers) -> None:
        farthest = _depth(grid)
        step = next((ring for ring in _RINGS if farthest / ring <= _MOST_RINGS), _RINGS[-1])
        center = tuple(frame.pixels(np.zeros((1, 2)))[0].tolist())
        for distance in np.arange(step, farthest + 1e-6, step):
            radius = round(distance * frame.scale)
            cv2.circle(panel, center, radius, _RING, 1, cv2.LINE_AA)
            room = max(0, self.width - center[0] - _LABEL_ROOM)
            side = min(round(radius * _LABEL_SIDE), room)
            up = round(math.sqrt(radius**2 - side**2))
            _write(panel, (center[0] + side, center[1] - up), f'{distance:g} m', 0.4)

    def _draw_corridor(self, panel: np.ndarray, frame: _Frame, area: DrivableArea) -> None:
        half, reach = area.corridor.width / 2, area.corridor.distance
        reach = min(reach, 2 * self.height / frame.scale)
        corners = np.array([[0, half], [reach, half], [reach, -half], [0, -half]])
        cv2.polylines(panel, [frame.pixels(corners)], False, _CORRIDOR, 1, cv2.LINE_AA)
        cv2.fillPoly(panel, [frame.pixels(_VEHICLE)], _CORRIDOR, cv2.LINE_AA)

    def _draw_blockers(self, panel: np.ndarray, frame: _Frame, area: DrivableArea) -> None:
        seen = np.isfinite(area.free_distance) & (area.free_distance > 0)
        bearing, distance = area.bearing[seen], area.free_distance[seen]
        sigma = np.minimum(area.distance_sigma[seen], distance)
        along = np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
        near = frame.pixels(along * (distance - sigma)[:, None])
        far = frame.pixels(along * np.minimum(distance + sigma, 1e4)[:, None])
        at = frame.pixels(along * np.minimum(distance, 1e4)[:, None])
        # Of one beyond the panel only the line would be seen, as if it blocked what is nearer.
        shown = ((at >= 0) & (at < (self.width, self.height))).all(axis=1)
        classes = area.blocking_class[seen]
        for start, end, place, class_id in zip(near[shown], far[shown], at[shown], classes[shown]):
            color = self._color(int(class_id))
            faint = tuple(int(0.45 * c + 0.55 * b) for c, b in zip(color, _BACKGROUND))
            cv2.line(panel, start.tolist(), end.tolist(), faint, 1, cv2.LINE_AA)
            cv2.circle(panel, place.tolist(), 2, color, -1, cv2.LINE_AA)

    def _caption(self, area: DrivableArea, shown: float) -> str:
        _, reach, sigma, blocker = area.corridor
        if math.isinf(reach):
            return 'corridor: nothing seen'
        if reach > shown:
            return f'corridor: beyond {shown:.0f} m, {self._class_map.name_of(blocker)}'
        return f'corridor: {reach:.1f} +- {sigma:.1f} m, {self._class_map.name_of(blocker)}'

    def _color(self, class_id: int) -> Tuple[int, int, int]:
        return class_color(self._class_map, class_id)


def _depth(grid: GridNumbers) -> float:
    """How far ahead a grid goes, in metres."""
    return grid.origin_x + grid.cells.shape[1] * grid.resolution


def _write(panel: np.ndarray, place: Tuple[int, int], text: str, size: float = 0.5) -> None:
    write(panel, text, place, size, _TEXT, _BACKGROUND)
