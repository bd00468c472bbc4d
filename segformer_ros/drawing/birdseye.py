# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Bird's-eye panels beside the camera's picture: one frame's drivable area, and the map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.drawing.overlay import class_color, text_size, write
from segformer_ros.drivable import DrivableArea, GridNumbers, PlanarPose
from segformer_ros.drivable.grid import FREE, OCCUPIED, UNKNOWN

_BACKGROUND = (38, 34, 32)
_FREE = (92, 128, 74)
_RING = (96, 92, 90)
_TEXT = (225, 225, 225)
_CORRIDOR = (240, 240, 240)
_RINGS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # m between two rings; the first one that gives
_MOST_RINGS = 7  # at most this many
_LABEL_SIDE = 0.7  # distances are written 45 degrees to the right, off the road, if they fit
_LABEL_ROOM = 36  # pixels of width that a distance needs
_VEHICLE = np.array([[0.0, -0.9], [0.0, 0.9], [1.5, 0.0]])  # m, an arrow's head at the origin

_COSTS = (0, 40, 70, 99)
_COST_COLORS = np.array([[190, 226, 196], [130, 216, 246], [80, 156, 240], [92, 84, 206]])
_BLOCKED, _NOT_KNOWN, _BEYOND = (30, 24, 22), (134, 130, 128), (96, 93, 91)
_LINES, _MAP_CORRIDOR, _VIEW = (60, 58, 56), (168, 84, 16), (250, 250, 250)
_EVERY_FIFTH, _EVERY = 0.30, 0.10  # opacity of the metre lines
_DETAIL = 3  # oversampling of the cells, for smooth edges
_KEY = 22  # height of the colour key, pixels
_BAR = 70  # width of the scale of costs in it, pixels


@dataclass(frozen=True)
class _Frame:
    """Maps metres to pixels of the panel: the vehicle's x points up, its y to the left."""

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

    def draw(self, area: DrivableArea, grid: Optional[GridNumbers]) -> np.ndarray:
        """Panel of one frame: (height, width, 3) uint8 BGR.

        Free cells are green, unknown ones dark; blockers in the panel have their class's colour,
        with an error bar of one standard deviation along the line of sight; rings mark distances.
        The corridor is drawn up to its end, from an arrow at the vehicle's origin. Without a grid
        the panel says why.
        """
        panel = np.full((self.height, self.width, 3), _BACKGROUND, np.uint8)
        if grid is None:
            _write(panel, (8, 20), area.reason or 'not calibrated: no metres')
            return panel
        frame = self._frame(grid)
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
        # From pixels back to cells. In the panel x is up and y left: the transposed grid, flipped.
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
        along = np.stack([np.cos(bearing), np.sin(bearing)], axis=1)  # (n, 2)
        near = frame.pixels(along * (distance - sigma)[:, None])  # (n, 2), as far and points
        far = frame.pixels(along * np.minimum(distance + sigma, 1e4)[:, None])
        points = frame.pixels(along * np.minimum(distance, 1e4)[:, None])
        # Of a blocker beyond the panel only the error bar would show, as if it were nearer.
        shown = np.flatnonzero(((points >= 0) & (points < (self.width, self.height))).all(axis=1))
        classes = area.blocking_class[seen]
        for index in shown:
            color = self._color(int(classes[index]))
            faint = tuple(int(0.45 * c + 0.55 * b) for c, b in zip(color, _BACKGROUND))
            cv2.line(panel, near[index].tolist(), far[index].tolist(), faint, 1, cv2.LINE_AA)
            cv2.circle(panel, points[index].tolist(), 2, color, -1, cv2.LINE_AA)

    def _caption(self, area: DrivableArea, shown: float) -> str:
        _, reach, sigma, blocker = area.corridor
        if math.isinf(reach):
            return 'corridor: nothing seen'
        if reach > shown:
            return f'corridor: beyond {shown:.0f} m, {self._class_map.name_of(blocker)}'
        return f'corridor: {reach:.1f} +- {sigma:.1f} m, {self._class_map.name_of(blocker)}'

    def _color(self, class_id: int) -> Tuple[int, int, int]:
        return class_color(self._class_map, class_id)


