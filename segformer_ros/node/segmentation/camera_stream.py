# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Camera stream: all topics of one camera, from its images to its results."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from rclpy.lifecycle import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segformer_ros import topics
from segformer_ros.camera import BodySwing
from segformer_ros.engines.cuda.device_frame import frame_of_message
from segformer_ros.formats import BitDepth
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.model import ModelSpec
from segformer_ros.node.messages import ImageGate, VisionMessages, guarded
from segformer_ros.node.segmentation.camera_geometry import CameraGeometry
from segformer_ros.node.segmentation.drivable_output import DrivableOutput
from segformer_ros.node.segmentation.engine_setup import buffer_options
from segformer_ros.node.segmentation.frame_task import Demand, FrameTask, LateFrames
from segformer_ros.node.segmentation.map_output import MapOutput
from segformer_ros.node.segmentation.mask_output import MaskOutput
from segformer_ros.node.segmentation.parameters import NodeParameters, Settings
from segformer_ros.node.segmentation.statistics import CameraStatistics
from segformer_ros.node.segmentation.transforms import TransformSource
from segformer_ros.node.segmentation.video_input import (
    VideoImage,
    VideoInput,
    header_of,
    message_class,
)
from segformer_ros.recordings.video_topic import is_video

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # before ROS 2 Iron
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

if TYPE_CHECKING:
    from segformer_ros.node.segmentation.frame_task import ImageMessage

_CURES = {
    topics.IMAGE_TYPE: 'set compressed to false',
    topics.COMPRESSED_TYPE: 'set compressed to true',
    **{kind: f'set video to {name}' for name, kind in topics.VIDEO_TYPES.items()},
}
"""How to subscribe to each type of message."""

