# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Drivable area: the whole summary of one frame, and the object that makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.camera import Calibration, CameraPose, RayTable, Turn
from segformer_ros.classes import ClassMap
from segformer_ros.drivable.boundary import Boundary, BoundaryConfig, BoundaryExtractor
from segformer_ros.drivable.corridor import NO_CORRIDOR, Corridor, CorridorView
from segformer_ros.drivable.grid import GridConfig, GridNumbers, farthest_free, occupancy_grid
from segformer_ros.drivable.ground import (
    ColumnRanges,
    FreeSpace,
    GroundConfig,
    GroundProjection,
)
from segformer_ros.drivable.ground_points import (
    Contacts,
    GroundPoints,
    PointsConfig,
    blocker_contacts,
    close_gaps,
)
from segformer_ros.drivable.profile import ROW_NONE, BlockerHold, ColumnProfile, DrivableError
from segformer_ros.drivable.scan import ScanConfig, ScanNumbers, laser_scan
from segformer_ros.frame import BlockedRows, Stamp


@dataclass(frozen=True)
class DrivableConfig:
    """All settings of the drivable area.

    corridor_width: width that the vehicle needs, m.
    hold: seconds that a blocker is kept after it was last seen, see BlockerHold.
    """

    boundary: BoundaryConfig = field(default_factory=BoundaryConfig)
    ground: GroundConfig = field(default_factory=GroundConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    scan: ScanConfig = field(default_factory=ScanConfig)
    points: PointsConfig = field(default_factory=PointsConfig)
    corridor_width: float = 2.0
    hold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.corridor_width < 100:
            raise DrivableError(
                f'corridor_width={self.corridor_width} m: give the width of the '
                'vehicle and what it keeps clear'
            )


_NANOSECONDS = 1_000_000_000
_SECONDS_MAX = 2**31 - 1  # that fit in a Duration


class GroundView(NamedTuple):
    """One frame's view of the ground, from which grid, scan, points, maps and pictures are made.

    cell: rows of the mask that one cell of the network's output spans.
    """

    ground: GroundProjection
    profile: ColumnProfile
    ranges: ColumnRanges
    contacts: Contacts
    cell: float = 1.0


_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True)
class DrivableArea:
    """Summary of one frame: the fields of DrivableArea.msg, with the same names and units.

    Arrays have one entry per column; bearing, free_distance and distance_sigma are empty where
    `calibrated` is false. `reason` says why `valid` or `calibrated` is false; `pose_source` is
    set by the caller, who knows where the pose came from.

    Of a camera that is mounted upside down or on its side, the "bottom" of the image is the side
    where the ground is nearest, and the entries run from left to right as the vehicle sees it;
    column and boundary_row are pixels of the original image.
    """

    stamp: Stamp
    image_height: int = 0
    image_width: int = 0
    valid: bool = True
    reason: str = ''
    calibrated: bool = False
    pose_source: str = ''
    road_fraction: float = 0.0
    sidewalk_fraction: float = 0.0
    column: np.ndarray = field(default_factory=_NOTHING.copy)
    boundary_row: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    blocking_class: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    confidence: np.ndarray = field(default_factory=_NOTHING.copy)
    bearing: np.ndarray = field(default_factory=_NOTHING.copy)
    free_distance: np.ndarray = field(default_factory=_NOTHING.copy)
    distance_sigma: np.ndarray = field(default_factory=_NOTHING.copy)
    corridor: Corridor = NO_CORRIDOR
    view: Optional[GroundView] = None

    @classmethod
    def invalid(cls, stamp: Stamp, reason: str) -> DrivableArea:
        """Summary without data, only with the reason for that."""
        return cls(stamp, valid=False, reason=reason)


