# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Odometry: where the vehicle stood at a frame's stamp, on the plane, and whether it can be."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

_NANOSECONDS = 1_000_000_000
_KEPT_NS = 30 * _NANOSECONDS
_MOST_KEPT = 20_000
_SPEED, _TURN_RATE = 60.0, 6.0  # m/s, rad/s: nothing on the ground is faster
_ACCELERATION, _TURN_ACCELERATION = 15.0, 20.0  # m/s^2, rad/s^2
_NOISE, _TURN_NOISE = 0.3, 0.1  # m, rad: what odometry may be off from one frame to the next
_BASELINE_NS = _NANOSECONDS // 20  # a speed over less than this is noise


class PlanarPose(NamedTuple):
    """Where a frame stands in another on the plane: x, y in m; yaw in rad, positive left."""

    x: float
    y: float
    yaw: float

    @classmethod
    def of_quaternion(
        cls, translation: Sequence[float], quaternion: Sequence[float]
    ) -> Optional[PlanarPose]:
        """Of x, y(, z) m and a quaternion x, y, z, w; None for what is no pose."""
        x, y, z, w = quaternion
        length = math.sqrt(x * x + y * y + z * z + w * w)
        values = (*translation, length)
        if not all(map(math.isfinite, values)) or abs(length - 1) > 0.01:
            return None
        yaw = math.atan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)
        return cls(translation[0], translation[1], yaw)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the frame in the one that it stands in, m."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        moved: np.ndarray = points @ np.array([[c, s], [-s, c]]) + (self.x, self.y)
        return moved

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the frame that it stands in as seen from this one, m."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        moved: np.ndarray = (points - (self.x, self.y)) @ np.array([[c, -s], [s, c]])
        return moved

    def toward(self, other: PlanarPose, share: float) -> PlanarPose:
        """Pose on the way to another, the shorter turn; share below 0 or above 1 goes on."""
        return PlanarPose(
            self.x + (other.x - self.x) * share,
            self.y + (other.y - self.y) * share,
            self.yaw + turn_between(self.yaw, other.yaw) * share,
        )


def turn_between(start: float, end: float) -> float:
    """The shorter turn from one angle to another, rad, -pi to pi."""
    return (end - start + math.pi) % (2 * math.pi) - math.pi


class StampedPose(NamedTuple):
    """A pose and its time."""

    stamp_ns: int
    pose: PlanarPose


class PoseTrack:
    """The poses of the last half minute, between which others are found.

    gap: longest time between two poses that others are found between, s.
    """

    def __init__(self, gap: float = 0.5) -> None:
        self._gap_ns = int(gap * _NANOSECONDS)
        self._poses: List[StampedPose] = []

    def add(self, stamp_ns: int, pose: PlanarPose) -> None:
        """Add a pose, also one that comes late; starts anew where time jumps back."""
        poses = self._poses
        if poses and poses[-1].stamp_ns - stamp_ns > _NANOSECONDS:
            poses.clear()
        if poses and stamp_ns <= poses[-1].stamp_ns:
            self._insert(StampedPose(stamp_ns, pose))
            return
        poses.append(StampedPose(stamp_ns, pose))
        if stamp_ns - poses[0].stamp_ns > 2 * _KEPT_NS or len(poses) > _MOST_KEPT:
            keep = bisect_left(poses, (stamp_ns - _KEPT_NS,))
            del poses[: max(keep, len(poses) - _MOST_KEPT // 2)]

    def at(self, stamp_ns: int) -> Optional[PlanarPose]:
        """The pose at a stamp; None where there is none before, or none after it yet."""
        place = bisect_left(self._poses, (stamp_ns,))
        if place == len(self._poses):
            return None
        after = self._poses[place]
        if after.stamp_ns == stamp_ns:
            return after.pose
        if place == 0:
            return None
        before = self._poses[place - 1]
        span = after.stamp_ns - before.stamp_ns
        if span > self._gap_ns:
            return None
        return before.pose.toward(after.pose, (stamp_ns - before.stamp_ns) / span)

    def awaits(self, stamp_ns: int) -> bool:
        """Whether a pose for this stamp may still come: all are older."""
        return not self._poses or self._poses[-1].stamp_ns < stamp_ns

    def _insert(self, entry: StampedPose) -> None:
        place = bisect_left(self._poses, (entry.stamp_ns,))
        if self._poses[place].stamp_ns != entry.stamp_ns:
            insort(self._poses, entry)


class JumpDetector:
    """Tells poses that no vehicle can have driven to from the last ones."""

    def __init__(self) -> None:
        self._past: List[StampedPose] = []

    def jumped(self, stamp_ns: int, pose: PlanarPose) -> bool:
        """Take a pose, and tell whether it does not follow from those before.

        Poses that are older than the last are not looked at.
        """
        entry, past = StampedPose(stamp_ns, pose), self._past
        if past and stamp_ns < past[-1].stamp_ns:
            return False
        jumped = bool(past) and not self._follows(entry)
        if jumped:
            past.clear()
        if not past or stamp_ns - past[-1].stamp_ns >= _BASELINE_NS:
            past.append(entry)
            del past[:-2]
        return jumped

    def _follows(self, entry: StampedPose) -> bool:
        last = self._past[-1]
        seconds = (entry.stamp_ns - last.stamp_ns) / _NANOSECONDS
        expected, slack, turn_slack = last.pose, _SPEED * seconds, _TURN_RATE * seconds
        if len(self._past) > 1:
            before = self._past[0]
            share = (entry.stamp_ns - before.stamp_ns) / (last.stamp_ns - before.stamp_ns)
            expected = before.pose.toward(last.pose, share)
            # A speed is known to the acceleration since it was measured.
            since = (entry.stamp_ns - before.stamp_ns) / _NANOSECONDS
            slack = min(slack, 0.5 * _ACCELERATION * since**2)
            turn_slack = min(turn_slack, 0.5 * _TURN_ACCELERATION * since**2)
        away = math.hypot(entry.pose.x - expected.x, entry.pose.y - expected.y)
        turned = abs(turn_between(expected.yaw, entry.pose.yaw))
        return away <= slack + _NOISE and turned <= turn_slack + _TURN_NOISE


def pose_of_odometry(message: Any) -> Optional[PlanarPose]:
    """Pose of a nav_msgs/Odometry; None for one that is none."""
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    return PlanarPose.of_quaternion((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def odometry_fields(place: PlanarPose, vehicle_frame: str) -> Dict[str, Any]:
    """Fields of nav_msgs/Odometry, its header being in the odometry frame; no speed is given."""
    zero = {'x': 0.0, 'y': 0.0, 'z': 0.0}
    half = place.yaw / 2
    orientation = {'x': 0.0, 'y': 0.0, 'z': math.sin(half), 'w': math.cos(half)}
    position = {'x': float(place.x), 'y': float(place.y), 'z': 0.0}
    unknown = np.zeros(36)
    return {
        'child_frame_id': vehicle_frame,
        'pose': {
            'pose': {'position': position, 'orientation': orientation},
            'covariance': unknown,
        },
        'twist': {'twist': {'linear': zero, 'angular': zero}, 'covariance': unknown},
    }
