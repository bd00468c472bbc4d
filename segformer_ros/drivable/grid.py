# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Occupancy grid of the free ground, in the vehicle frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from segformer_ros.drivable.ground import GroundProjection
from segformer_ros.drivable.ground_points import Contacts
from segformer_ros.drivable.profile import ROW_NONE, ColumnProfile, DrivableError
from segformer_ros.frame import Stamp

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
"""Values of nav_msgs/OccupancyGrid."""

_MAX_CELLS = 4_000_000
_CONTOUR_ROWS = 8  # rows between two points of the contour along a column
_CONTOUR_STRIPS = 4  # strips between two points of the contour along the bottom,
_FINE_STRIPS = 256  # where there are more than this
_SHIFT = 6  # bits of sub-cell precision in drawing
_FARTHEST_CELL = 1 << 20  # cells beyond this would not fit in 32 bits with _SHIFT
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class GridConfig:
    """Extent and resolution of the grid: metres in the vehicle frame.

    max_footprint: no cell is called free where one image row spans more ground than this, m:
        anything smaller could stand between two rows unseen. With a focal length of 1000 pixels a
        row spans 1 m at a distance of 39 m (camera 1.5 m high) or 17 m (0.3 m high).
    """

    resolution: float = 0.2
    x_min: float = 0.0
    x_max: float = 40.0
    y_min: float = -15.0
    y_max: float = 15.0
    max_footprint: float = 1.0

    def __post_init__(self) -> None:
        values = (self.resolution, self.x_min, self.x_max, self.y_min, self.y_max)
        if not all(map(math.isfinite, values)) or self.resolution <= 0:
            raise DrivableError(f'grid of resolution {self.resolution} m: give metres above 0')
        if not self.max_footprint > 0:
            raise DrivableError(f'grid max_footprint={self.max_footprint} m: give metres above 0')
        if self.x_max - self.x_min < self.resolution or self.y_max - self.y_min < self.resolution:
            raise DrivableError(
                f'grid x {self.x_min}..{self.x_max}, y {self.y_min}..{self.y_max} '
                f'm holds no cell of {self.resolution} m: give min below max'
            )
        if self.width * self.height > _MAX_CELLS:
            raise DrivableError(
                f'grid of {self.width}x{self.height} cells is too large (at most '
                f'{_MAX_CELLS}): use a coarser resolution or a smaller range'
            )

    @property
    def width(self) -> int:
        """Cells along x."""
        return round((self.x_max - self.x_min) / self.resolution)

    @property
    def height(self) -> int:
        """Cells along y."""
        return round((self.y_max - self.y_min) / self.resolution)


class GridNumbers(NamedTuple):
    """What nav_msgs/OccupancyGrid holds.

    cells: (height, width) int8 FREE, OCCUPIED or UNKNOWN; cells[iy, ix] spans x from
    origin_x + ix * resolution and y from origin_y + iy * resolution; ravelled, it is `data`.
    """

    resolution: float
    origin_x: float
    origin_y: float
    cells: np.ndarray


def occupancy_grid(
    config: GridConfig, ground: GroundProjection, profile: ColumnProfile, contacts: Contacts
) -> GridNumbers:
    """Grid of one frame: free where all of a cell is seen free, occupied at contact points.

    The free region's outline in the image is projected to the ground. Cells that the outline
    touches, and all that lies behind a blocker or outside the view, stay unknown.
    """
    free = free_cells(config, free_outlines(ground, profile, farthest_free(config, ground)))
    cells = np.where(free, FREE, UNKNOWN).astype(np.int8)
    index = np.floor((contacts.points - (config.x_min, config.y_min)) / config.resolution)
    inside = ((index >= 0) & (index < (config.width, config.height))).all(axis=1)  # (M,) bool
    ix, iy = index[inside].astype(np.intp).T
    cells[iy, ix] = OCCUPIED
    return GridNumbers(config.resolution, config.x_min, config.y_min, cells)


