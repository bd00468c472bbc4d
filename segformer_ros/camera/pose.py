# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Pose: where a camera is mounted over the ground, and how an IMU sees the body swing.

Two frames of reference are used throughout the package:

* *optical* (REP-103): x right, y down, z forward, origin in the camera's centre;
* *vehicle* (REP-103 base frame, on the ground): x forward, y left, z up, metres.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Deque, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.camera.calibration import Calibration, CalibrationError, CameraError
from segformer_ros.camera.camera_info import check_image_size

# Body axes (forward, left, up) of the optical axes (right, down, forward).
_BODY_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
_MIN_HEIGHT = 1e-3  # m
_MAX_EXTENT = 1e4  # m, rad
_SURELY_DOWN = math.sin(math.radians(5.0))  # image axes tilted less: a view straight down
_SAME_PLACE = 0.1  # m
_DECIMALS = 6  # before sides of the image are compared: a roll of 45 degrees must not flicker
# Degrees above the horizon between which an optical frame (z forward) may point. A body frame (x
# forward) mistaken for one points up, or down if the camera is upside down.
_BODY_UP, _BODY_UP_ON_ITS_SIDE = 45.0, 20.0
_BODY_DOWN, _BODY_DOWN_ON_ITS_SIDE = -70.0, -45.0
_KEPT = 3.0  # seconds of IMU orientations that are kept
_GAP = 0.1  # seconds; longest gap between two of them to interpolate over
_AHEAD = 0.02  # seconds that a frame may be newer than the last of them
_UPRIGHT = math.cos(math.radians(45.0))
_LEVEL = 0.01  # m; vehicle frames closer than this to the ground are on it

USUAL = 10.0
"""Seconds over which the usual tilt is averaged: slower than springs, faster than hills."""


@dataclass(frozen=True)
class CameraPose:
    """Where the camera stands over flat ground: metres and radians in the vehicle frame.

    Positive pitch looks down (about +y), positive roll tilts the right side down (about +x),
    positive yaw turns left (about +z); vehicle_from_camera = Rz(yaw) Ry(pitch) Rx(roll).

    Raises CameraError unless the height is positive and all values are finite and plausible.
    """

    height: float
    pitch: float = 0.0
    roll: float = 0.0
    yaw: float = 0.0
    x: float = 0.0
    y: float = 0.0

    def __post_init__(self) -> None:
        for name in ('height', 'pitch', 'roll', 'yaw', 'x', 'y'):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise CameraError(f'camera pose {name}={value} is not a finite number')
            if abs(value) > _MAX_EXTENT:
                raise CameraError(
                    f'camera pose {name}={value:g} is beyond {_MAX_EXTENT:g}: give metres, radians'
                )
        if self.height < _MIN_HEIGHT:
            raise CameraError(
                f'camera height {self.height} m is not above the ground: '
                'give the height of the lens in metres'
            )

    def rotation(self) -> np.ndarray:
        """Rotation vehicle_from_optical, (3, 3) float64: ``ray_vehicle = R @ ray_optical``."""
        return self._rotation.copy()

    def turned(self, body: np.ndarray) -> CameraPose:
        """The pose after the vehicle's body turned by a rotation (3, 3) in the vehicle frame.

        The position stays the same.
        """
        pitch, yaw, roll = mount_angles(body @ self._rotation)
        return CameraPose(self.height, pitch, roll, yaw, self.x, self.y)

    @cached_property
    def quarter_turns(self) -> int:
        """Counterclockwise quarter turns, 0..3, that put the near ground at the image's bottom.

        1 and 3 for a camera on its side, 2 for one mounted upside down. In a view straight down
        the side towards the vehicle's origin counts as near.
        """
        up = (0.0, 0.0, 1.0)
        if max(abs(self._rotation[2, 0]), abs(self._rotation[2, 1])) < _SURELY_DOWN:
            at_origin = max(abs(self.x), abs(self.y)) < _SAME_PLACE
            up = (1.0, 0.0, 0.0) if at_origin else (self.x, self.y, 0.0)
        right, down, _ = (float(part) for part in up @ self._rotation)
        # How far up the image's bottom points after 0 to 3 turns.
        bottoms = [round(value, _DECIMALS) for value in (down, -right, -down, right)]
        return bottoms.index(min(bottoms))

    @cached_property
    def _rotation(self) -> np.ndarray:
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        rot_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        rot_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        rot_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        rotation: np.ndarray = rot_z @ rot_y @ rot_x @ _BODY_FROM_OPTICAL
        return rotation

    @property
    def position(self) -> np.ndarray:
        """The camera's centre in the vehicle frame, (3,) float64."""
        return np.array([self.x, self.y, self.height])