_VIDEO_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Queues packets while the executor is busy: a lost one spoils all pictures up to a key frame."""

Deliver = Callable[[str, 'ImageMessage'], None]

_GIVES_INFO = hasattr(Subscription, 'CallbackType')
"""Whether callbacks can take the middleware's message info; not in ROS 2 Humble."""

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""The middleware itself drops overtaken images; their sequence numbers show it."""

_WAKING = 0.003  # seconds from the request for an image until rclpy begins to take it

_THROTTLE = 5.0  # seconds between two lines of the log


class _Segmented(NamedTuple):
    """A frame whose mask is published; since: when, on the steady clock. costs: s by output."""

    task: FrameTask
    result: Segmentation
    costs: Dict[str, float]
    since: float


class Shared(NamedTuple):
    """What the streams of all cameras share; None for what is not installed."""

    spec: ModelSpec
    parameters: NodeParameters
    vision: Optional[VisionMessages]
    transforms: Optional[TransformSource]
    map: MapOutput
    swing: Optional[BodySwing] = None


class CameraStream:
    """Subscriptions, publishers and statistics of one camera.

    The worker calls `take` and `publish`, the executor everything else.
    """

    def __init__(self, node: Node, name: str, shared: Shared) -> None:
        self.name = name
        self.statistics = CameraStatistics()
        self._node = node
        self._clock = node.get_clock()
        self._prefix = f'{name}/' if name else ''
        self._parameters = shared.parameters
        self._map = shared.map
        settings = shared.parameters.settings
        self._message_type: Any = CompressedImage if settings.compressed else Image
        if settings.video:
            self._message_type = message_class(settings.video)
        self._video: Optional[VideoInput] = None
        warn = node.get_logger().warning
        self._depth = BitDepth(settings.bits, warn)
        self._options = buffer_options(settings, node.create_subscription)
        self._read: Any = Frame.from_compressed if settings.compressed else Frame.from_image
        if self._options:
            self._read = frame_of_message
        self._geometry = CameraGeometry(shared.transforms, self.topic, warn, shared.swing)
        self._masks = MaskOutput(node, self._prefix, shared.spec.class_map, shared.vision)
        self.drivable = DrivableOutput(
            node, name, shared.spec, shared.parameters, self._geometry, self.statistics
        )
        self._late = LateFrames(self._publish_area, self._area_failed)
        self._subscriptions: List[Any] = []
        self.gate = ImageGate(node, lambda: self._parameters.settings.longest_look)
        """Holds images back; the worker opens it when it wants one."""
        self.lead = _WAKING
        """Seconds from opening the gate until a waiting image is here."""
        self._taking = 0.0
        self._deliver: Deliver = lambda name, message: None
        self._overtaken: Callable[[str, int], None] = lambda name, count: None

    def start(self, deliver: Deliver, overtaken: Callable[[str, int], None]) -> None:
        """Publish the label info, then pass every image to `deliver` with the camera's name.

        overtaken: called with the camera's name and how many images were replaced by newer ones in
        the middleware's queue.
        """
        self._deliver, self._overtaken = deliver, overtaken
        self._masks.publish_label_info()
        self.drivable.open()
        if self._parameters.settings.video:
            self._video = self._video_input()
        self._subscriptions = [
            self._node.create_subscription(
                CameraInfo,
                f'{self._prefix}{topics.CAMERA_INFO}',
                guarded(self._node, topics.CAMERA_INFO, self._geometry.receive),
                _NEWEST if _GIVES_INFO else qos_profile_sensor_data,
                callback_group=self.gate,  # before the image, whose subscription is made later
            ),
            self._subscribe_images(),
        ]

    def count_overtaken(self) -> None:
        """Report images that are known by now to have been overtaken in the middleware."""
        missed = self.statistics.overtaken(monotonic())
        if missed:
            self._overtaken(self.name, missed)

    def stop(self, reason: str) -> None:
        """Stop taking images, and publish the last drivable area as not valid."""
        self.count_overtaken()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if self._video:
            self._video.close()
            self._video = None
        self.drivable.close(reason)
        self._late.clear()

    def destroy(self) -> None:
        """Destroy everything that the node created for this camera."""
        self._late.close()
        self.drivable.destroy()
        for publisher in (*self._masks.publishers, *self.drivable.publishers):
            self._node.destroy_lifecycle_publisher(publisher)

    @property
    def topic(self) -> str:
        """Full name of the image topic, after remapping."""
        return str(self._node.resolve_topic_name(f'{self._prefix}image'))

    @property
    def publishers_found(self) -> int:
        """How many publishers the image topic has."""
        return int(self._node.count_publishers(self.topic))

    @property
    def mismatch(self) -> str:
        """Why no publisher of the image topic has the expected type; '' if one has, or none is."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        types = sorted({endpoint.topic_type for endpoint in publishers})
        package = self._message_type.__module__.partition('.')[0]
        expected = f'{package}/msg/{self._message_type.__name__}'
        if not types or expected in types:
            return ''
        cure = next((_CURES[kind] for kind in _CURES if kind in types), 'remap image to another')
        if self._parameters.settings.video and 'compressed' in cure:
            cure += " and video to ''"
        return f'{self.topic} is published as {", ".join(types)}, not as {expected}; {cure}'

    @property
    def wanted(self) -> bool:
        """Whether anything is subscribed to; cheaper than `demand`: it stops at the first."""
        masks, video = self._masks, self._masks.video
        publishers = [*masks.streamed, *self.drivable.publishers, self._map.publisher]
        if video:
            publishers.append(video)
        return any(one.get_subscription_count() for one in publishers)

    @property
    def demand(self) -> Demand:
        """Which topics are subscribed to now."""
        mask, confidence, overlay, compressed, camera_info, points = (
            publisher.get_subscription_count() > 0 for publisher in self._masks.streamed
        )
        video = self._masks.video is not None and self._masks.video.get_subscription_count() > 0
        return Demand(
            mask,
            confidence,
            overlay,
            compressed,
            camera_info,
            points,
            any(one.get_subscription_count() for one in self.drivable.publishers),
            self._map.publisher.get_subscription_count() > 0,
            video,
            drawn=overlay or compressed or video,
        )

    def take(self, message: ImageMessage, settings: Settings) -> Optional[FrameTask]:
        """View the message's pixels, or decode them; None if nobody wants the frame.

        Raises FrameError.
        """
        demand = self.demand
        if not (settings.enabled and any(demand)):
            return None
        if isinstance(message, VideoImage):
            frame = message.frame()
        else:
            frame = self._read(message, settings.max_megapixels, self._depth)
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
        """Publish what is subscribed to of a segmented frame, with the header of its message.

        Masks at once; results that need the pose may wait for a late transform, in another thread.
        """
        demand, times = task.demand, result.times
        costs = {
            'message': self._taking,
            'preprocessing': times.preprocess * 1e-3,
            'inference': times.inference * 1e-3,
            'labels': times.postprocess * 1e-3,
        }
        self._masks.publish(task, result, costs)
        now, stamp = self._clock.now().nanoseconds, task.frame.stamp
        age = now * 1e-9 - (stamp.sec + stamp.nanosec * 1e-9)
        self.statistics.published(monotonic(), age, costs)
        draws_boundary = demand.drawn and task.settings.overlay_boundary
        if demand.drivable or demand.points or demand.map or draws_boundary:
            self._late.put(_Segmented(task, result, costs, monotonic()))
        elif demand.drawn:
            self._masks.publish_overlay(task, result, None, costs)

    def _publish_area(self, segmented: _Segmented, last: bool) -> bool:
        """Publish area, points, map and overlay, if the pose is known; tell whether it was.

        last: do not wait for it any longer.
        """
        task, result, costs, since = segmented
        geometry = self.drivable.locate(task, inf if last else monotonic() - since)
        if geometry is None:
            return False
        area = self.drivable.estimate(task, result, geometry, costs)
        points = self.drivable.points(area, result) if task.demand.points else None
        if points is not None:
            self._masks.publish_points(task, points)
        if task.demand.drivable:
            self.drivable.publish(task, area, costs)
        if task.demand.map:
            self._map.add(task, result, area)
        if task.demand.drawn:  # last, since people can wait longer than planners
            self._masks.publish_overlay(task, result, area, costs)
        return True

    def _area_failed(self, error: Exception) -> None:
        fault = f'cannot publish the drivable area: {type(error).__name__}: {error}'
        self._node.get_logger().error(fault, throttle_duration_sec=_THROTTLE)
        self.drivable.retract(fault)

    def _subscribe_images(self) -> Any:
        take, qos = self._on_image, _NEWEST if _GIVES_INFO else qos_profile_sensor_data
        if self._video:
            take, qos = self._on_packet, _VIDEO_QOS
        elif self._message_type is CompressedImage:
            take = self._on_compressed
        callback = take if _GIVES_INFO else lambda message: take(message, {})
        guard = guarded(self._node, self.topic, callback)
        arguments = (self._message_type, f'{self._prefix}image', guard, qos)
        options = {'callback_group': self.gate, **self._options}
        try:
            events = SubscriptionEventCallbacks(message_lost=self._on_lost)
            subscription = self._node.create_subscription(
                *arguments, event_callbacks=events, **options
            )
            self.statistics.resumed(reports=True)
        except UnsupportedEventTypeError:
            subscription = self._node.create_subscription(*arguments, **options)
            self.statistics.resumed(reports=False)
        return subscription

    def _on_image(self, message: ImageMessage, info: Mapping[str, Any]) -> None:
        now, time = monotonic(), message.header.stamp
        number = info.get('publication_sequence_number') or None
        stamp = time.sec * 1_000_000_000 + time.nanosec
        numbered = self.statistics.arrived(now, stamp, number, lambda: self.publishers_found)
        # Images left in the middleware are counted by sequence numbers; without them, take all.
        self.gate.closed = now if numbered else None
        self._taking = now - self.gate.begun
        self.lead = _WAKING + 1.2 * self._taking
        self.drivable.newest = message.header
        self._deliver(self.name, message)

    def _on_compressed(self, message: CompressedImage, info: Mapping[str, Any]) -> None:
        if not is_video(topics.COMPRESSED_TYPE, message):
            self._on_image(message, info)
            return
        self._video = self._video_input()
        self._node.destroy_subscription(self._subscriptions.pop())
        self._subscriptions.append(self._subscribe_images())
        self._on_packet(message, info)

    def _on_packet(self, message: Any, info: Mapping[str, Any]) -> None:
        """Take a video packet; pictures depend on earlier ones, so the gate stays open."""
        self.drivable.newest = header = header_of(message)
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        number = info.get('publication_sequence_number') or None
        self.statistics.arrived(monotonic(), stamp, number, lambda: self.publishers_found)
        self.gate.closed = None
        if self._video:
            self._video.put(message, number)

    def _video_input(self) -> VideoInput:
        return VideoInput(
            lambda: self._parameters.settings.max_megapixels,
            lambda image: self._deliver(self.name, image),
            lambda count: self._overtaken(self.name, count),
        )

    def _on_lost(self, lost: Any) -> None:
        self.statistics.lost_in_transport(monotonic(), lost.total_count)
