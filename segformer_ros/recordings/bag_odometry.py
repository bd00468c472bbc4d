# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Odometry of a bag: where the vehicle stood at each frame's stamp, and how fast it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.drivable import PlanarPose, PoseTrack, pose_of_odometry
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import Topic, deserialize
from segformer_ros.recordings.bag_transforms import (
    TransformError,
    TransformTopics,
    TransformTree,
    recorded_transforms,
)
from segformer_ros.recordings.source import SourceError
from segformer_ros.topics import ODOMETRY, ODOMETRY_TYPE

SpeedReadings = Tuple[np.ndarray, np.ndarray]
"""Stamps in seconds, rising, and speeds in m/s, negative backwards: (n,) float64 each."""

_FEWEST_READINGS = 3


class OdometryTopics(NamedTuple):
    """Where a bag tells of the vehicle's way.

    odometry: a topic of nav_msgs/Odometry, '' for none. transforms: those to ask without it.
    """

    odometry: str
    transforms: TransformTopics

    @classmethod
    def of(cls, topics: Dict[str, Topic], transforms: TransformTopics) -> OdometryTopics:
        """The topic `/odom`, or the only one of its type; else the transforms."""
        found = [n for n, t in topics.items() if t.msgtype == ODOMETRY_TYPE and t.messages]
        named = [name for name in found if name.rpartition('/')[2] == ODOMETRY]
        chosen = min(named, key=len) if named else (found[0] if len(found) == 1 else '')
        return cls(chosen, transforms)


class BagOdometry:
    """The vehicle's places in an open bag, for stamps that rise; reads on as far as is needed.

    odometry_frame: of transforms. vehicle_frame: whose place is asked for.
    """

    def __init__(
        self,
        bag: BagReader,
        topics: OdometryTopics,
        odometry_frame: str,
        vehicle_frame: str,
    ) -> None:
        self._bag = bag
        self._topics = topics
        self._frames = (odometry_frame, vehicle_frame)
        self._track = PoseTrack()
        self._poses = self._of_odometry() if topics.odometry else self._of_transforms()

    def at(self, stamp_ns: int) -> Optional[PlanarPose]:
        """The place at a stamp; None where the bag does not tell."""
        while self._track.awaits(stamp_ns):
            entry = next(self._poses, None)
            if entry is None:
                break
            self._track.add(*entry)
        return self._track.at(stamp_ns)

    def _of_odometry(self) -> Iterator[Tuple[int, PlanarPose]]:
        for message in self._bag.messages(self._topics.odometry):
            with suppress(SourceError):
                found = deserialize(message.data, ODOMETRY_TYPE)
                pose, child = pose_of_odometry(found), found.child_frame_id.lstrip('/')
                if pose is not None and child in ('', self._frames[1]):
                    yield _stamp(found), pose

    def _of_transforms(self) -> Iterator[Tuple[int, PlanarPose]]:
        tree = TransformTree()
        for transforms in recorded_transforms(self._bag, self._topics.transforms.static):
            for stamped in transforms:
                tree.add(stamped)
        for transforms in recorded_transforms(self._bag, self._topics.transforms.moving):
            for stamped in transforms:
                tree.add(stamped)
                pose = self._look_up(tree)
                # Only a frame that the vehicle's place depends on gives it a new one.
                if pose is not None and tree.carries(self._frames[1], stamped):
                    yield _stamp(stamped), pose

    def _look_up(self, tree: TransformTree) -> Optional[PlanarPose]:
        with suppress(TransformError):
            found = tree.look_up(*self._frames)
            x, y, z, w = found.quaternion.tolist()
            return PlanarPose.of_quaternion(found.translation.tolist(), (x, y, z, w))
        return None


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def recorded_speeds(bag: BagReader, topic: str = '') -> Optional[SpeedReadings]:
    """Speeds by a nav_msgs/Odometry, '' for the only one; None where there is none.

    Where all twists are zero, by the way from one pose to the next. Raises SourceError.
    """
    found = [name for name, one in bag.topics.items() if one.msgtype == ODOMETRY_TYPE]
    if not (topic or found):
        return None
    if (topic and topic not in found) or (not topic and len(found) > 1):
        raise SourceError(
            f'{topic or bag.path} is not one topic of type {ODOMETRY_TYPE}; the bag has '
            f'{", ".join(found) or "none"}: name one of them'
        )
    messages = bag.messages(topic or found[0])
    return _speeds([deserialize(message.data, ODOMETRY_TYPE) for message in messages])


def _speeds(odometry: List[Any]) -> Optional[SpeedReadings]:
    """Speeds by nav_msgs/Odometry messages; None where they do not tell."""
    stamps = np.array([one.header.stamp.sec + one.header.stamp.nanosec * 1e-9 for one in odometry])
    twists = np.array([(one.twist.twist.linear.x, one.twist.twist.linear.y) for one in odometry])
    places = [one.pose.pose.position for one in odometry]
    stamps, order = np.unique(stamps, return_index=True)
    if len(stamps) < _FEWEST_READINGS:
        return None
    x, y = twists[order].T
    speeds = np.copysign(np.hypot(x, y), x)
    if not speeds.any():
        way = np.array([(places[index].x, places[index].y) for index in order])
        speeds = np.linalg.norm(np.gradient(way, stamps, axis=0), axis=1)
    known = np.isfinite(speeds)
    return (stamps[known], speeds[known]) if known.any() else None