@dataclass(frozen=True)
class Camera:
    """What is known of one camera: its calibration, and its pose in the vehicle frame.

    why_not: why a recording's calibration or mount is not used; '' if it is.
    """

    calibration: Optional[Calibration] = None
    pose: Optional[CameraPose] = None
    vehicle_frame: str = 'base_link'
    why_not: str = ''

    @property
    def lacks(self) -> Tuple[str, ...]:
        """What is missing for distances in metres: 'calibration', 'mount', both or nothing."""
        known = {'calibration': self.calibration, 'mount': self.pose}
        return tuple(name for name, value in known.items() if value is None)

    def fault(self, height: int, width: int) -> str:
        """Why images of this size give no distances in metres; '' if they do."""
        if self.calibration is None or self.pose is None:
            lacks = f'no {" and no ".join(self.lacks)} of the camera is known'
            return f'{lacks}: {self.why_not}' if self.why_not else lacks
        try:
            check_image_size(self.calibration, height, width)
        except CameraError as error:
            return str(error)
        return ''


def pose_from_transform(
    translation: Sequence[float], quaternion: Sequence[float], frame: str = ''
) -> CameraPose:
    """Camera pose from the transform of its optical frame in the vehicle's base frame.

    translation: x, y, z in metres; quaternion: x, y, z, w (as geometry_msgs/Transform). The base
    frame stands on the ground with x forward, y left, z up (REP-103); z is the camera's height.
    frame: name of the optical frame, for messages.

    Raises CalibrationError for an invalid transform, for a camera that is not above the ground,
    and for a frame that points as if it were the camera's body frame, not its optical one.
    """
    x, y, height = (float(value) for value in translation)
    pitch, yaw, roll = mount_angles(matrix_of(quaternion))
    try:
        pose = CameraPose(height, pitch, roll, yaw, x, y)
    except CameraError as error:
        raise CalibrationError(f'transform of the camera: {error}') from error
    _check_optical(pose, frame)
    return pose


def mount_angles(vehicle_from_optical: np.ndarray) -> Tuple[float, float, float]:
    """Pitch, yaw and roll, rad, of CameraPose from its rotation (3, 3)."""
    rotation = vehicle_from_optical @ _BODY_FROM_OPTICAL.T
    return (
        math.asin(max(-1.0, min(1.0, -rotation[2, 0]))),
        math.atan2(rotation[1, 0], rotation[0, 0]),
        math.atan2(rotation[2, 1], rotation[2, 2]),
    )


def footprint_of(vehicle_frame: str) -> str:
    """Name of the frame on the ground (REP-120) that belongs to a vehicle's base frame.

    'base_footprint', with the vehicle's prefix; '' if the frame itself is the footprint.
    """
    prefix, _, name = vehicle_frame.rpartition('/')
    if 'footprint' in name:
        return ''
    own = name.replace('base_link', 'base_footprint') if 'base_link' in name else 'base_footprint'
    return f'{prefix}/{own}' if prefix else own


def footprint_note(vehicle_frame: str, footprint: str, height: float) -> str:
    """What is wrong with a vehicle frame `height` m above the ground; '' if it is on the ground.

    Distances have the same relative error as the camera's height, measured from that frame.
    """
    if not abs(height) > _LEVEL:
        return ''
    side, error = ('above', 'missing from') if height > 0 else ('below', 'too much in')
    return (
        f'{vehicle_frame} is {abs(height):.2f} m {side} {footprint}, the ground: that is {error} '
        f'the height of the camera, and all distances are wrong by the same share; take '
        f'{footprint} as the vehicle frame'
    )


def turned_note(pose: CameraPose) -> str:
    """What a user must know about a camera that is not mounted upright; '' if it is."""
    if pose.quarter_turns == 0:
        return ''
    way = 'upside down' if pose.quarter_turns == 2 else 'on its side'
    return (
        f'the camera is mounted {way} (roll {math.degrees(pose.roll):.0f} degrees): distances are '
        'right for that, but networks know streets the right way up; let the driver turn its '
        'images, and the transform or mount with them'
    )


