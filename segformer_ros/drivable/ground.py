# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Ground projection: from the boundary in the image to metres on flat ground.

All results are in the vehicle frame: x forward, y left, metres, on the ground below the vehicle's
origin; bearings in radians, 0 ahead, positive left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, NamedTuple, Tuple

import numpy as np

from segformer_ros.camera import CameraPose, RayTable
from segformer_ros.drivable.profile import (
    ROW_NONE,
    ColumnProfile,
    DrivableError,
    nearest_in_spans,
)

_REACH_COLUMNS = 64
_REACH_MARGIN = 0.05  # rows: more than the curve bends between two of these columns
_NOWHERE = 1e-9  # m: closer to the origin than this, a point has no direction


@dataclass(frozen=True)
class GroundConfig:
    """How well the camera's pose is known, and when sky in the mask is really sky.

    pixel_sigma: standard deviation of the boundary's row, in cells of the mask (see `project`).
    pitch_sigma, roll_sigma: of the pose's angles, rad. height_sigma: of its height, as a share.
    horizon_margin: sky (or nothing) that begins less than this many pitch_sigma below the horizon,
        or above it, is the end of the view, not a blocker.
    min_gap: gaps between two blockers that are narrower than this are closed, m; 0: none.
    """

    pixel_sigma: float = 1.0
    pitch_sigma: float = math.radians(0.5)
    roll_sigma: float = math.radians(0.5)
    height_sigma: float = 0.02
    horizon_margin: float = 2.0
    min_gap: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            'pixel_sigma',
            'pitch_sigma',
            'roll_sigma',
            'height_sigma',
            'horizon_margin',
            'min_gap',
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise DrivableError(f'{name}={value} is not a finite number from 0 upwards')


class ColumnRanges(NamedTuple):
    """Where the view of free ground ends in each of a profile's M strips.

    columns, edges: (M,) int, pixel column and pixel edge of the contact (see RayTable).
    points: (M, 2) float64 ground point x, y at that edge; NaN where there is none.
    distance: (M,) float64, m from the vehicle's origin. inf: no blocker up to the horizon. 0:
        blocked from the first visible row on, so nearer than what the image shows. NaN: the strip
        shows no ground.
    blocked: (M,) bool, whether a blocker ends the view; otherwise a finite distance is that of the
        last ground that the image shows.
    """

    columns: np.ndarray
    edges: np.ndarray
    points: np.ndarray
    distance: np.ndarray
    blocked: np.ndarray


@dataclass(frozen=True)
class FreeSpace:
    """Free distance for N columns.

    strips: (N,) int, index of the profile's strip that each was measured in, the nearest.
    bearing: (N,) float32, rad, from the vehicle's origin to the boundary point (or along the view
        where nothing blocks; interpolated from the neighbours for a column without a ray).
    free_distance, distance_sigma: (N,) float32, m; see ColumnRanges; sigma is inf where the
        distance is inf, and 0 where it is 0.
    """

    strips: np.ndarray
    bearing: np.ndarray
    free_distance: np.ndarray
    distance_sigma: np.ndarray


