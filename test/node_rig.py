# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A segmentation node and a probe that plays its cameras and its users, in one process."""

from __future__ import annotations

import itertools
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import OccupancyGrid
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.msg import DrivableArea
from segformer_ros.node.program import QuietExecutor
from segformer_ros.node.segmentation.frame_task import FrameCounts
from segformer_ros.node.segmentation.segmentation_node import SegmentationNode

MASK = 'segmentation/mask'
TYPES: dict[str, Any] = {
    MASK: Image,
    'segmentation/confidence': Image,
    'segmentation/overlay': Image,
    'segmentation/overlay/compressed': CompressedImage,
    'segmentation/camera_info': CameraInfo,
    'segmentation/points': PointCloud2,
    'drivable_area': DrivableArea,
    'drivable_area/grid': OccupancyGrid,
    'drivable_area/scan': LaserScan,
    'drivable_area/map': OccupancyGrid,
    '/diagnostics': DiagnosticArray,
}

HEIGHT, WIDTH = 96, 192
"""Of the test images: whole blocks of the fake network's cells."""

CITYSCAPES: ClassMap = load_class_map('cityscapes')
_numbers = itertools.count()


class Rig:
    """One node with the fake engine and one probe, in a namespace of their own.

    parameters: of the node, with `__` for a dot.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        namespace = f'/rig{next(_numbers)}'
        given = {'engine': 'fake', 'diagnostics_period': 0.2, **parameters}
        overrides = [
            Parameter(name.replace('__', '.'), value=value) for name, value in given.items()
        ]
        self.node = SegmentationNode(namespace=namespace, parameter_overrides=overrides)
        self.probe = rclpy.create_node('probe', namespace=namespace)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.executor = QuietExecutor()
        self.executor.add_node(self.node)
        self.executor.add_node(self.probe)
        self.longest_turn = 0.0
        """Of the executor, in s: what a busy machine adds to every time that is measured."""
        self._publishers: dict[str, Any] = {}

    def close(self) -> None:
        """End both nodes."""
        self.node.release()
        self.executor.shutdown()
        self.node.destroy_node()
        self.probe.destroy_node()

    # --- Users --------------------------------------------------------------------------------

    def start(self, *topics: str) -> None:
        """Start the node and subscribe to topics; returns when they are connected."""
        assert self.node.autostart()
        self.subscribe(*topics)

    def subscribe(self, *topics: str) -> None:
        """Collect the messages of topics of the node in `received`."""
        for topic in topics:
            kind = TYPES[topic if topic in TYPES else topic.partition('/')[2]]
            self.probe.create_subscription(kind, topic, self.received[topic].append, 50)
        assert self.spin_until(lambda: all(self.probe.count_publishers(topic) for topic in topics))

    def set(self, **parameters: Any) -> list[Any]:
        """Set parameters of the node; returns the results."""
        return list(
            self.node.set_parameters(
                [
                    Parameter(name.replace('__', '.'), value=value)
                    for name, value in parameters.items()
                ]
            )
        )

    def status(self, name: str = 'camera') -> DiagnosticStatus:
        """Return the next diagnostic status of a camera, or of the 'engine'."""
        asked = self.node.get_clock().now().to_msg()
        wanted = f'{self.node.get_fully_qualified_name()}: {name}'

        def found() -> list[DiagnosticStatus]:
            return [
                status
                for message in self.received['/diagnostics']
                for status in message.status
                if status.name == wanted and not _before(message.header.stamp, asked)
            ]

        assert self.spin_until(lambda: bool(found()))
        return found()[-1]

    def counts(self, camera: str = '') -> FrameCounts:
        """What became of a camera's frames."""
        assert self.node.worker
        return self.node.worker.inbox.counts(camera)

    # --- Cameras ------------------------------------------------------------------------------

    def send(self, message: Any, topic: str = 'image') -> None:
        """Publish a message to the node, as soon as the node listens."""
        if topic not in self._publishers:
            publisher = self.probe.create_publisher(type(message), topic, 10)
            self._publishers[topic] = publisher
            assert self.spin_until(lambda: publisher.get_subscription_count() > 0)
        self._publishers[topic].publish(message)

    def deliver(self, message: Any, camera: str = '') -> None:
        """Publish an image and wait until the node has it; best effort may lose what piles up."""
        before = self.counts(camera).received
        self.send(message, f'{camera}/image' if camera else 'image')
        assert self.spin_until(lambda: self.counts(camera).received > before)

    def calibrate(self, info: CameraInfo) -> None:
        """Publish a camera_info and wait until the node has taken it up."""
        geometry = self.node._streams[0]._geometry
        before = geometry.newest
        self.send(info, 'camera_info')
        assert self.spin_until(lambda: geometry.newest is not before)

    def now(self) -> Time:
        """Stamp of this moment."""
        return self.probe.get_clock().now().to_msg()

    def segment(self, message: Any, output: str = MASK) -> Any:
        """Send an image and return what comes back on a topic."""
        before = len(self.received[output])
        self.send(message)
        assert self.spin_until(lambda: len(self.received[output]) > before), f'no {output}'
        return self.received[output][-1]

    # --- Time ---------------------------------------------------------------------------------

    def spin(self, seconds: float) -> None:
        """Let the executor work for a while."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, condition: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Let the executor work until a condition holds; tell whether it came to hold."""
        end = time.monotonic() + timeout
        while not condition():
            start = time.monotonic()
            if start > end:
                return False
            self.executor.spin_once(timeout_sec=0.02)
            self.longest_turn = max(self.longest_turn, time.monotonic() - start)
        return True


def _before(stamp: Time, other: Time) -> bool:
    return (stamp.sec, stamp.nanosec) < (other.sec, other.nanosec)


MakeRig = Callable[..., Rig]


def street_labels(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Labels (H, W) of sky over road, with a car on the right."""
    labels = np.full((height, width), CITYSCAPES.ids('road')[0], np.uint8)
    labels[: height // 2] = CITYSCAPES.ids('sky')[0]
    labels[height // 2 : 3 * height // 4, 3 * width // 4 :] = CITYSCAPES.ids('car')[0]
    return labels


def painted(labels: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) BGR in the class colours, which the fake engine reads back as labels."""
    return CITYSCAPES.palette_bgr[labels]


def image(pixels: np.ndarray, stamp: Time | None = None, encoding: str = 'bgr8') -> Image:
    """Image message of an array."""
    message = Image(encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.strides[0]
    message.data = array('B', pixels.tobytes())
    message.header.frame_id = 'camera_optical'
    if stamp:
        message.header.stamp = stamp
    return message


def street_image(stamp: Time | None = None) -> Image:
    """Image message of the painted street."""
    return image(painted(street_labels()), stamp)


def camera_info(height: int = HEIGHT, width: int = WIDTH) -> CameraInfo:
    """Calibration of a pinhole camera for the test images."""
    message = CameraInfo(height=height, width=width, distortion_model='plumb_bob')
    message.d = [0.0] * 5
    message.k = [150.0, 0.0, (width - 1) / 2, 0.0, 150.0, (height - 1) / 2, 0.0, 0.0, 1.0]
    message.p = [
        150.0,
        0.0,
        (width - 1) / 2,
        0.0,
        0.0,
        150.0,
        (height - 1) / 2,
        0.0,
        0.0,
        0.0,
        1.0,
        0.0,
    ]
    message.r = np.eye(3).ravel()
    return message


def pixels_of(message: Image) -> np.ndarray:
    """Pixels (H, W) or (H, W, C) of an image message without padding."""
    shape = (message.height, message.width, -1)
    return np.frombuffer(message.data, np.uint8).reshape(shape).squeeze()
