"""Swing: how far a vehicle's body is tilted from how it usually hangs, by its IMU."""

from __future__ import annotations

import math
from collections import deque
from threading import Lock
from typing import Deque, NamedTuple, Optional, Sequence

import numpy as np

from segformer_ros.camera.calibration import CalibrationError, CameraError
from segformer_ros.camera.mount import CameraPose, matrix_of

USUAL = 10.0
"""Seconds over which the usual tilt is averaged: slower than springs, faster than hills."""

_KEPT = 3.0  # seconds of orientations
_GAP = 0.1  # seconds that may lie between two of them
_AHEAD = 0.02  # seconds that a frame may be newer than the last one
_UPRIGHT = math.cos(math.radians(45.0))


class Tilt(NamedTuple):
    """Pitch and roll of a body, rad, as in CameraPose."""

    pitch: float
    roll: float


class _Reading(NamedTuple):
    seconds: float
    tilt: np.ndarray  # (2,) pitch, roll
    usual: np.ndarray  # (2,) their running mean


class BodySwing:
    """Keeps the orientations of an IMU, and tells the body's swing at a frame's stamp.

    The swing is the tilt less its running mean, so neither a slope nor an IMU that is mounted a
    little askew counts. Any thread may use it.
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
        an IMU with the vehicle's axes. Raises CameraError for what is no orientation of an
        upright vehicle.
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
            # At first the plain mean, later one that forgets.
            share = step / min(USUAL, seconds - self._since) if step else 0.0
            usual = last.usual + share * (tilt - last.usual)
            self._readings.append(_Reading(seconds, tilt, usual))
            while seconds - self._readings[0].seconds > _KEPT:
                self._readings.popleft()

    def at(self, seconds: float) -> Tilt:
        """The swing at a stamp; raises CalibrationError where the IMU does not tell."""
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
    """The pose of a camera on a body that swings about the camera's foot."""
    body = CameraPose(1.0, swing.pitch, swing.roll).rotation() @ CameraPose(1.0).rotation().T
    return pose.turned(body)
