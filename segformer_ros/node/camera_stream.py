"""Camera stream: all topics of one camera, from its images in to what is published of them."""

from __future__ import annotations

from time import monotonic
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Tuple, Union

from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segformer_ros import topics
from segformer_ros.engines.placement import cell_rows
from segformer_ros.formats.limits import MAX_MEGAPIXELS
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from segformer_ros.node.camera_geometry import CameraGeometry
from segformer_ros.node.clocks import Now
from segformer_ros.node.drivable_output import DrivableOutput, SegmentedImage
from segformer_ros.node.guard import guarded
from segformer_ros.node.label_info import VisionMessages
from segformer_ros.node.mask_output import MaskDemand, MaskOutput
from segformer_ros.node.parameters import DrivableSettings, MountSettings, Settings
from segformer_ros.node.statistics import CameraStatistics
from segformer_ros.node.transforms import TransformSource
from segformer_ros.segmentation import Segmentation

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # before ROS 2 Iron
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

ImageMessage = Union[Image, CompressedImage]

_GIVES_INFO = hasattr(Subscription, 'CallbackType')
"""Whether rclpy gives a callback of two arguments what the middleware says of a message.

Since ROS 2 Iron. Humble's calls every callback with the message alone.
"""


class Demand(NamedTuple):
    """What is subscribed to of one camera. free: train ids whose blocked rows would help."""

    masks: MaskDemand
    drivable: bool
    free: Tuple[int, ...]

    @property
    def anything(self) -> bool:
        """Whether a frame must be segmented at all."""
        return self.drivable or any(self.masks)

    @property
    def confidence(self) -> bool:
        """Whether the engine must give its confidence."""
        return self.drivable or self.masks.confidence


class Shared(NamedTuple):
    """What the streams of all cameras have in common; None for what is not installed."""

    spec: ModelSpec
    vision: Optional[VisionMessages]
    transforms: Optional[TransformSource]


class CameraStream:
    """Subscriptions, publishers and figures of one camera.

    The worker calls `frame`, `demand` and `publish`, the executor everything else.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        shared: Shared,
        settings: Callable[[], Settings],
        mount: Callable[[], MountSettings],
    ) -> None:
        def configuration() -> Tuple[DrivableSettings, MountSettings]:
            return settings().drivable, mount()

        self.name = name
        self.statistics = CameraStatistics()
        self._node = node
        self._clock = node.get_clock()
        self._prefix = f'{name}/' if name else ''
        self._settings = settings
        self._spec = shared.spec
        self._geometry = CameraGeometry(shared.transforms, self.topic, node.get_logger().warning)
        class_map = shared.spec.class_map
        self._masks = MaskOutput(node, self._prefix, class_map, shared.vision)
        self.drivable = DrivableOutput(
            node, self._prefix, class_map, configuration, self._geometry, self.statistics
        )
        self._subscriptions: List[Any] = []
        self._overtaken: Callable[[str, int], None] = lambda name, count: None

    def start(
        self,
        deliver: Callable[[str, ImageMessage], None],
        overtaken: Callable[[str, int], None],
    ) -> None:
        """Publish the label info, then hand every image to `deliver` with the camera's name.

        overtaken: takes the camera's name, and how many images never left the middleware's queue.
        """

        def on_image(message: ImageMessage, info: Mapping[str, Any]) -> None:
            now, stamp = Now.of(self._clock), message.header.stamp
            missed = self.statistics.arrived(
                now.steady,
                stamp.sec * 1_000_000_000 + stamp.nanosec,
                info.get('publication_sequence_number') or None,
                lambda: self.publishers_found,
            )
            if missed:
                overtaken(self.name, missed)
            self.drivable.image_arrived(now, message.header)
            deliver(self.name, message)

        self._overtaken = overtaken
        self._masks.publish_label_info()
        self.drivable.open()
        self._subscriptions = [
            self._node.create_subscription(
                CameraInfo,
                f'{self._prefix}{topics.CAMERA_INFO}',
                guarded(self._node, topics.CAMERA_INFO, self._on_camera_info),
                qos_profile_sensor_data,
            ),
            self._subscribe_images(on_image),
        ]

    def settle(self) -> None:
        """Count what was overtaken before the last image, though none came after it."""
        missed = self.statistics.settled(monotonic())
        if missed:
            self._overtaken(self.name, missed)

    def stop(self, reason: str) -> None:
        """Let no more images in, and take the last drivable area back."""
        self.settle()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.drivable.close(reason)

    def destroy(self) -> None:
        """Give back everything that the node made for this camera."""
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
        compressed = 'sensor_msgs/msg/CompressedImage' in types
        images = compressed or 'sensor_msgs/msg/Image' in types
        cure = (
            f'set compressed to {str(compressed).lower()}' if images else 'remap image to another'
        )
        return f'{self.topic} is published as {", ".join(types)}, not as {awaited}; {cure}'

    @property
    def _message_type(self) -> Any:
        return CompressedImage if self._settings().compressed else Image

    @property
    def demand(self) -> Demand:
        """What is subscribed to now."""
        return Demand(self._masks.demand, self.drivable.wanted, self.drivable.wanted_drivable)

    @staticmethod
    def frame(message: ImageMessage, max_megapixels: float = MAX_MEGAPIXELS) -> Frame:
        """View the message's pixels, or decode them; raises FrameError."""
        if isinstance(message, CompressedImage):
            return Frame.from_compressed(message, max_megapixels)
        return Frame.from_image(message, max_megapixels)

    def publish(
        self, demand: Demand, message: ImageMessage, frame: Frame, result: Segmentation
    ) -> None:
        """Publish what is wanted of a segmented frame, under the header of its message."""
        header, settings = message.header, self._settings()
        self._masks.publish(demand.masks, header, frame, result, self._geometry.info)
        now = Now.of(self._clock)
        self.statistics.published(now.steady, now.age(frame.stamp.ns))
        area = None
        if demand.drivable or (demand.masks.any_overlay and settings.overlay_boundary):
            area = self.drivable.estimate(self._segmented(frame, result))
        if area and demand.drivable:
            self.drivable.publish(header, area)
        if demand.masks.any_overlay:  # for people, who can wait longer than planners
            self._masks.publish_overlay(demand.masks, header, frame, result, area, settings)

    def _segmented(self, frame: Frame, result: Segmentation) -> SegmentedImage:
        size = (frame.height, frame.width)
        inference, rows = self._settings().inference, result.labels.shape[0]
        return SegmentedImage(
            frame.frame_id,
            frame.stamp,
            size,
            result.labels,
            result.confidence,
            cell_rows(self._spec, inference, size, rows),
            result.blocked,
        )

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._geometry.info = message

    def _subscribe_images(
        self, callback: Callable[[ImageMessage, Mapping[str, Any]], None]
    ) -> Any:
        given = callback if _GIVES_INFO else lambda message: callback(message, {})
        guard = guarded(self._node, self.topic, given)
        arguments = (self._message_type, f'{self._prefix}image', guard, qos_profile_sensor_data)
        try:
            events = SubscriptionEventCallbacks(message_lost=self._on_lost)
            subscription = self._node.create_subscription(*arguments, event_callbacks=events)
            self.statistics.resumed(reports=True)
        except UnsupportedEventTypeError:
            subscription = self._node.create_subscription(*arguments)
            self.statistics.resumed(reports=False)
        return subscription

    def _on_lost(self, lost: Any) -> None:
        self.statistics.lost_in_transport(Now.of(self._clock).steady, lost.total_count)