def draw_map(
    height: int, ground_map: GridNumbers, place: PlanarPose, area: DrivableArea
) -> np.ndarray:
    """The map as a planner gets it, ahead upwards, above its key: (height, W, 3) uint8 BGR.

    Ground has the colour of its cost, from green to red; blocked cells are nearly black, unknown
    ones grey. Lines are a metre apart, every fifth one stronger and with its distance from the
    vehicle, whose arrow is as wide as the corridor. White lines bound the camera's view.
    place: pose of the vehicle in the map's frame. area: that of the newest frame.
    """
    side, extent = height - _KEY, max(ground_map.cells.shape) * ground_map.resolution
    frame = _Frame(side / extent, side / 2, side / 2)
    panel = _map_cells(side, frame, ground_map, place)
    _draw_metres(panel, frame, extent / 2)
    known = area.bearing[np.isfinite(area.bearing)]
    for bearing in (known.min(), known.max()) if len(known) else ():
        ray = np.array([[0.0, 0.0], [math.cos(bearing), math.sin(bearing)]]) * extent
        start, end = frame.pixels(ray).tolist()
        cv2.line(panel, start, end, _VIEW, 1, cv2.LINE_AA)
    half = area.corridor.width / 2
    if half > 0:
        reach = min(area.corridor.distance, extent)
        sides = np.array([[0, half], [reach, half], [reach, -half], [0, -half]])
        cv2.polylines(panel, [frame.pixels(sides)], False, _MAP_CORRIDOR, 1, cv2.LINE_AA)
    arrow = frame.pixels(_VEHICLE * (1.0, half / _VEHICLE[1, 1] if half > 0 else 1.0))
    cv2.fillPoly(panel, [arrow], _MAP_CORRIDOR, cv2.LINE_AA)
    cv2.polylines(panel, [arrow], True, _VIEW, 1, cv2.LINE_AA)
    return np.vstack([panel, _map_key(side)])


def _map_cells(side: int, frame: _Frame, ground_map: GridNumbers, place: PlanarPose) -> np.ndarray:
    cells = _cost_colors()[ground_map.cells.view(np.uint8)]
    # Affine map (2, 3) from oversampled pixels (column, row) to cells, whose centres are whole
    # numbers: found by mapping three pixels.
    fine = frame.scale * _DETAIL
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # column, row
    ahead = (frame.bottom * _DETAIL - corners[:, 1] - 0.5) / fine
    left = (frame.middle * _DETAIL - corners[:, 0] - 0.5) / fine
    mapped = place.apply(np.stack([ahead, left], axis=1))  # (3, 2) m
    mapped = (mapped - (ground_map.origin_x, ground_map.origin_y)) / ground_map.resolution - 0.5
    matrix = np.stack([mapped[2] - mapped[0], mapped[1] - mapped[0], mapped[0]], axis=1)
    large = cv2.warpAffine(
        cells, matrix, (side * _DETAIL, side * _DETAIL),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderValue=_BEYOND,
    )  # fmt: skip
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA))


def _draw_metres(panel: np.ndarray, frame: _Frame, farthest: float) -> None:
    side = len(panel)
    step = 1 if frame.scale >= 8 else 5
    for metre in range(-int(farthest), int(farthest) + 1, step):
        share = _EVERY if metre % 5 else _EVERY_FIFTH
        column, row = frame.pixels(np.array([[metre, metre]], float))[0].tolist()
        for line in (panel[row : row + 1], panel[:, column : column + 1]):
            line[...] = line * (1 - share) + np.array(_LINES) * share
        if metre % 5 == 0 and 12 < row < side - 12:
            _write(panel, (3, row - 3), f'{metre} m', 0.35)
    length = round(5 * frame.scale)
    start, row = side - 10 - length, side - 10
    cv2.line(panel, (start, row), (start + length, row), _BACKGROUND, 3)
    cv2.line(panel, (start + 1, row), (start + length - 1, row), _TEXT, 1)
    _write(panel, (start + length // 2 - 10, row - 5), '5 m', 0.35)


def _map_key(side: int) -> np.ndarray:
    """Key to the colours: (_KEY, side, 3) uint8 BGR."""
    key = np.full((_KEY, side, 3), _BACKGROUND, np.uint8)
    top, bottom, base = 6, _KEY - 6, _KEY - 7
    column = 6
    _write(key, (column, base), 'cost 0', 0.35)
    column += text_size('cost 0', 0.35)[0] + 5
    bar = _cost_colors()[np.linspace(0, 99, _BAR).astype(np.intp)]
    key[top:bottom, column : column + _BAR] = bar
    column += _BAR + 5
    _write(key, (column, base), '99', 0.35)
    column += text_size('99', 0.35)[0] + 12
    for color, name in ((_BLOCKED, 'blocked'), (_NOT_KNOWN, 'unknown')):
        cv2.rectangle(key, (column, top), (column + 10, bottom - 1), color, -1)
        cv2.rectangle(key, (column, top), (column + 10, bottom - 1), _RING, 1)
        _write(key, (column + 15, base), name, 0.35)
        column += 15 + text_size(name, 0.35)[0] + 12
    return key


def _cost_colors() -> np.ndarray:
    """Colours (256, 3) uint8 BGR of a map's int8 values, read as uint8."""
    colors = np.empty((256, 3), np.uint8)
    for channel, values in enumerate(_COST_COLORS.T):
        colors[:, channel] = np.interp(np.arange(256), _COSTS, values)
    colors[OCCUPIED], colors[UNKNOWN] = _BLOCKED, _NOT_KNOWN
    return colors


def _depth(grid: GridNumbers) -> float:
    """How far ahead a grid goes, in metres."""
    return grid.origin_x + grid.cells.shape[1] * grid.resolution


def _write(panel: np.ndarray, place: Tuple[int, int], text: str, size: float = 0.5) -> None:
    write(panel, text, place, size, _TEXT, _BACKGROUND)
