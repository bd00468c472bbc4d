# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Publishes the ground map of all cameras, and an unknown map as soon as it is stale."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any, Deque, Dict, NamedTuple, Optional, Tuple

import numpy as np
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableArea,
    GridNumbers,
    GroundMap,
    GroundObservation,
    GroundObserver,
    PlanarPose,
    PoseTrack,
    age_fault,
    pose_of_odometry,
)
from segformer_ros.drivable.grid import UNKNOWN
from segformer_ros.frame import Segmentation, Stamp
from segformer_ros.node.drivable_settings import (
    DrivableSettings,
    MountSettings,
    drivable_config,
    map_config,
)
from segformer_ros.node.messages import guarded
from segformer_ros.node.segmentation.drivable_output import grid_message
from segformer_ros.node.segmentation.frame_task import FrameTask
from segformer_ros.node.segmentation.parameters import NodeParameters
from segformer_ros.node.segmentation.transforms import TransformSource
from segformer_ros.node.segmentation.watchdog import Now

_QUEUE = 5
_MOST_WAITING = 64  # frames of all cameras that wait for the vehicle's pose
_THROTTLE = 5.0  # seconds between two lines of the log


class _Waiting(NamedTuple):
    """A frame's observation that waits for the vehicle's pose at its stamp."""

    camera: str
    stamp_ns: int
    seen: GroundObservation


class _Observer(NamedTuple):
    """A camera's observer, and the settings that it was made with."""

    settings: Tuple[DrivableSettings, MountSettings]
    observer: GroundObserver