class DrivableAreaEstimator:
    """Makes the drivable area of one camera's frames, which must come in order.

    Works for any mount: the mask is turned so that the ground is at its bottom. What depends only
    on the calibration (ray table) or the pose (horizon) is cached until that changes.
    """

    def __init__(self, config: DrivableConfig, class_map: ClassMap) -> None:
        self.config = config
        self._extractor = BoundaryExtractor(config.boundary, class_map)
        self._sky = tuple(c.train_id for c in class_map.classes if c.group == 'sky')
        self._hold = BlockerHold(config.hold)
        self._points = GroundPoints(config.points, class_map, config.boundary.hood)
        self._turn = Turn(0, 0, 0)
        self._rays: Optional[RayTable] = None
        self._ground: Optional[GroundProjection] = None
        self._corridor: Optional[CorridorView] = None

    @property
    def wanted_drivable(self) -> Tuple[int, ...]:
        """Train ids for which an engine may find the blocked rows; empty: it must not."""
        return self._extractor.wanted_drivable

    def update(
        self,
        labels: np.ndarray,
        confidence: Optional[np.ndarray] = None,
        calibration: Optional[Calibration] = None,
        pose: Optional[CameraPose] = None,
        stamp: Stamp = Stamp(0, 0),
        cell: float = 1.0,
        blocked: Optional[BlockedRows] = None,
    ) -> DrivableArea:
        """Drivable area of one label map (H, W) uint8.

        confidence: (H, W) uint8, 0..255 for 0..1, or None. calibration: of the frames or of the
        mask, which may be smaller by any scale; without it or the pose no field is in metres.
        cell: rows of the mask that one cell of the network's output spans; widens the sigma.
        blocked: the boundary that the engine found, for `wanted_drivable`.
        """
        ground = self._projection(labels.shape, calibration, pose)
        scale = None if ground is None else ground.pixel_scale
        turn = self._turn_to(0 if ground is None else ground.rays.turn.quarters, labels)
        if turn.quarters:  # the engine searched from the image's own bottom
            labels, blocked = turn.turn(labels), None
            confidence = None if confidence is None else turn.turn(confidence)
        boundary = self._extractor.extract(labels, confidence, scale, blocked)
        return self._as_came(self._summary(boundary, ground, stamp, cell), turn)

    def grid(self, area: DrivableArea) -> Optional[GridNumbers]:
        """Occupancy grid of a frame; None where it is not calibrated."""
        view = area.view
        if view is None:
            return None
        return occupancy_grid(self.config.grid, view.ground, view.profile, view.contacts)

    def scan(self, area: DrivableArea) -> Optional[ScanNumbers]:
        """Laser scan of a frame's boundary; None where it is not calibrated."""
        view = area.view
        if view is None:
            return None
        return laser_scan(self.config.scan, view.ground, view.ranges)

    def points(self, area: DrivableArea, labels: np.ndarray) -> Optional[np.ndarray]:
        """Ground point of each pixel of a frame's label map; see `GroundPoints.points`.

        (H, W, 3) float32; None where the frame is not calibrated.
        """
        view = area.view
        if view is None:
            return None
        return self._points.points(labels, view.ground, view.cell)

    def _summary(
        self, boundary: Boundary, ground: Optional[GroundProjection], stamp: Stamp, cell: float
    ) -> DrivableArea:
        profile = self._hold.update(stamp.ns, boundary.profile)
        if ground is None:
            return self._area(boundary, profile, stamp)
        ranges = ground.column_ranges(profile, self._sky)
        if np.isnan(ranges.distance).all():
            return replace(self._area(boundary, profile, stamp), reason=_no_ground(ground))
        if self.config.ground.min_gap > 0:
            profile = close_gaps(
                profile, ranges, ground, self.config.ground.min_gap, self.config.boundary.columns
            )
            ranges = ground.column_ranges(profile, self._sky)
        space = ground.project(ranges, self.config.boundary.columns, cell)
        contacts = blocker_contacts(ground, profile, ranges, self.config.grid.resolution)
        view = GroundView(ground, profile, ranges, contacts, cell)
        if self._corridor is None:
            self._corridor = CorridorView(self.config.corridor_width, ground)
        corridor = self._corridor.corridor(profile, ranges, contacts, cell)
        area = self._area(boundary, profile, stamp)
        return replace(_with_metres(area, space, view), corridor=corridor)

    def _area(self, boundary: Boundary, profile: ColumnProfile, stamp: Stamp) -> DrivableArea:
        if profile is not boundary.profile:
            boundary = self._extractor.summarise(
                profile, boundary.road_fraction, boundary.sidewalk_fraction
            )
        return DrivableArea(
            stamp,
            boundary.height,
            boundary.width,
            road_fraction=boundary.road_fraction,
            sidewalk_fraction=boundary.sidewalk_fraction,
            column=boundary.columns,
            boundary_row=boundary.rows,
            blocking_class=boundary.blocking_class,
            confidence=boundary.confidence,
        )

    def _projection(
        self, size: Tuple[int, ...], calibration: Optional[Calibration], pose: Optional[CameraPose]
    ) -> Optional[GroundProjection]:
        if calibration is None or pose is None:
            return None
        calibration = calibration.scaled(width=size[1], height=size[0])
        rays, ground = self._rays, self._ground
        quarters = pose.quarter_turns
        if rays is None or rays.calibration != calibration or rays.turn.quarters != quarters:
            self._rays, ground = RayTable(calibration, quarters), None
            rays = self._rays
        if ground is None or ground.pose != pose:
            ground = GroundProjection(rays, pose, self.config.ground)
            ground.find_reach((math.inf, farthest_free(self.config.grid, ground)))
            self._ground, self._corridor = ground, None
        return ground

    def _turn_to(self, quarters: int, labels: np.ndarray) -> Turn:
        """How to turn the mask; blockers held from another orientation are dropped."""
        turn = Turn(quarters, labels.shape[1], labels.shape[0])
        if turn.quarters != self._turn.quarters:
            self._hold = BlockerHold(self.config.hold)
        self._turn = turn
        return turn

    @staticmethod
    def _as_came(area: DrivableArea, turn: Turn) -> DrivableArea:
        """`area` of a turned mask, in pixels of the original mask."""
        if not turn.quarters:
            return area
        none = area.boundary_row == ROW_NONE  # (N,) bool
        u, v = turn.to_image(area.column, np.maximum(area.boundary_row, 0))
        return replace(
            area,
            image_height=turn.height,
            image_width=turn.width,
            column=u.astype(np.float32),
            boundary_row=np.where(none, ROW_NONE, v).astype(np.int32),
        )