class GroundProjection:
    """Projects image points to the ground for one calibration and one pose."""

    def __init__(self, rays: RayTable, pose: CameraPose, config: GroundConfig) -> None:
        self.rays = rays
        self.pose = pose
        self.config = config
        self._rotation = pose.rotation()
        #: The camera's foot, the ground point below it: (2,) x and y in the vehicle frame.
        self.foot = pose.position[:2]
        self._reach: Dict[float, np.ndarray] = {}

    def directions(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Viewing directions (n, 3) float64 in the vehicle frame, not normalised."""
        directions: np.ndarray = (
            self.rays.at(edges, columns) @ self._rotation[:, :2].T + self._rotation[:, 2]
        )
        return directions

    def points(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Ground points (n, 2) float64 x, y in m; NaN at or above the horizon."""
        directions = self.directions(edges, columns)  # (n, 3)
        sinking = np.where(directions[:, 2] < 0, -directions[:, 2], np.nan)  # (n,)
        points: np.ndarray = self.foot + directions[:, :2] * (self.pose.height / sinking)[:, None]
        return points

    def table(self, top: int) -> np.ndarray:
        """Ground points (H - top, W, 3) float32 of the pixel centres from row `top` down, z = 0.

        Only for rows below the horizon; NaN for a pixel without a ray.
        """
        edges = self.rays.grid(top)  # (H - top + 1, W, 2) float32
        # A pixel's centre is halfway between its upper and lower edge.
        x, y = ((edges[1:, :, axis] + edges[:-1, :, axis]) / 2 for axis in (0, 1))  # (H - top, W)
        rotation = self._rotation.astype(np.float32)  # (3, 3)
        # Not a matrix product: x and y stay separate arrays, and z is 1.
        ahead, left, up = (
            rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] for axis in range(3)
        )
        with np.errstate(divide='ignore', invalid='ignore'):
            scale = np.where(up < 0, np.float32(-self.pose.height) / up, np.float32(np.nan))
        table = np.zeros((*x.shape, 3), np.float32)
        np.multiply(ahead, scale, out=table[..., 0])
        np.multiply(left, scale, out=table[..., 1])
        table[..., :2] += self.foot.astype(np.float32)
        table[..., 2][np.isnan(scale)] = np.nan
        return table

    def edges_of(self, points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Edges (n,) float64 and pixel columns (n,) int where the image shows points.

        points: (n, 3), or (n, 2) on the ground, m. Not in the image: edge NaN, column 0.
        """
        u, v = self._pixels(points)
        width, height = self.rays.turn.turned_size
        shown = (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)
        columns = np.clip(np.round(np.where(shown, u, 0.0)), 0, width - 1).astype(np.intp)
        return np.where(shown, v + 0.5, np.nan), columns

    def is_above(self, x: float, y: float) -> bool:
        """Tell whether ground at x, y, m, lies above the image's top, within its width."""
        u, v = self._pixels(np.array([[x, y]]))
        return bool(-0.5 <= u[0] < self.rays.width - 0.5 and v[0] < -0.5)

    def _pixels(self, points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Pixels u, v (n,) of points (n, 2 or 3), also outside the turned image; NaN: not seen."""
        rotation = self._rotation[: points.shape[1]]  # z = 0 needs no third row
        optical = points @ rotation - self.pose.position @ self._rotation  # (n, 3)
        return self.rays.turn.to_turned(*self.rays.calibration.project(optical).T)

    def reach(self, distance: float) -> np.ndarray:
        """Highest edge of each column whose ground point is nearer than `distance`: (W,) int.

        Measured from the camera's foot; inf: the first edge below the horizon. Within 0.05 rows,
        rounded to the near side; beyond `rays.edges` where the column has no such edge. Cached.
        """
        if distance not in self._reach:
            self.find_reach((distance,))
        return self._reach[distance]

    def find_reach(self, distances: Tuple[float, ...]) -> None:
        """Fill the cache of `reach` for several distances, hardly slower than for one."""
        # A smooth curve: solved for, to a fraction of a row, in some columns, and interpolated.
        columns = np.arange(self.rays.width)
        stride = max(1, self.rays.width // _REACH_COLUMNS)
        some = np.append(columns[:-1:stride], columns[-1:])
        crossings = self._crossing(
            np.repeat(np.array(distances), len(some)), np.tile(some, len(distances))
        ).reshape(len(distances), -1)  # (distances, some columns)
        for distance, crossing in zip(distances, crossings):
            edges = self._whole(np.interp(columns, some, crossing) + _REACH_MARGIN)
            self._reach[distance] = np.maximum(edges, self.rays.highest)

    def edges_within(self, distance: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Highest edge of each column (n,) whose ground point is nearer than `distance` (n,), m.

        Measured from the camera's foot; `rays.edges` or more where the column has no such edge.
        """
        return self._whole(self._crossing(distance, columns))

    def pixel_scale(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Pixels that one metre across spans where pixels (n,) see the ground: (n,) float.

        0 at and above the horizon, and without a ray. (Ignores how the lens stretches the image
        off its axis.)
        """
        sinking = -self.directions(rows, columns)[:, 2]  # (n,); the depth is height / sinking
        scale: np.ndarray = self.rays.focal_across * np.fmax(sinking, 0) / self.pose.height
        return scale

    def range_of_footprint(self, depth: float) -> float:
        """Distance from the foot, m, at which one image row spans `depth` m of ground.

        One row is 1 / fy rad; at a distance d far above the height h it spans d^2 / (h fy).
        """
        return math.sqrt(depth * self.pose.height * self.rays.focal_down)

    def column_ranges(self, profile: ColumnProfile, sky: Tuple[int, ...] = ()) -> ColumnRanges:
        """End of the free ground in each strip; `sky`: class ids that need not block.

        Sky that begins at the horizon ends the view; further down it is a hole in the mask, and
        blocks. Any other blocker that begins at or above the horizon has no contact point: its
        strip is free up to the last ground that it shows. So is a strip that nothing blocks, where
        the image ends below the horizon.
        """
        columns, rows = profile.columns, profile.rows  # (M,) each
        horizon = self.reach(math.inf)[columns]  # (M,) int
        first = np.minimum(profile.start + 1, self.rays.lowest[columns])  # lowest visible edge
        blocked = rows != ROW_NONE  # (M,) bool
        contact = np.where(blocked, rows + 1, 0)  # (M,) edge below the blocker's lowest pixel
        edges = np.clip(contact, horizon, first)
        points = self.points(edges, columns)  # (M, 2)
        distance = np.sqrt(np.square(points).sum(axis=1))  # (M,)
        for class_id in sky:
            index = np.flatnonzero(profile.classes == class_id)
            blocked[index[self._near_horizon(contact[index], columns[index])]] = False
        open_end = np.flatnonzero(~blocked)
        distance[open_end[self._at_horizon(edges[open_end], columns[open_end])]] = np.inf
        at_start = contact >= first
        blocked |= at_start
        distance[at_start] = 0.0
        # A strip whose lowest edge is above the horizon shows no ground. (So may some of a camera
        # that looks straight down.)
        unseen = (horizon > first) | np.isnan(points[:, 0])
        distance[unseen], blocked[unseen] = np.nan, False
        return ColumnRanges(columns, edges, points, distance, blocked)

    def project(self, ranges: ColumnRanges, columns: int, cell: float = 1.0) -> FreeSpace:
        """Free space of `columns` spans; `cell`: rows that one cell of the mask spans."""
        strips = nearest_in_spans(
            np.where(np.isnan(ranges.distance), np.inf, ranges.distance), columns
        )
        distance = ranges.distance[strips]  # (N,)
        directions = self.directions(ranges.edges[strips], ranges.columns[strips])  # (N, 3)
        target = ranges.points[strips]  # (N, 2)
        endless = ~np.isfinite(distance) | np.isnan(target[:, 0])
        target = np.where(endless[:, None], directions[:, :2], target)
        bearing = np.arctan2(target[:, 1], target[:, 0])
        known = np.flatnonzero(np.isfinite(bearing))
        if 0 < len(known) < len(bearing):  # a lens may have no ray in some columns
            bearing = np.interp(np.arange(len(bearing)), known, np.unwrap(bearing[known]))
            bearing = (bearing + math.pi) % (2 * math.pi) - math.pi
        return FreeSpace(
            strips,
            bearing.astype(np.float32),
            distance.astype(np.float32),
            self.sigma(ranges, strips, cell).astype(np.float32),
        )

    def sigma(self, ranges: ColumnRanges, strips: np.ndarray, cell: float = 1.0) -> np.ndarray:
        """Standard deviation of the distance of strips (N,): (N,) float64, m; see FreeSpace."""
        distance = ranges.distance[strips]
        sigma = self.sigma_at(ranges.edges[strips], ranges.columns[strips], cell)
        return np.where(np.isfinite(distance), np.where(distance > 0, sigma, 0.0), distance)

    def sigma_at(self, edges: np.ndarray, columns: np.ndarray, cell: float = 1.0) -> np.ndarray:
        """Standard deviation of the distance of ground points: (n,) float64, m; NaN for none."""
        directions = self.directions(edges, columns)  # (n, 3)
        one_row = directions - self.directions(np.maximum(edges - 1, 0), columns)  # (n, 3)
        # There is no row above the top one, nor a ray above a lens's first: take the row below.
        topmost = np.flatnonzero((edges == 0) | np.isnan(one_row[:, 0]))
        if len(topmost) > 0:
            below = np.minimum(edges[topmost] + 1, self.rays.edges - 1)
            one_row[topmost] = np.nan_to_num(
                self.directions(below, columns[topmost]) - directions[topmost]
            )
        return self._sigma(directions, one_row, cell)

    def _whole(self, edges: np.ndarray) -> np.ndarray:
        """Round edges (n,) float to the next whole edge below: int, at most twice `rays.edges`."""
        return np.clip(np.ceil(edges), 0, 2 * self.rays.edges).astype(np.intp)

    def _crossing(self, distance: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Fractional edge at which each column (n,) passes `distance` (n,) m: (n,) float64.

        Above or below the image where all of the column is nearer or further away.
        """
        # The margin grows from the horizon downwards and is almost linear in the row, so a few
        # secant steps find its zero; every third step bisects, for lenses that bend it. The root
        # stays between `low` (beyond the distance) and `high` (within it).
        low: np.ndarray = np.zeros(len(columns), np.intp)  # (n,)
        high: np.ndarray = self.rays.lowest[columns]  # (n,)
        at_low, at_high = (self._margin(edges, columns, distance) for edges in (low, high))
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            for turn in range(2 * self.rays.edges.bit_length()):
                size = high - low
                if size.max(initial=0) <= 1:
                    break
                share = at_low / (at_low - at_high) if turn % 3 < 2 else np.full(len(low), 0.5)
                share = np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), 0.5)
                middle = low + np.clip((share * size).astype(np.intp), 1, np.maximum(size - 1, 1))
                margin = self._margin(middle, columns, distance)
                within = (margin > 0) & (size > 1)
                beyond = ~(margin > 0) & (size > 1)
                high, at_high = np.where(within, middle, high), np.where(within, margin, at_high)
                low, at_low = np.where(beyond, middle, low), np.where(beyond, margin, at_low)
            rise = at_high - at_low
            crossing = np.where(rise > 0, low - at_low / rise, np.where(at_low > 0, -1.0, np.inf))
        # Where the lens has no ray at `low`, the first edge that has one.
        crossing = np.where(np.isnan(at_low) & (at_high > 0), high, crossing)
        return np.minimum(crossing, 2.0 * self.rays.edges)

    def _margin(self, edges: np.ndarray, columns: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """How far each edge's ray dips below the ray to the ground at `distance` (n,): (n,).

        Above 0 the edge's ground point is nearer than `distance`; NaN where there is no ray.
        """
        # The ray meets the ground at height * hypot(x, y) / -z: nearer than `distance` where
        # -z > height * hypot(x, y) / distance. Written so, it holds above the horizon, too.
        x, y, z = self.directions(edges, columns).T
        margin: np.ndarray = -z - self.pose.height / distance * np.sqrt(x * x + y * y)
        return margin

    @property
    def horizon_margin(self) -> float:
        """Angle below the horizon, rad, within which ground cannot be told from sky."""
        return min(self.config.horizon_margin * self.config.pitch_sigma, math.pi / 2)

    def _near_horizon(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Tell which edges (n,) are above the horizon or within its margin below: (n,) bool."""
        directions = self.directions(edges, columns)  # (n, 3)
        sink = -directions[:, 2] / np.sqrt(np.square(directions).sum(axis=1))
        near: np.ndarray = sink < math.sin(self.horizon_margin)
        return near

    def _at_horizon(self, edges: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Tell which edges (n,) are near the horizon, or just one row below it: (n,) bool."""
        above = self.directions(np.maximum(edges - 1, 0), columns)[:, 2] >= 0
        return above | self._near_horizon(edges, columns)

    def _sigma(self, direction: np.ndarray, one_row: np.ndarray, cell: float) -> np.ndarray:
        """First-order standard deviation (N,) of the distance of ground points.

        direction: (N, 3) to the points; one_row: (N, 3), its change over one row of the image.
        The ground point is C + t v with t = h / -v_z. A small change dv of the direction moves it
        by t (dv + v dv_z / -v_z); a change of height moves it along v.
        """
        sinking = np.where(direction[:, 2:] < 0, -direction[:, 2:], np.nan)  # (N, 1)
        scale = self.pose.height / sinking[:, 0]  # (N,)
        slope = direction[:, :2] / sinking  # (N, 2)
        point = self.foot + slope * self.pose.height  # (N, 2)
        distance = np.sqrt(np.square(point).sum(axis=1))  # (N,)
        outward = point / np.maximum(distance, _NOWHERE)[:, None]  # (N, 2) unit vectors

        def moved(change: np.ndarray) -> np.ndarray:
            """Change (N,) of the distance by a change (N, 3) of the direction."""
            shift = scale[:, None] * (change[:, :2] + slope * change[:, 2:])  # (N, 2)
            along: np.ndarray = (shift * outward).sum(axis=1)
            return along

        # A small rotation by `angle` about an axis changes v by angle * (axis x v).
        pitch_axis = np.array([-math.sin(self.pose.yaw), math.cos(self.pose.yaw), 0.0])
        roll_axis = self._rotation[:, 2]
        config = self.config
        terms = (
            moved(one_row) * (config.pixel_sigma * cell),
            moved(direction @ _cross_matrix(pitch_axis).T) * config.pitch_sigma,
            moved(direction @ _cross_matrix(roll_axis).T) * config.roll_sigma,
            (slope * outward).sum(axis=1) * (self.pose.height * config.height_sigma),
        )
        sigma: np.ndarray = np.sqrt(np.square(terms).sum(axis=0))
        return sigma


def _cross_matrix(axis: np.ndarray) -> np.ndarray:
    """Matrix (3, 3) whose product with v is the cross product of `axis` and v."""
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
