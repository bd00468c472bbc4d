"""Which topics the recorder writes, and how it listens to them."""

from __future__ import annotations

from typing import Any, List, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import String

from segformer_ros.msg import DrivableArea
from segformer_ros.node.label_info import vision_messages

QUEUE = 100
"""Messages kept while the disk is slower than the topics."""

IMAGE_TOPIC = 'image/compressed'
INFO_TOPIC = 'camera_info'
MASK_TOPIC = 'segmentation/mask'
OVERLAY_TOPIC = 'segmentation/overlay/compressed'
REPORT_TOPIC = 'replay/report'


class RecordedTopic(NamedTuple):
    """One topic that is recorded.

    sensor: published best effort, as sensors do. latched: kept by its publisher for late
    subscribers. headed: its messages begin with a header.
    """

    name: str
    type: Any
    sensor: bool = False
    latched: bool = False
    headed: bool = True

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
    RecordedTopic(IMAGE_TOPIC, CompressedImage, sensor=True),
    RecordedTopic(INFO_TOPIC, CameraInfo, sensor=True),
    RecordedTopic('labels', Image),
    RecordedTopic(MASK_TOPIC, Image),
    RecordedTopic(OVERLAY_TOPIC, CompressedImage),
    RecordedTopic('drivable_area', DrivableArea),
    RecordedTopic('drivable_area/grid', OccupancyGrid),
    RecordedTopic('drivable_area/scan', LaserScan),
    RecordedTopic('/diagnostics', DiagnosticArray),
    RecordedTopic(REPORT_TOPIC, String, latched=True, headed=False),
)


def recorded_topics() -> List[RecordedTopic]:
    """All topics, with the label info where vision_msgs is installed."""
    topics = list(_TOPICS)
    vision = vision_messages()
    if vision is not None:
        topics.append(RecordedTopic('segmentation/label_info', vision.label_info, latched=True))
    return topics