def age_fault(age: float, max_age: float) -> str:
    """Why a summary of this age (s, now minus the image's stamp) is not valid; '' if it is.

    A stamp slightly in the future counts as clock jitter; one further ahead as a broken clock.
    """
    if age > max_age:
        return f'the image is {age:.2f} s old; at most {max_age:g} s are allowed'
    if age < -max_age:
        return (
            f'the image is stamped {-age:.2f} s in the future: the clocks of the camera and '
            'of this machine differ'
        )
    return ''


def _no_ground(ground: GroundProjection) -> str:
    """Why a camera that sees no ground gives no distances."""
    pose = ground.pose
    return (
        f'the camera sees no ground: by its mount it looks {math.degrees(-pose.pitch):.0f} '
        f'degrees up, rolled by {math.degrees(pose.roll):.0f} degrees; check the transform of the '
        "image's frame_id (an optical frame: z forward, x right, y down) or the mount parameters"
    )


def _with_metres(area: DrivableArea, space: FreeSpace, view: GroundView) -> DrivableArea:
    """`area` with distances: of each column's strip that is nearest on the ground.

    That need not be the one lowest in the image, which `area` has so far.
    """
    strips, profile = space.strips, view.profile
    return replace(
        area,
        calibrated=True,
        column=profile.columns[strips].astype(np.float32),
        boundary_row=profile.rows[strips],
        blocking_class=profile.classes[strips],
        confidence=profile.confidence[strips],
        bearing=space.bearing,
        free_distance=space.free_distance,
        distance_sigma=space.distance_sigma,
        view=view,
    )


def area_fields(area: DrivableArea, age: float, vehicle_frame: str) -> Dict[str, Any]:
    """Fields of segformer_ros/DrivableArea, without its header; `age` in seconds."""
    return {
        'valid': area.valid,
        'reason': area.reason,
        'calibrated': area.calibrated,
        'pose_source': area.pose_source,
        'age': _duration(age),
        'image_height': area.image_height,
        'image_width': area.image_width,
        'road_fraction': float(area.road_fraction),
        'sidewalk_fraction': float(area.sidewalk_fraction),
        'column': np.ascontiguousarray(area.column, np.float32),
        'boundary_row': np.ascontiguousarray(area.boundary_row, np.int32),
        'blocking_class': np.ascontiguousarray(area.blocking_class, np.uint8),
        'confidence': np.ascontiguousarray(area.confidence, np.float32),
        'vehicle_frame': vehicle_frame,
        'bearing': np.ascontiguousarray(area.bearing, np.float32),
        'free_distance': np.ascontiguousarray(area.free_distance, np.float32),
        'distance_sigma': np.ascontiguousarray(area.distance_sigma, np.float32),
        'corridor_width': float(area.corridor.width),
        'corridor_distance': float(area.corridor.distance),
        'corridor_sigma': float(area.corridor.sigma),
        'corridor_blocking_class': int(area.corridor.blocking_class),
    }


def _duration(seconds: float) -> Dict[str, Any]:
    """Fields of builtin_interfaces/Duration."""
    limited = max(-_SECONDS_MAX, min(_SECONDS_MAX, seconds))
    sec, nanosec = divmod(round(limited * _NANOSECONDS), _NANOSECONDS)
    return {'sec': sec, 'nanosec': nanosec}
