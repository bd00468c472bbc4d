# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Odometry: where the vehicle stood, on the plane, at a frame's stamp; and jumps of odometry."""

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
_NOISE, _TURN_NOISE = 0.3, 0.1  # m, rad: error of odometry from one frame to the next
_BASELINE_NS = _NANOSECONDS // 20  # a speed measured over less than this is noise


class PlanarPose(NamedTuple):
    """Pose of a child frame in its parent on the plane: x, y in m; yaw in rad, positive left."""

    x: float
    y: float
    yaw: float

    @classmethod
    def of_quaternion(
        cls, translation: Sequence[float], quaternion: Sequence[float]
    ) -> Optional[PlanarPose]:
        """Pose of x, y(, z) in m and a quaternion x, y, z, w; None where they are invalid."""
        x, y, z, w = quaternion
        length = math.sqrt(x * x + y * y + z * z + w * w)
        values = (*translation, length)
        if not all(map(math.isfinite, values)) or abs(length - 1) > 0.01:
            return None
        yaw = math.atan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)
        return cls(translation[0], translation[1], yaw)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Transform points (..., 2), m, from the child frame to its parent."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        moved: np.ndarray = points @ np.array([[c, s], [-s, c]]) + (self.x, self.y)
        return moved

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Transform points (..., 2), m, from the parent to the child frame."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        moved: np.ndarray = (points - (self.x, self.y)) @ np.array([[c, -s], [s, c]])
        return moved

    def toward(self, other: PlanarPose, share: float) -> PlanarPose:
        """Interpolated pose, by the shorter turn; a share below 0 or above 1 extrapolates."""
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
    """The poses of the last half minute, interpolated at any stamp between them.

    gap: longest time between two poses to interpolate over, s.
    """

    def __init__(self, gap: float = 0.5) -> None:
        self._gap_ns = int(gap * _NANOSECONDS)
        self._poses: List[StampedPose] = []

    def add(self, stamp_ns: int, pose: PlanarPose) -> None:
        """Add a pose, late or not; one over a second late clears the track (time was reset)."""
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
        """The pose at a stamp; None without a pose before and after it, at most `gap` apart."""
        index = bisect_left(self._poses, (stamp_ns,))
        if index == len(self._poses):
            return None
        after = self._poses[index]
        if after.stamp_ns == stamp_ns:
            return after.pose
        if index == 0:
            return None
        before = self._poses[index - 1]
        span = after.stamp_ns - before.stamp_ns
        if span > self._gap_ns:
            return None
        return before.pose.toward(after.pose, (stamp_ns - before.stamp_ns) / span)

    def awaits(self, stamp_ns: int) -> bool:
        """Whether a pose for this stamp may still come: all are older."""
        return not self._poses or self._poses[-1].stamp_ns < stamp_ns

    def _insert(self, entry: StampedPose) -> None:
        index = bisect_left(self._poses, (entry.stamp_ns,))
        if self._poses[index].stamp_ns != entry.stamp_ns:
            insort(self._poses, entry)


class JumpDetector:
    """Detects poses that no vehicle can have reached from the previous ones."""

    def __init__(self) -> None:
        self._past: List[StampedPose] = []

    def jumped(self, stamp_ns: int, pose: PlanarPose) -> bool:
        """Take the next pose, and tell whether it is a jump; older poses are ignored."""
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
            # The last speed is extrapolated; acceleration since then bounds the error.
            since = (entry.stamp_ns - before.stamp_ns) / _NANOSECONDS
            slack = min(slack, 0.5 * _ACCELERATION * since**2)
            turn_slack = min(turn_slack, 0.5 * _TURN_ACCELERATION * since**2)
        distance = math.hypot(entry.pose.x - expected.x, entry.pose.y - expected.y)
        turned = abs(turn_between(expected.yaw, entry.pose.yaw))
        return distance <= slack + _NOISE and turned <= turn_slack + _TURN_NOISE


def pose_of_odometry(message: Any) -> Optional[PlanarPose]:
    """Pose of a nav_msgs/Odometry; None where it is invalid."""
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    return PlanarPose.of_quaternion((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def odometry_fields(place: PlanarPose, vehicle_frame: str) -> Dict[str, Any]:
    """Fields of nav_msgs/Odometry, whose header is in the odometry frame; speeds are 0."""
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