def _check_optical(pose: CameraPose, frame: str) -> None:
    """Raise CalibrationError for what is probably a camera's body frame (x forward).

    Mistaken for an optical frame (z forward), the body frame of an upright camera looks up, that
    of one mounted upside down looks down.
    """
    elevation = -math.degrees(pose.pitch)
    on_its_side = pose.quarter_turns % 2 == 1
    up = _BODY_UP_ON_ITS_SIDE if on_its_side else _BODY_UP
    down = _BODY_DOWN_ON_ITS_SIDE if on_its_side else _BODY_DOWN
    if down <= elevation <= up:
        return
    where = f'{abs(elevation):.0f} degrees {"up" if elevation > 0 else "down"}'
    raise CalibrationError(
        f'the frame {frame or "of the camera"} looks {where} along its z axis, as the body frame '
        'of a camera (x forward) does when it is taken for the optical one (z forward, x right, y '
        "down): give the images the frame_id of the optical frame, usually called '..._optical_"
        "frame'; a camera that does look there needs its mount as parameters"
    )


def matrix_of(quaternion: Sequence[float]) -> np.ndarray:
    """Rotation matrix (3, 3) of a quaternion x, y, z, w of about unit length."""
    x, y, z, w = (float(value) for value in quaternion)
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not abs(norm - 1) < 0.01:
        raise CalibrationError(
            f'transform of the camera has the quaternion {(x, y, z, w)}, whose '
            f'length is {norm:.3g} and not 1'
        )
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class Tilt(NamedTuple):
    """Pitch and roll of a body, rad, as in CameraPose."""

    pitch: float
    roll: float


class _Reading(NamedTuple):
    seconds: float
    tilt: np.ndarray  # (2,) pitch, roll
    usual: np.ndarray  # (2,) their running mean


class BodySwing:
    """Buffers orientations of an IMU, and interpolates the body's swing at a frame's stamp.

    The swing is the tilt minus its running mean, so a slope or an IMU mounted slightly askew does
    not matter. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._readings: Deque[_Reading] = deque()
        self._since = 0.0

    def add(
        self,
        seconds: float,
        quaternion: Sequence[float],
        vehicle_from_imu: Optional[np.ndarray] = None,
    ) -> None:
        """Take an orientation of the IMU in the world.

        quaternion: x, y, z, w, as in sensor_msgs/Imu. vehicle_from_imu: (3, 3) rotation; None for
        an IMU with the vehicle's axes. Raises CameraError for an invalid quaternion, or one by
        which the vehicle is not upright.
        """
        up = matrix_of(quaternion)[2]
        if vehicle_from_imu is not None:
            up = vehicle_from_imu @ up
        if not up[2] > _UPRIGHT:
            raise CameraError(
                f'by the imu the vehicle is tilted by {math.degrees(math.acos(up[2])):.0f} '
                'degrees: its frame needs x forward, y left, z up, or a transform to the vehicle'
            )
        tilt = np.array([math.asin(-up[0]), math.atan2(up[1], up[2])])
        with self._lock:
            last = self._readings[-1] if self._readings else None
            if last is None or not 0 <= seconds - last.seconds < 1.0:  # time jumped
                self._readings.clear()
                self._since, last = seconds, _Reading(seconds, tilt, tilt)
            step = seconds - last.seconds
            # At first the plain mean, after USUAL seconds an exponential moving average.
            share = step / min(USUAL, seconds - self._since) if step else 0.0
            usual = last.usual + share * (tilt - last.usual)
            self._readings.append(_Reading(seconds, tilt, usual))
            while seconds - self._readings[0].seconds > _KEPT:
                self._readings.popleft()

    def at(self, seconds: float) -> Tilt:
        """The swing at a stamp; raises CalibrationError without readings around it."""
        with self._lock:
            known = tuple(self._readings)
        after = next((one for one in known if one.seconds >= seconds), None)
        before = next((one for one in reversed(known) if one.seconds <= seconds), None)
        if before is not None and after is None and seconds - before.seconds <= _AHEAD:
            after = before
        if before is None or after is None or after.seconds - before.seconds > _GAP:
            raise CalibrationError(
                'no imu orientations around the stamp of the image; publish sensor_msgs/Imu at '
                '50 Hz or more by the same clock, or set drivable.use_imu to false'
            )
        length = after.seconds - before.seconds
        share = (seconds - before.seconds) / length if length else 0.0
        swing = (1 - share) * (before.tilt - before.usual) + share * (after.tilt - after.usual)
        return Tilt(float(swing[0]), float(swing[1]))


def swung(pose: CameraPose, swing: Tilt) -> CameraPose:
    """The pose of a camera whose vehicle swings about the ground point below the camera."""
    body = CameraPose(1.0, swing.pitch, swing.roll).rotation() @ CameraPose(1.0).rotation().T
    return pose.turned(body)
