# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The parameters of the drivable area and of a camera's mount, and the configurations they give.

Used by several nodes: the segmentation node, the evaluator and the demo's recorder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Optional, Tuple

from segformer_ros.camera import CameraPose
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableConfig,
    GridConfig,
    GroundConfig,
    MapConfig,
    PointsConfig,
    ScanConfig,
)
from segformer_ros.node.parameter import Changeable, parameter

_DRIVABLE, _MAP = DrivableConfig(), MapConfig()  # for the defaults


@dataclass(frozen=True)
class GridSettings:
    """Extent of `drivable_area/grid` in the vehicle frame."""

    resolution: float = parameter(
        _DRIVABLE.grid.resolution, 'side of a cell, m', low=0.02, high=5.0
    )
    x_min: float = parameter(_DRIVABLE.grid.x_min, 'rear end, m', low=-500.0, high=500.0)
    x_max: float = parameter(_DRIVABLE.grid.x_max, 'front end, m', low=-500.0, high=500.0)
    y_min: float = parameter(_DRIVABLE.grid.y_min, 'right end, m', low=-500.0, high=500.0)
    y_max: float = parameter(_DRIVABLE.grid.y_max, 'left end, m', low=-500.0, high=500.0)
    max_footprint: float = parameter(
        _DRIVABLE.grid.max_footprint,
        'no cell is called free where one image row spans more ground than this, m',
        low=0.01,
        high=100.0,
    )


@dataclass(frozen=True)
class ScanSettings:
    """Angles and ranges of `drivable_area/scan` about the vehicle frame's origin."""

    angle_min: float = parameter(
        _DRIVABLE.scan.angle_min, 'first angle, rad, negative = right', low=-3.1415, high=3.1415
    )
    angle_max: float = parameter(
        _DRIVABLE.scan.angle_max, 'last angle, rad, positive = left', low=-3.1415, high=3.1415
    )
    angle_increment: float = parameter(
        _DRIVABLE.scan.angle_increment, 'angle between two ranges, rad', low=1e-4, high=0.5
    )
    range_min: float = parameter(
        _DRIVABLE.scan.range_min, 'shortest range, m', low=0.0, high=100.0
    )
    range_max: float = parameter(
        _DRIVABLE.scan.range_max, 'longest range, m', low=0.1, high=1000.0
    )


@dataclass(frozen=True)
class MapSettings:
    """Extent and memory of `drivable_area/map`."""

    frame: str = parameter(
        'odom', 'frame_id of the map: the vehicle moves in it smoothly, by TF or odometry'
    )
    size: float = parameter(
        _MAP.size, 'length of its sides, m; the vehicle is in its middle', low=1.0, high=200.0
    )
    resolution: float = parameter(_MAP.resolution, 'side of a cell, m', low=0.02, high=5.0)
    costs: Tuple[str, ...] = parameter(
        _MAP.costs,
        'NAME=COST with a class or group of the class map: value 0..100 of the cells where it is '
        'seen; other ground has 50, blockers have 100',
    )
    half_life: float = parameter(
        _MAP.half_life,
        'seconds in which the evidence for free ground decays to half, unless it is seen again',
        low=0.01,
        high=3600.0,
    )
    blocker_half_life: float = parameter(
        _MAP.blocker_half_life, 'the same for blockers, s', low=0.01, high=3600.0
    )
    half_lives: Tuple[str, ...] = parameter(
        _MAP.half_lives,
        'NAME=SECONDS with a class or group of the class map that has another half-life',
    )
    unseen_speed: float = parameter(
        _MAP.unseen_speed,
        'm/s at which a vehicle that no camera has seen may approach along the road: where it may '
        'be by now, remembered road is not free; 0: no such vehicle is assumed',
        low=0.0,
        high=100.0,
    )


