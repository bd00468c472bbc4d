# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Publishes one camera's drivable area, and declares it invalid as soon as it is stale."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from time import perf_counter
from typing import Dict, Optional, Tuple

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.clock import Clock
from rclpy.lifecycle import Node
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.camera import MountCheck
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    GridConfig,
    GridNumbers,
    ScanNumbers,
    age_fault,
    area_fields,
    grid_fields,
    scan_fields,
)
from segformer_ros.drivable.grid import UNKNOWN
from segformer_ros.engines.placement import cell_rows
from segformer_ros.errors import one_line
from segformer_ros.frame import Segmentation, Stamp
from segformer_ros.model import ModelSpec
from segformer_ros.msg import DrivableArea as DrivableAreaMessage
from segformer_ros.node.drivable_settings import DrivableSettings, MountSettings, drivable_config
from segformer_ros.node.messages import fill
from segformer_ros.node.segmentation.camera_geometry import (
    PARAMETERS,
    TF,
    CameraGeometry,
    Geometry,
)
from segformer_ros.node.segmentation.frame_task import FrameTask
from segformer_ros.node.segmentation.parameters import NodeParameters
from segformer_ros.node.segmentation.statistics import CameraStatistics
from segformer_ros.node.segmentation.watchdog import Now, Watchdog

_LAST_MOMENT = 0.03
"""Seconds before drivable.max_age at which waiting for a transform ends."""

_SOURCES = {TF: 'TF', PARAMETERS: 'the mount parameters', '': 'not known'}


