# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which topics the recorder writes, and how it listens to them."""

from __future__ import annotations

from typing import Any, List, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import String

from segformer_ros import topics
from segformer_ros.msg import DrivableArea
from segformer_ros.node.messages import vision_messages

QUEUE = 100
"""Messages kept while the disk is slower than the topics."""


class RecordedTopic(NamedTuple):
    """One topic that is recorded.

    sensor: published best effort, as sensors do. latched: kept by its publisher for late
    subscribers. headed: its messages begin with a header. answer: each segmented frame has one.
    """

    name: str
    type: Any
    sensor: bool = False
    latched: bool = False
    headed: bool = True
    answer: bool = False

    @property
    def msgtype(self) -> str:
        """Name of the type as bags have it, 'sensor_msgs/msg/Image'."""
        return f'{self.type.__module__.split(".")[0]}/msg/{self.type.__name__}'

    @property
    def qos(self) -> QoSProfile:
        """QoS of the subscription."""
        return QoSProfile(
            depth=QUEUE,
            reliability=(
                ReliabilityPolicy.BEST_EFFORT if self.sensor else ReliabilityPolicy.RELIABLE
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE
            ),
        )


_TOPICS = (
    RecordedTopic(topics.COMPRESSED_IMAGE, CompressedImage, sensor=True),
    RecordedTopic(topics.CAMERA_INFO, CameraInfo, sensor=True),
    RecordedTopic(topics.LABELS, Image),
    RecordedTopic(topics.MASK, Image, answer=True),
    RecordedTopic(topics.COMPRESSED_OVERLAY, CompressedImage, answer=True),
    RecordedTopic(topics.AREA, DrivableArea, answer=True),
    RecordedTopic(topics.GRID, OccupancyGrid),
    RecordedTopic(topics.SCAN, LaserScan),
    RecordedTopic(topics.MAP, OccupancyGrid),
    RecordedTopic(topics.ODOMETRY, Odometry),
    RecordedTopic(topics.DIAGNOSTICS, DiagnosticArray),
    RecordedTopic(topics.REPORT, String, latched=True, headed=False),
)


def recorded_topics() -> List[RecordedTopic]:
    """All topics, with the label info where vision_msgs is installed."""
    recorded = list(_TOPICS)
    vision = vision_messages()
    if vision is not None:
        recorded.append(RecordedTopic(topics.LABEL_INFO, vision.label_info, latched=True))
    return recorded