def free_cells(config: GridConfig, outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Cells that lie wholly within an outline (K, 2) of free ground, m: (height, width) uint8."""
    free = np.zeros((config.height, config.width), np.uint8)
    outline = np.zeros_like(free)
    cells_of = [_to_cells(points, config) for points in outlines]
    contours = [contour for contour in cells_of if contour is not None]
    if contours:
        cv2.fillPoly(free, contours, 1, shift=_SHIFT)
        cv2.polylines(outline, contours, True, 1, shift=_SHIFT)
    # A thin line skips cells that it only cuts at a corner, so widen it by one.
    free[cv2.dilate(outline, _CROSS) != 0] = 0
    return free


def farthest_free(config: GridConfig, ground: GroundProjection) -> float:
    """Distance from the camera's foot, m, up to which cells may be called free."""
    x = np.abs([config.x_min - ground.foot[0], config.x_max - ground.foot[0]]).max()
    y = np.abs([config.y_min - ground.foot[1], config.y_max - ground.foot[1]]).max()
    farthest_corner = math.hypot(x, y)
    return min(farthest_corner, ground.range_of_footprint(config.max_footprint))


def _to_cells(points: np.ndarray, config: GridConfig) -> Optional[np.ndarray]:
    """Points (K, 2) x, y in m as OpenCV's fixed-point cell coordinates (K, 2) int32.

    None for an outline that rises above the horizon or is too large to draw: nothing within it is
    known to be free.
    """
    cells = (points - (config.x_min, config.y_min)) / config.resolution - 0.5
    if not (np.abs(cells) < _FARTHEST_CELL).all():  # nor NaN
        return None
    return np.round(cells * (1 << _SHIFT)).astype(np.int32)


def free_outlines(
    ground: GroundProjection, profile: ColumnProfile, farthest: float
) -> List[np.ndarray]:
    """Outlines (K, 2) of the free ground, x, y in m, one for each group of usable columns.

    farthest: distance from the camera's foot, m, beyond which nothing is called free.
    The outline keeps one pixel off the blocker: it ends at the lower edge of the pixel below.
    """
    bottom = np.minimum(profile.start + 1, ground.rays.lowest[profile.columns])  # (M,) edges
    contact = np.where(profile.rows == ROW_NONE, 0, profile.rows + 2)  # (M,)
    # Each strip stands for one pixel column. Between it and the next either blocker may stand, so
    # the lower (nearer) of a strip's own contact and its two neighbours' counts.
    padded = np.concatenate([contact[:1], contact, contact[-1:]])  # (M + 2,)
    contact = np.maximum(np.maximum(padded[:-2], padded[2:]), contact)
    highest = ground.reach(farthest)[profile.columns]  # (M,)
    top = np.clip(contact, highest, bottom)  # (M,)
    # Without strips that are blocked from their bottom on.
    strips = np.flatnonzero((highest <= bottom) & (top < bottom))
    groups = np.split(strips, np.flatnonzero(np.diff(strips) > 1) + 1)
    return [
        _contour(ground, profile.columns[group], top[group], bottom[group])
        for group in groups
        if len(group) > 1
    ]


def _contour(
    ground: GroundProjection, columns: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> np.ndarray:
    """Closed outline: up the first column, along the tops, down the last, back along the bottom.

    columns, top, bottom: (k,) int each. From one top to the next the outline runs up or down
    whichever of the two columns is free there. Returns ground points (K, 2), m.
    """
    tops = np.concatenate([bottom[:1], top, bottom[-1:]])  # (k + 2,)
    padded = np.concatenate([columns[:1], columns, columns[-1:]])  # (k + 2,)
    jump = np.diff(tops)  # (k + 1,) edges from one top to the next
    steps = np.maximum(np.ceil(np.abs(jump) / _CONTOUR_ROWS), 1).astype(np.intp)
    # Each jump is walked in `steps` steps; for each point its jump and its step there, (n,) each.
    which = np.repeat(np.arange(len(jump)), steps)
    step = np.arange(len(which)) - np.repeat(np.cumsum(steps) - steps, steps)
    edges = tops[which] + np.round(jump[which] * step / steps[which]).astype(np.intp)
    walked = np.where(jump[which] < 0, padded[1:][which], padded[:-1][which])
    stride = _CONTOUR_STRIPS if len(columns) > _FINE_STRIPS else 1
    back = np.append(np.arange(len(columns) - 1, 0, -stride), 0)
    return ground.points(
        np.concatenate([edges, bottom[back]]), np.concatenate([walked, columns[back]])
    )


def grid_fields(numbers: GridNumbers, stamp: Stamp) -> Dict[str, Any]:
    """Fields of nav_msgs/OccupancyGrid, its header being in the vehicle frame."""
    height, width = numbers.cells.shape
    position = {'x': float(numbers.origin_x), 'y': float(numbers.origin_y), 'z': 0.0}
    orientation = {'x': 0.0, 'y': 0.0, 'z': 0.0, 'w': 1.0}
    return {
        'info': {
            'map_load_time': stamp._asdict(),
            'resolution': float(numbers.resolution),
            'width': width,
            'height': height,
            'origin': {'position': position, 'orientation': orientation},
        },
        'data': np.ascontiguousarray(numbers.cells, np.int8).ravel(),
    }