class DrivableOutput:
    """The topics drivable_area, drivable_area/grid and drivable_area/scan of one camera.

    One thread at a time calls `locate`, `estimate` and `publish`, the executor everything else.
    """

    def __init__(
        self,
        node: Node,
        camera: str,
        spec: ModelSpec,
        parameters: NodeParameters,
        geometry: CameraGeometry,
        statistics: CameraStatistics,
    ) -> None:
        self._clock: Clock = node.get_clock()
        self._spec = spec
        self._parameters = parameters
        self._geometry = geometry
        self._statistics = statistics
        prefix = f'{camera}/' if camera else ''
        self._area = node.create_lifecycle_publisher(
            DrivableAreaMessage, f'{prefix}{topics.AREA}', 5
        )
        self._grid = node.create_lifecycle_publisher(OccupancyGrid, f'{prefix}{topics.GRID}', 5)
        self._scan = node.create_lifecycle_publisher(LaserScan, f'{prefix}{topics.SCAN}', 5)
        self.publishers = (self._area, self._grid, self._scan)
        self._watchdog = Watchdog()
        self._publishing = Lock()
        settings, mount = parameters.settings.drivable, parameters.mounts[camera]
        self._configure(settings, mount)
        self.mount_check = MountCheck(spec.class_map)
        self._segmented: Optional[Header] = None
        self._closed = False
        self.newest: Optional[Header] = None
        """Header of the camera's last image, segmented or not."""
        self.uncalibrated = ''
        """Why the last frame's area is not in metres; empty if it is."""
        self._located = Geometry(None, None, '')

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to one of the topics."""
        return any(publisher.get_subscription_count() for publisher in self.publishers)

    @property
    def pose_source(self) -> str:
        """Where the last frame's pose came from, in words."""
        located = self._located
        without_tf = f': {one_line(located.without_tf)}' if located.without_tf else ''
        return f'{_SOURCES[located.source]}{without_tf}'

    @property
    def lost_tf(self) -> str:
        """Why the last frame's pose does not come from TF although earlier ones did; or ''."""
        return one_line(self._located.without_tf) if self._geometry.had_tf else ''

    def open(self) -> None:
        """Start publishing."""
        self._closed = False

    def close(self, reason: str) -> None:
        """Publish the last area as not valid, and nothing more, not even of frames in flight."""
        with self._publishing:
            self._closed = True
            self._retract(reason)

    def locate(self, task: FrameTask, waited: float) -> Optional[Geometry]:
        """The camera's geometry at a segmented frame's stamp; None while TF may still tell it.

        waited: seconds since the first request for this frame.
        """
        settings, frame = task.settings.drivable, task.frame
        age = Now.of(self._clock).age(frame.stamp.ns)
        patient = waited < settings.tf_timeout and age < settings.max_age - _LAST_MOMENT
        return self._geometry.at(frame, task.camera_info, settings, task.mount, patient)

    def estimate(
        self, task: FrameTask, result: Segmentation, geometry: Geometry, costs: Dict[str, float]
    ) -> DrivableArea:
        """Compute the drivable area of a segmented frame, in metres if the geometry is known.

        costs: takes the seconds of each output.
        """
        start = perf_counter()
        settings, frame = task.settings.drivable, task.frame
        if (settings, task.mount) != self._configuration:
            self._configure(settings, task.mount)
        size, rows = (frame.height, frame.width), result.labels.shape[0]
        area = self._estimator.update(
            result.labels,
            result.confidence,
            geometry.calibration,
            geometry.pose,
            frame.stamp,
            cell_rows(self._spec, task.settings.inference, size, rows),
            result.blocked,
        )
        area = replace(area, pose_source=geometry.source)
        if geometry.reason:
            area = replace(area, reason=one_line(geometry.reason))
        self.uncalibrated = area.reason
        self._located = geometry
        costs['drivable_area, estimating'] = perf_counter() - start
        if settings.check_mount:
            known = geometry.calibration, geometry.pose
            self.mount_check.offer(frame, result.labels, *known, settings.pitch_sigma, task.mount)
        return area

    def points(self, area: DrivableArea, result: Segmentation) -> Optional[np.ndarray]:
        """Ground point of each pixel of the mask: (H, W, 3) float32; None if not calibrated."""
        return self._estimator.points(area, result.labels)

    def publish(self, task: FrameTask, area: DrivableArea, costs: Dict[str, float]) -> None:
        """Publish a drivable area with its image's header; as not valid if it is too old."""
        settings = task.settings.drivable
        with self._publishing:
            if self._closed:
                return
            now = Now.of(self._clock)
            fault = age_fault(now.age(area.stamp.ns), settings.max_age)
            if fault:
                # Add why it is not calibrated: waiting for that may have made it too old.
                area = DrivableArea.invalid(
                    area.stamp, '; '.join(filter(None, (fault, area.reason)))
                )
            self._segmented = task.header
            self._statistics.area_published(now.steady, fault)
            self._send(area, settings, task.header, now, costs)
            self._watchdog.summary_published(now, area.stamp.ns, area.valid)

    def watch(self, outage: str) -> bool:
        """Publish `valid = false` if the last valid area no longer holds.

        outage: why nothing is segmented at all, as far as the node knows; or empty. Returns
        whether anybody subscribes to the area.
        """
        if not self.wanted:
            self._watchdog.rest()
            return False
        now, max_age = Now.of(self._clock), self._parameters.settings.drivable.max_age
        self._watchdog.arrival = self._statistics.last_arrival
        fault = self._watchdog.due(now, max_age, outage)
        if fault:
            self.retract(fault)
            if not outage and not self._watchdog.silence(now) > max_age:
                self._statistics.area_published(now.steady, fault)
        return True

    def destroy(self) -> None:
        """End the mount check's thread."""
        self.mount_check.close()

    def retract(self, reason: str) -> None:
        """Publish `valid = false` in place of the last area."""
        with self._publishing:
            self._retract(reason)

    def _retract(self, reason: str) -> None:
        header = self._segmented or self.newest or Header()
        area = DrivableArea.invalid(Stamp(header.stamp.sec, header.stamp.nanosec), reason)
        self._send(area, self._parameters.settings.drivable, header, Now.of(self._clock), {})

    def _send(
        self,
        area: DrivableArea,
        settings: DrivableSettings,
        header: Header,
        now: Now,
        costs: Dict[str, float],
    ) -> None:
        start = perf_counter()
        if self._area.get_subscription_count():
            age = now.age(area.stamp.ns)
            self._area.publish(area_message(header, area, age, settings.vehicle_frame))
            costs['drivable_area'] = perf_counter() - start
        ground_header = Header(stamp=header.stamp, frame_id=settings.vehicle_frame)
        estimator, config = self._estimator, self._estimator.config
        start = perf_counter()
        if self._grid.get_subscription_count():
            grid = estimator.grid(area) or blank_grid(config.grid)
            self._grid.publish(grid_message(ground_header, grid))
            costs['drivable_area/grid'] = perf_counter() - start
        start = perf_counter()
        scan = estimator.scan(area) if self._scan.get_subscription_count() else None
        # No scan rather than one without any range: Nav2's collision monitor stops when scans stop
        # coming, but takes a scan without ranges for a free road (doc/drivable_area.md).
        if scan is not None and not np.isnan(scan.ranges).all():
            self._scan.publish(scan_message(ground_header, scan))
            costs['drivable_area/scan'] = perf_counter() - start

    def _configure(self, settings: DrivableSettings, mount: MountSettings) -> None:
        """Apply changed parameters."""
        self._configuration = (settings, mount)
        self._estimator = DrivableAreaEstimator(
            drivable_config(settings, mount), self._spec.class_map
        )
        self.free: Tuple[int, ...] = self._estimator.wanted_drivable
        """Train ids for which the engine may find the blocked rows; empty: it must not."""


def area_message(
    header: Header, area: DrivableArea, age: float, vehicle_frame: str
) -> DrivableAreaMessage:
    """Message of one summary; `age` in seconds."""
    message = DrivableAreaMessage(header=header)
    fill(message, area_fields(area, age, vehicle_frame))
    return message


def grid_message(header: Header, numbers: GridNumbers) -> OccupancyGrid:
    """Message of a grid; the header is in the vehicle frame."""
    message = OccupancyGrid(header=header)
    fill(message, grid_fields(numbers, Stamp(header.stamp.sec, header.stamp.nanosec)))
    return message


def scan_message(header: Header, numbers: ScanNumbers) -> LaserScan:
    """Message of a scan; the header is in the vehicle frame."""
    message = LaserScan(header=header)
    fill(message, scan_fields(numbers))
    return message


def blank_grid(config: GridConfig) -> GridNumbers:
    """Grid in which nothing is known; replaces a free one that no longer holds."""
    cells = np.full((config.height, config.width), UNKNOWN, np.int8)
    return GridNumbers(config.resolution, config.x_min, config.y_min, cells)
