"""Camera stream: all topics of one camera, from its images in to what is published of them."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Any, Callable, List, Mapping, NamedTuple, Optional

from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segformer_ros import topics
from segformer_ros.camera import BodySwing
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from segformer_ros.node.messages import VisionMessages, guarded
from segformer_ros.node.segmentation.camera_geometry import CameraGeometry
from segformer_ros.node.segmentation.drivable_output import DrivableOutput
from segformer_ros.node.segmentation.late_frames import LateFrames
from segformer_ros.node.segmentation.live_parameters import (
    Demand,
    FrameTask,
    ImageMessage,
    NodeParameters,
)
from segformer_ros.node.segmentation.mask_output import MaskOutput
from segformer_ros.node.segmentation.parameters import Settings
from segformer_ros.node.segmentation.statistics import CameraStatistics
from segformer_ros.node.segmentation.transforms import TransformSource
from segformer_ros.segmentation import Segmentation

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # before ROS 2 Iron
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

Deliver = Callable[[str, ImageMessage], None]

_GIVES_INFO = hasattr(Subscription, 'CallbackType')
"""Whether rclpy gives a callback of two arguments what the middleware says of a message.

Since ROS 2 Iron. Humble's calls every callback with the message alone.
"""


_THROTTLE = 5.0  # seconds between two lines of the log


class _Segmented(NamedTuple):
    """A frame whose mask is out; since: when, by the steady clock."""

    task: FrameTask
    result: Segmentation
    since: float


class Shared(NamedTuple):
    """What the streams of all cameras have in common; None for what is not installed."""

    spec: ModelSpec
    parameters: NodeParameters
    vision: Optional[VisionMessages]
    transforms: Optional[TransformSource]
    swing: Optional[BodySwing] = None


class CameraStream:
    """Subscriptions, publishers and figures of one camera.

    The worker calls `take` and `publish`, the executor everything else.
    """

    def __init__(self, node: Node, name: str, shared: Shared) -> None:
        self.name = name
        self.statistics = CameraStatistics()
        self._node = node
        self._clock = node.get_clock()
        self._prefix = f'{name}/' if name else ''
        self._parameters = shared.parameters
        compressed = shared.parameters.settings.compressed
        self._message_type: Any = CompressedImage if compressed else Image
        self._read_image = Frame.from_compressed if compressed else Frame.from_image
        warn = node.get_logger().warning
        self._geometry = CameraGeometry(shared.transforms, self.topic, warn, shared.swing)
        self._masks = MaskOutput(node, self._prefix, shared.spec.class_map, shared.vision)
        self.drivable = DrivableOutput(
            node, name, shared.spec, shared.parameters, self._geometry, self.statistics
        )
        self._late = LateFrames(self._publish_area, self._area_failed)
        self._subscriptions: List[Any] = []
        self._deliver: Deliver = lambda name, message: None
        self._overtaken: Callable[[str, int], None] = lambda name, count: None

    def start(self, deliver: Deliver, overtaken: Callable[[str, int], None]) -> None:
        """Publish the label info, then hand every image to `deliver` with the camera's name.

        overtaken: takes the camera's name, and how many images never left the middleware's queue.
        """
        self._deliver, self._overtaken = deliver, overtaken
        self._masks.publish_label_info()
        self.drivable.open()
        self._subscriptions = [
            self._node.create_subscription(
                CameraInfo,
                f'{self._prefix}{topics.CAMERA_INFO}',
                guarded(self._node, topics.CAMERA_INFO, self._geometry.receive),
                qos_profile_sensor_data,
            ),
            self._subscribe_images(),
        ]

    def count_overtaken(self) -> None:
        """Tell of the images that are known by now to have been overtaken on their way here."""
        missed = self.statistics.overtaken(monotonic())
        if missed:
            self._overtaken(self.name, missed)

    def stop(self, reason: str) -> None:
        """Let no more images in, and take the last drivable area back."""
        self.count_overtaken()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.drivable.close(reason)
        self._late.clear()

    def destroy(self) -> None:
        """Give back everything that the node made for this camera."""
        self._late.close()
        self.drivable.destroy()
        for publisher in (*self._masks.publishers, *self.drivable.publishers):
            self._node.destroy_lifecycle_publisher(publisher)

    @property
    def topic(self) -> str:
        """Full name of the image topic, as it is remapped."""
        return str(self._node.resolve_topic_name(f'{self._prefix}image'))

    @property
    def publishers_found(self) -> int:
        """How many publishers the image topic has."""
        return int(self._node.count_publishers(self.topic))

    @property
    def mismatch(self) -> str:
        """Which types the image topic is published as, if all are others than the awaited; ''."""
        found = self._node.get_publishers_info_by_topic(self.topic)
        types = sorted({endpoint.topic_type for endpoint in found})
        awaited = f'sensor_msgs/msg/{self._message_type.__name__}'
        if not types or awaited in types:
            return ''
        compressed = topics.COMPRESSED_TYPE in types
        images = compressed or topics.IMAGE_TYPE in types
        cure = (
            f'set compressed to {str(compressed).lower()}' if images else 'remap image to another'
        )
        return f'{self.topic} is published as {", ".join(types)}, not as {awaited}; {cure}'

    @property
    def demand(self) -> Demand:
        """What is subscribed to now."""
        mask, confidence, overlay, compressed, camera_info = (
            publisher.get_subscription_count() > 0 for publisher in self._masks.streamed
        )
        drivable = any(one.get_subscription_count() for one in self.drivable.publishers)
        return Demand(mask, confidence, overlay, compressed, camera_info, drivable)

    def take(self, message: ImageMessage, settings: Settings) -> Optional[FrameTask]:
        """View the message's pixels, or decode them; None where nobody wants the frame.

        Raises FrameError.
        """
        demand = self.demand
        if not (settings.enabled and any(demand)):
            return None
        frame = self._read_image(message, settings.max_megapixels)
        resized = settings.mask_width or settings.mask_height
        return FrameTask(
            self.name,
            message.header,
            frame,
            demand,
            settings,
            self._parameters.mounts[self.name],
            self._geometry.newest,
            settings.mask_size(frame.height, frame.width) if resized else None,
            self.drivable.free if demand.drivable else (),
        )

    def publish(self, task: FrameTask, result: Segmentation) -> None:
        """Publish what is wanted of a segmented frame, under the header of its message.

        The masks at once; what is in metres waits beside the work for a late transform.
        """
        demand = task.demand
        self._masks.publish(task, result)
        now, stamp = self._clock.now().nanoseconds, task.frame.stamp
        age = now * 1e-9 - (stamp.sec + stamp.nanosec * 1e-9)
        self.statistics.published(monotonic(), age)
        overlay = demand.overlay or demand.compressed_overlay
        if demand.drivable or (overlay and task.settings.overlay_boundary):
            self._late.put(_Segmented(task, result, monotonic()))
        elif overlay:
            self._masks.publish_overlay(task, result, None)

    def _publish_area(self, segmented: _Segmented, last: bool) -> bool:
        """Publish area and overlay once the camera's place is known; tell whether it was.

        last: it is not to be waited for any longer.
        """
        task, result, since = segmented
        demand = task.demand
        geometry = self.drivable.locate(task, inf if last else monotonic() - since)
        if geometry is None:
            return False
        area = self.drivable.estimate(task, result, geometry)
        if demand.drivable:
            self.drivable.publish(task, area)
        if demand.overlay or demand.compressed_overlay:  # for people, who can wait longer
            self._masks.publish_overlay(task, result, area)
        return True

    def _area_failed(self, error: Exception) -> None:
        fault = f'cannot publish the drivable area: {type(error).__name__}: {error}'
        self._node.get_logger().error(fault, throttle_duration_sec=_THROTTLE)
        self.drivable.retract(fault)

    def _subscribe_images(self) -> Any:
        callback = self._on_image if _GIVES_INFO else lambda message: self._on_image(message, {})
        guard = guarded(self._node, self.topic, callback)
        arguments = (self._message_type, f'{self._prefix}image', guard, qos_profile_sensor_data)
        try:
            events = SubscriptionEventCallbacks(message_lost=self._on_lost)
            subscription = self._node.create_subscription(*arguments, event_callbacks=events)
            self.statistics.resumed(reports=True)
        except UnsupportedEventTypeError:
            subscription = self._node.create_subscription(*arguments)
            self.statistics.resumed(reports=False)
        return subscription

    def _on_image(self, message: ImageMessage, info: Mapping[str, Any]) -> None:
        stamp = message.header.stamp
        self.statistics.arrived(
            monotonic(),
            stamp.sec * 1_000_000_000 + stamp.nanosec,
            info.get('publication_sequence_number') or None,
            lambda: self.publishers_found,
        )
        self.drivable.newest = message.header
        self._deliver(self.name, message)

    def _on_lost(self, lost: Any) -> None:
        self.statistics.lost_in_transport(monotonic(), lost.total_count)
