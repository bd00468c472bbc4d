"""Publishes one camera's drivable area, and takes it back as soon as it no longer holds."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any, Callable, NamedTuple, Optional, Tuple

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.clock import Clock
from rclpy.lifecycle import Node
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    DrivableArea,
    DrivableAreaEstimator,
    age_fault,
)
from segformer_ros.errors import one_line
from segformer_ros.frame import Stamp
from segformer_ros.msg import DrivableArea as DrivableAreaMessage
from segformer_ros.node.camera_geometry import CameraGeometry
from segformer_ros.node.clocks import Now
from segformer_ros.node.drivable_messages import (
    area_message,
    blank_grid,
    grid_message,
    scan_message,
)
from segformer_ros.node.drivable_settings import drivable_config
from segformer_ros.node.parameters import DrivableSettings, MountSettings
from segformer_ros.node.statistics import CameraStatistics
from segformer_ros.node.watchdog import Watchdog
from segformer_ros.segmentation import BlockedRows

Configuration = Tuple[DrivableSettings, MountSettings]


class SegmentedImage(NamedTuple):
    """What the drivable area is made from.

    size: (height, width) of the image; labels and confidence may be smaller. cell: rows of the
    label map that one cell of the network's output spans. blocked: what the engine found of the
    boundary.
    """

    frame_id: str
    stamp: Stamp
    size: Tuple[int, int]
    labels: np.ndarray
    confidence: Optional[np.ndarray]
    cell: float
    blocked: Optional[BlockedRows]


class DrivableOutput:
    """The topics drivable_area, drivable_area/grid and drivable_area/scan of one camera.

    The worker calls `estimate` and `publish`, the executor everything else.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        class_map: ClassMap,
        configuration: Callable[[], Configuration],
        geometry: CameraGeometry,
        statistics: CameraStatistics,
    ) -> None:
        self._clock: Clock = node.get_clock()
        self._class_map = class_map
        self._configuration = configuration
        self._geometry = geometry
        self._statistics = statistics
        self._area = node.create_lifecycle_publisher(
            DrivableAreaMessage, f'{prefix}{topics.AREA}', 5
        )
        self._grid = node.create_lifecycle_publisher(OccupancyGrid, f'{prefix}{topics.GRID}', 5)
        self._scan = node.create_lifecycle_publisher(LaserScan, f'{prefix}{topics.SCAN}', 5)
        self._watchdog = Watchdog()
        self._publishing = Lock()
        self._made_for: Optional[Configuration] = None
        self._estimator = self._make_estimator()
        self._arrived: Optional[Header] = None
        self._segmented: Optional[Header] = None
        self._closed = False
        self.uncalibrated = ''
        """Why the last frame gave no metres; empty where it did."""

    @property
    def publishers(self) -> Tuple[Any, ...]:
        """The publishers, to be destroyed with the node's resources."""
        return self._area, self._grid, self._scan

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to one of the topics."""
        return any(publisher.get_subscription_count() for publisher in self.publishers)

    @property
    def wanted_drivable(self) -> Tuple[int, ...]:
        """Train ids for which the engine may find the blocked rows; empty where it must not."""
        return self._estimator.wanted_drivable

    def open(self) -> None:
        """Publish what comes from now on."""
        self._closed = False

    def close(self, reason: str) -> None:
        """Take the last area back, and publish nothing after that: also not a frame on its way."""
        with self._publishing:
            self._closed = True
            self._retract(reason)

    def image_arrived(self, now: Now, header: Header) -> None:
        """Note that the camera is alive."""
        self._watchdog.image_arrived(now)
        self._arrived = header

    def estimate(self, image: SegmentedImage) -> DrivableArea:
        """Make the drivable area of a segmented image, in metres where they are known."""
        settings, mount = self._refresh()
        geometry = self._geometry.at(settings, mount, image.size, image.frame_id, image.stamp)
        area = self._estimator.update(
            image.labels,
            image.confidence,
            geometry.calibration,
            geometry.pose,
            image.stamp,
            image.cell,
            image.blocked,
        )
        if geometry.reason:
            area = replace(area, reason=one_line(geometry.reason))
        self.uncalibrated = area.reason
        return area

    def publish(self, header: Header, area: DrivableArea) -> None:
        """Publish a drivable area under its image's header; as not valid if it is too old."""
        settings = self._configuration()[0]
        with self._publishing:
            if self._closed:
                return
            now = Now.of(self._clock)
            fault = age_fault(now.age(area.stamp.ns), settings.max_age)
            if fault:
                area = DrivableArea.invalid(area.stamp, fault)
            self._segmented = header
            self._statistics.area_published(now.steady, fault)
            self._send(area, settings, header, now)
            self._watchdog.summary_published(now, area.stamp.ns, area.valid)

    def watch(self, outage: str) -> None:
        """Publish `valid = false` where the last valid area no longer stands.

        outage: why nothing is segmented at all, as far as the node knows; or empty.
        """
        if not self.wanted:
            self._watchdog.rest()
            return
        now, max_age = Now.of(self._clock), self._configuration()[0].max_age
        fault = self._watchdog.due(now, max_age, outage)
        if fault:
            self.retract(fault)
            if not outage and not self._watchdog.silence(now) > max_age:
                self._statistics.area_published(now.steady, fault)

    def retract(self, reason: str) -> None:
        """Publish `valid = false` in place of the last area."""
        with self._publishing:
            self._retract(reason)

    def _retract(self, reason: str) -> None:
        header = self._segmented or self._arrived or Header()
        area = DrivableArea.invalid(Stamp(header.stamp.sec, header.stamp.nanosec), reason)
        self._send(area, self._configuration()[0], header, Now.of(self._clock))

    def _send(
        self, area: DrivableArea, settings: DrivableSettings, header: Header, now: Now
    ) -> None:
        if self._area.get_subscription_count():
            age = now.age(area.stamp.ns)
            self._area.publish(area_message(header, area, age, settings.vehicle_frame))
        ground_header = Header(stamp=header.stamp, frame_id=settings.vehicle_frame)
        estimator, config = self._estimator, self._estimator.config
        if self._grid.get_subscription_count():
            grid = estimator.grid(area) or blank_grid(config.grid)
            self._grid.publish(grid_message(ground_header, grid))
        scan = estimator.scan(area) if self._scan.get_subscription_count() else None
        # Nothing rather than a scan that has seen nothing: Nav2's collision monitor stops where a
        # scan stays away, but takes one without a range for a free road (doc/drivable_area.md).
        if scan is not None and not np.isnan(scan.ranges).all():
            self._scan.publish(scan_message(ground_header, scan))

    def _refresh(self) -> Configuration:
        """Take up changed parameters."""
        configuration = self._configuration()
        if configuration != self._made_for:
            self._estimator = self._make_estimator()
        return configuration

    def _make_estimator(self) -> DrivableAreaEstimator:
        self._made_for = self._configuration()
        return DrivableAreaEstimator(drivable_config(*self._made_for), self._class_map)