@dataclass(frozen=True)
class DrivableSettings:
    """What counts as drivable, and how the drivable area is computed."""

    group: str = parameter(
        _DRIVABLE.boundary.drivable,
        'what may be driven on: a drivable group of the class map (road, road+sidewalk, ...) or '
        'class names joined by +',
    )
    columns: int = parameter(
        _DRIVABLE.boundary.columns,
        'number of image columns that the boundary is given for',
        low=1,
        high=4096,
    )
    speckle_size: float = parameter(
        _DRIVABLE.boundary.speckle_size,
        'blocked islands narrower and lower than this on the ground are ignored, m; 0: none',
        low=0.0,
        high=1.0,
    )
    speckle: int = parameter(
        _DRIVABLE.boundary.speckle,
        'without calibration: blocked islands of fewer pixels are ignored, except those of a '
        'person, vehicle or object; 0: none',
        low=0,
        high=10_000,
    )
    min_gap: float = parameter(
        _DRIVABLE.ground.min_gap,
        'gaps between two blockers narrower than this are closed, m; 0: none',
        low=0.0,
        high=10.0,
    )
    min_confidence: float = parameter(
        _DRIVABLE.boundary.min_confidence,
        'drivable pixels of a lower confidence are not free; 0: all are',
        low=0.0,
        high=1.0,
    )
    hold: float = parameter(
        _DRIVABLE.hold,
        'seconds that a blocker is kept in its image column after it was last seen; 0: not at all',
        low=0.0,
        high=10.0,
    )
    vehicle_width: float = parameter(
        _DRIVABLE.corridor_width,
        'width of the corridor that must be free for the vehicle, m',
        low=0.1,
        high=20.0,
    )
    vehicle_frame: str = parameter(
        'base_link', 'frame_id of grid and scan: on the ground, x forward, y left, z up'
    )
    use_tf: bool = parameter(
        True,
        "take the camera's mount from TF at each frame's stamp, if tf2 is installed and TF has "
        'it; else from the mount parameters',
        change=Changeable.CONFIGURE,
    )
    tf_timeout: float = parameter(
        0.3,
        "longest wait of the drivable area and the overlay for a late transform of the frame's "
        'stamp, s; at most until drivable.max_age; masks do not wait',
        low=0.0,
        high=1.0,
    )
    use_imu: bool = parameter(
        False,
        "add the body's swing to the mount, by the orientations on the topic imu "
        '(sensor_msgs/Imu); for mounts without the suspension in TF',
        change=Changeable.CONFIGURE,
    )
    check_mount: bool = parameter(
        False,
        'compare the mount with the motion of the camera while driving, and warn on /diagnostics '
        'if pitch, yaw or roll look off by more than pitch_sigma',
    )
    rectified: bool = parameter(
        False,
        'the images are rectified: P of camera_info is used, and not the distortion; assumed of '
        'topics named image_rect*',
    )
    pitch_sigma: float = parameter(
        _DRIVABLE.ground.pitch_sigma,
        "standard deviation of the camera's pitch and roll, rad",
        low=0.0,
        high=0.2,
    )
    points_sigma: float = parameter(
        _DRIVABLE.points.max_sigma,
        'segmentation/points has pixels whose distance has at most this standard deviation, m',
        low=0.01,
        high=100.0,
    )
    max_age: float = parameter(
        0.5,
        'valid = false for images older than this, and once a camera or engine has given nothing '
        'newer, s',
        low=0.05,
        high=60.0,
    )
    grid: GridSettings = field(default_factory=GridSettings)
    scan: ScanSettings = field(default_factory=ScanSettings)
    map: MapSettings = field(default_factory=MapSettings)


@dataclass(frozen=True)
class MountSettings:
    """Where one camera is mounted on the vehicle, for vehicles without TF."""

    height: float = parameter(
        0.0,
        "the lens's height above the ground, m; 0: unknown, so there are no distances in metres",
        low=0.0,
        high=100.0,
    )
    pitch: float = parameter(0.0, 'positive looks down, rad', low=-1.6, high=1.6)
    roll: float = parameter(0.0, 'positive tilts the right side down, rad', low=-3.2, high=3.2)
    yaw: float = parameter(0.0, 'positive turns left, rad', low=-3.2, high=3.2)
    x: float = parameter(0.0, 'forward of the vehicle frame, m', low=-100.0, high=100.0)
    y: float = parameter(0.0, 'left of the vehicle frame, m', low=-100.0, high=100.0)
    hood: float = parameter(
        _DRIVABLE.boundary.hood,
        "share of the image's height at the bottom that shows the vehicle's own hood",
        low=0.0,
        high=0.9,
    )


def drivable_config(settings: DrivableSettings, mount: MountSettings) -> DrivableConfig:
    """Configuration of one camera's drivable area; raises DrivableError."""
    return DrivableConfig(
        boundary=BoundaryConfig(
            columns=settings.columns,
            drivable=settings.group,
            hood=mount.hood,
            speckle_size=settings.speckle_size,
            speckle=settings.speckle,
            min_confidence=settings.min_confidence,
        ),
        ground=GroundConfig(
            pitch_sigma=settings.pitch_sigma,
            roll_sigma=settings.pitch_sigma,
            min_gap=settings.min_gap,
        ),
        grid=GridConfig(**asdict(settings.grid)),
        scan=ScanConfig(**asdict(settings.scan)),
        points=PointsConfig(settings.points_sigma),
        corridor_width=settings.vehicle_width,
        hold=settings.hold,
    )


def map_config(settings: DrivableSettings) -> MapConfig:
    """Configuration of the map; raises DrivableError."""
    numbers = asdict(settings.map)
    del numbers['frame']
    return MapConfig(**numbers, max_footprint=settings.grid.max_footprint)


@lru_cache(maxsize=64)
def mount_pose(mount: MountSettings) -> Optional[CameraPose]:
    """Camera pose from the mount parameters, None if the height is unknown."""
    if mount.height == 0:
        return None
    return CameraPose(mount.height, mount.pitch, mount.roll, mount.yaw, mount.x, mount.y)