class MapOutput:
    """The topic drivable_area/map.

    One thread for each camera calls `add`, the executor everything else. transforms: None without
    TF. Where TF has no pose of the vehicle, it comes from nav_msgs/Odometry on `odom`.
    """

    def __init__(
        self,
        node: Node,
        class_map: ClassMap,
        parameters: NodeParameters,
        transforms: Optional[TransformSource],
    ) -> None:
        self._node = node
        self._clock = node.get_clock()
        self._class_map = class_map
        self._parameters = parameters
        self._transforms = transforms
        self.publisher = node.create_lifecycle_publisher(OccupancyGrid, topics.MAP, _QUEUE)
        """Publisher of the map."""
        self._odometry: Any = None
        self._lock = Lock()
        self._observers: Dict[str, _Observer] = {}
        self._waiting: Deque[_Waiting] = deque(maxlen=_MOST_WAITING)
        self._taken: Dict[str, float] = {}
        """Monotonic time of each camera's last frame in the map."""
        self._closed = True
        self._reset()

    def open(self) -> None:
        """Start with an empty map."""
        with self._lock:
            self._reset()
            self._closed = False

    def close(self) -> None:
        """Publish an unknown map, and stop taking frames."""
        with self._lock:
            self._closed = True
            self._retract()
            self._listen(False)

    def destroy(self) -> None:
        """Destroy what the node created for the map."""
        self._listen(False)
        self._node.destroy_lifecycle_publisher(self.publisher)

    def add(self, task: FrameTask, result: Segmentation, area: DrivableArea) -> None:
        """Add a segmented frame, as soon as the vehicle's pose at its stamp is known."""
        settings, stamp_ns = task.settings.drivable, task.frame.stamp.ns
        fault = age_fault(Now.of(self._clock).age(stamp_ns), settings.max_age)
        if area.view is None or fault:
            return
        view = area.view
        observer = self._observer(task.camera, settings, task.mount)
        seen = observer.observe(result.labels, result.confidence, view.ground, view.cell)
        with self._lock:
            if not self._closed:
                self._waiting.append(_Waiting(task.camera, stamp_ns, seen))
                self._add_waiting()

    def watch(self) -> bool:
        """Add frames that wait, and make unknown what silent cameras have seen free.

        Returns whether anybody subscribes to the map.
        """
        wanted = self._wanted()
        with self._lock:
            if self._closed:
                return False
            self._listen(wanted)
            if not wanted:
                if self._taken or self._waiting:
                    self._reset()
                return False
            self._add_waiting()
            now, max_age = Now.of(self._clock).steady, self._settings.max_age
            silent = [name for name, last in self._taken.items() if now - last > max_age]
            for camera in silent:
                del self._taken[camera]
                self._map.forget(camera)
            if silent and self._taken:
                self._publish()
            elif silent:
                self._retract()
            return True

    # --- Called with the lock held ------------------------------------------------------------

    def _reset(self) -> None:
        """Start an empty map with the current parameters."""
        self._settings = self._parameters.settings.drivable
        self._map = GroundMap(map_config(self._settings), self._class_map)
        self._track = PoseTrack()
        self._waiting.clear()
        self._taken.clear()

    def _add_waiting(self) -> None:
        """Add the frames whose pose is known to the map; drop those that are too old."""
        if self._settings != self._parameters.settings.drivable:
            waiting = list(self._waiting)
            track = self._track
            if self._taken:
                self._retract()
            self._reset()
            self._track = track
            self._waiting.extend(waiting)
        now, left, changed = Now.of(self._clock), [], False
        for frame in self._waiting:
            pose = self._pose(frame.stamp_ns)
            if pose is not None:
                self._map.add(frame.camera, frame.stamp_ns, pose, frame.seen)
                self._taken[frame.camera] = now.steady
                changed = True
            elif age_fault(now.age(frame.stamp_ns), self._settings.max_age):
                self._warn_of_no_pose()
            else:
                left.append(frame)
        self._waiting = deque(left, maxlen=_MOST_WAITING)
        if changed:
            self._publish()

    def _pose(self, stamp_ns: int) -> Optional[PlanarPose]:
        """Pose of the vehicle in the map's frame at a stamp; None while it is unknown."""
        source, settings = self._transforms, self._settings
        if source is not None and stamp_ns >= 0:  # rclpy has no negative times
            time = Time(nanoseconds=stamp_ns)
            try:
                found = source.buffer.lookup_transform(
                    settings.map.frame, settings.vehicle_frame, time
                ).transform
            except source.errors:
                pass
            else:
                offset, turn = found.translation, found.rotation
                return PlanarPose.of_quaternion(
                    (offset.x, offset.y, offset.z), (turn.x, turn.y, turn.z, turn.w)
                )
        return self._track.at(stamp_ns)

    def _publish(self) -> None:
        numbers = self._map.numbers()
        if numbers is not None and self._wanted():
            self._send(numbers)

    def _retract(self) -> None:
        """Publish a map in which nothing is known; replaces one that no longer holds."""
        numbers = self._map.numbers()
        if numbers is not None and self._wanted():
            self._send(numbers._replace(cells=np.full_like(numbers.cells, UNKNOWN)))

    def _send(self, numbers: GridNumbers) -> None:
        stamp = Stamp(*divmod(self._map.stamp_ns, 1_000_000_000))
        header = Header(frame_id=self._settings.map.frame)
        header.stamp.sec, header.stamp.nanosec = stamp
        self.publisher.publish(grid_message(header, numbers))

    # --- Odometry -----------------------------------------------------------------------------

    def _wanted(self) -> bool:
        return bool(self.publisher.get_subscription_count() > 0)

    def _listen(self, wanted: bool) -> None:
        """Subscribe to odometry while the map is wanted."""
        if wanted and self._odometry is None:
            self._odometry = self._node.create_subscription(
                Odometry,
                topics.ODOMETRY,
                guarded(self._node, topics.ODOMETRY, self._on_odometry),
                qos_profile_sensor_data,
            )
        elif not wanted and self._odometry is not None:
            self._node.destroy_subscription(self._odometry)
            self._odometry = None

    def _on_odometry(self, message: Odometry) -> None:
        settings = self._parameters.settings.drivable
        frames = (message.header.frame_id, message.child_frame_id)
        expected = (settings.map.frame, settings.vehicle_frame)
        if any(name and name.lstrip('/') != other for name, other in zip(frames, expected)):
            self._warn(
                f'odometry of {frames[1]} in {frames[0]} is not used for the map: it must be of '
                f'drivable.vehicle_frame ({expected[1]}) in drivable.map.frame ({expected[0]})'
            )
            return
        pose, stamp = pose_of_odometry(message), message.header.stamp
        if pose is None:
            self._warn('odometry without a finite position and a unit quaternion is left out')
            return
        with self._lock:
            self._track.add(stamp.sec * 1_000_000_000 + stamp.nanosec, pose)
            if not self._closed and self._waiting:
                self._add_waiting()

    def _warn_of_no_pose(self) -> None:
        settings = self._settings
        frames = f'{settings.vehicle_frame} in {settings.map.frame}'
        self._warn(
            f'frames are missing from the map: no pose of {frames} came within drivable.max_age '
            'of their stamps; publish it on TF, or a nav_msgs/Odometry on '
            f'{self._node.resolve_topic_name(topics.ODOMETRY)}'
        )

    def _warn(self, line: str) -> None:
        self._node.get_logger().warning(line, throttle_duration_sec=_THROTTLE)

    # --- Called by the worker -----------------------------------------------------------------

    def _observer(
        self, camera: str, settings: DrivableSettings, mount: MountSettings
    ) -> GroundObserver:
        known = self._observers.get(camera)
        if known is None or known.settings != (settings, mount):
            config = map_config(settings)
            boundary = drivable_config(settings, mount).boundary
            observer = GroundObserver(boundary, self._class_map, config)
            known = self._observers[camera] = _Observer((settings, mount), observer)
        return known.observer
