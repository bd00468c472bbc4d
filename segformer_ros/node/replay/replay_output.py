# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Publishes the frames of a source as a camera's topics, with its transforms or its mount."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Sequence

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.camera import Calibration, CameraPose, camera_info_fields
from segformer_ros.drivable import odometry_fields
from segformer_ros.frame import Stamp
from segformer_ros.node.messages import ImageBuffer, fill, jpeg_message
from segformer_ros.node.replay.player import Outgoing
from segformer_ros.node.replay.replay_parameters import ReplaySettings
from segformer_ros.recordings import Source
from segformer_ros.recordings.bag_writer import quaternion

QUEUE = 5


class ReplayOutput:
    """The topics image, image/compressed, camera_info, labels, odom, /clock, /tf_static and /tf.

    Images are converted only for existing subscribers.
    """

    def __init__(self, node: Node, settings: ReplaySettings, source: Source) -> None:
        self._settings = settings
        self._calibration = source.calibration
        carries = settings.transforms and source.has_transforms
        pose = source.pose if settings.vehicle_frame else None
        # A bag's own transforms include the camera's mount, unless frame_id renames the camera.
        self._pose = None if carries and not settings.frame_id else pose
        self._transforms: Optional[CarriedTransforms] = None
        if carries or self._pose is not None:
            self._transforms = _transforms(node, source if carries else None, settings.rate)
        reliability = (
            ReliabilityPolicy.RELIABLE if settings.reliable else ReliabilityPolicy.BEST_EFFORT
        )
        camera = QoSProfile(depth=QUEUE, reliability=reliability)
        self._image = node.create_publisher(Image, topics.IMAGE, camera)
        self._compressed = node.create_publisher(CompressedImage, topics.COMPRESSED_IMAGE, camera)
        self._labels = node.create_publisher(Image, topics.LABELS, QUEUE)
        self._info: Any = None
        if self._calibration is not None:
            self._info = node.create_publisher(CameraInfo, topics.CAMERA_INFO, camera)
        self._clock = node.create_publisher(Clock, '/clock', QUEUE) if settings.clock else None
        self._odometry = node.create_publisher(Odometry, topics.ODOMETRY, QUEUE)
        self._buffers: Dict[str, ImageBuffer] = {}
        self._labels_buffer = ImageBuffer('mono8')

    @property
    def subscribers(self) -> int:
        """Number of subscribers to the image, raw or compressed."""
        return int(
            self._image.get_subscription_count() + self._compressed.get_subscription_count()
        )

    def publish(self, outgoing: Outgoing) -> None:
        """Publish one frame: clock, calibration and labels first, the image last."""
        frame = outgoing.frame
        stamp = Time(sec=outgoing.stamp.sec, nanosec=outgoing.stamp.nanosec)
        header = Header(stamp=stamp, frame_id=self._settings.frame_id or frame.frame_id)
        self.tick(outgoing.stamp)
        self._publish_mount(header)
        if self._info and self._calibration:
            self._info.publish(camera_info_message(header, self._calibration))
        if outgoing.place is not None and self._settings.vehicle_frame:
            odometry = Odometry(header=Header(stamp=stamp, frame_id=topics.ODOMETRY))
            fill(odometry, odometry_fields(outgoing.place, self._settings.vehicle_frame))
            self._odometry.publish(odometry)
        if outgoing.labels is not None and self._labels.get_subscription_count():
            self._labels.publish(self._labels_buffer.filled(outgoing.labels, header))
        if self._compressed.get_subscription_count():
            quality = self._settings.jpeg_quality
            self._compressed.publish(jpeg_message(header, frame.bgr(), quality))
        if self._image.get_subscription_count():
            buffer = self._buffers.setdefault(frame.encoding, ImageBuffer(frame.encoding))
            self._image.publish(buffer.filled(frame.pixels, header))

    def _publish_mount(self, header: Header) -> None:
        """Publish the mount once; needs a frame id of the camera's own."""
        vehicle_frame = self._settings.vehicle_frame
        if self._transforms and self._pose and header.frame_id not in ('', vehicle_frame):
            self._transforms.place(mount_transform(header, self._pose, vehicle_frame))
            self._pose = None

    def restart(self) -> None:
        """Go back to the start of the recording's transforms."""
        if self._transforms:
            self._transforms.restart()

    def carry(self, position: int, stamp: int) -> None:
        """Publish the transforms up to a time of the recording (ns), which becomes `stamp`."""
        if self._transforms:
            self._transforms.advance(position, stamp)

    def tick(self, stamp: Stamp) -> None:
        """Set the clock of nodes with use_sim_time."""
        if self._clock:
            self._clock.publish(Clock(clock=Time(sec=stamp.sec, nanosec=stamp.nanosec)))


def _transforms(node: Node, source: Optional[Source], rate: float) -> Optional[CarriedTransforms]:
    """A publisher of transforms; None where tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        node.get_logger().info('tf2_msgs is not installed: transforms are not published')
        return None
    return CarriedTransforms(node, TFMessage, source, rate)


def mount_transform(header: Header, pose: CameraPose, vehicle_frame: str) -> TransformStamped:
    """Transform from the vehicle frame to the camera's optical frame, which is the header's."""
    transform = TransformStamped(
        header=Header(stamp=header.stamp, frame_id=vehicle_frame), child_frame_id=header.frame_id
    )
    place, turn = transform.transform.translation, transform.transform.rotation
    place.x, place.y, place.z = map(float, pose.position)
    turn.x, turn.y, turn.z, turn.w = quaternion(pose.rotation())
    return transform


def camera_info_message(header: Header, calibration: Calibration) -> CameraInfo:
    """CameraInfo of a calibration, for images that are not rectified."""
    message = CameraInfo(header=header)
    fill(message, camera_info_fields(calibration))
    return message


AHEAD = 500_000_000
"""Nanoseconds of the recording by which transforms are ahead of frames, so that no frame waits."""

_QUEUE = 100  # as in tf2

_CLOSE = 1e-3
"""At rate 0 with new stamps: scale of the time from a frame to the transforms around it."""


class CarriedTransforms:
    """Publishes a recording's /tf_static once and its /tf in time, with the replay's stamps.

    message_type: tf2_msgs/TFMessage. source: None for static transforms only. rate: of the replay;
    at 0, new stamps are not proportional to the recorded times.
    """

    def __init__(
        self, node: Node, message_type: Any, source: Optional[Source], rate: float
    ) -> None:
        self._type = message_type
        self._source = source
        self._rate = rate
        self._moving: Iterator[List[Any]] = iter(())
        self._coming: Deque[List[Any]] = deque()
        self._newest: Dict[str, Any] = {}
        recorded = [] if source is None else source.static_transforms()
        self._static = [_message(one, _stamp_ns(one)) for one in recorded]
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._latched = node.create_publisher(message_type, '/tf_static', latched)
        self._topic = node.create_publisher(message_type, '/tf', _QUEUE)
        if self._static:
            self._latched.publish(message_type(transforms=self._static))

    def place(self, transform: TransformStamped) -> None:
        """Add a static transform."""
        self._static.append(transform)
        self._latched.publish(self._type(transforms=self._static))

    def restart(self) -> None:
        """Go back to the start of the recording."""
        self._coming.clear()
        self._newest.clear()
        if self._source is not None:
            self._moving = self._source.moving_transforms()

    def advance(self, position: int, stamp: int) -> None:
        """Publish what was recorded until shortly after `position`, which becomes `stamp`."""
        until = position + AHEAD
        self._read(until)
        if position != stamp and self._rate == 0:
            self._publish(self._around(position), position, stamp, _CLOSE)
            return
        scale = 1.0 if position == stamp else 1 / self._rate
        while self._coming and _stamp_ns(self._coming[0][0]) <= until:
            self._publish(self._coming.popleft(), position, stamp, scale)

    def _read(self, until: int) -> None:
        """Read up to the first message after a time of the recording."""
        while not self._coming or _stamp_ns(self._coming[-1][0]) <= until:
            message = next(self._moving, None)
            if message is None:
                return
            self._coming.append(message)

    def _around(self, position: int) -> List[Any]:
        """Of each frame the last transform before a time, and the first one after it."""
        while self._coming and _stamp_ns(self._coming[0][0]) <= position:
            self._newest.update((one.child_frame_id, one) for one in self._coming.popleft())
        after: Dict[str, Any] = {}
        for message in self._coming:
            for one in message:
                after.setdefault(one.child_frame_id, one)
        return [*self._newest.values(), *after.values()]

    def _publish(self, transforms: Sequence[Any], position: int, stamp: int, scale: float) -> None:
        if transforms:
            messages = [
                _message(one, stamp + round((_stamp_ns(one) - position) * scale))
                for one in transforms
            ]
            self._topic.publish(self._type(transforms=messages))


def _stamp_ns(stamped: Any) -> int:
    stamp = stamped.header.stamp
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


def _message(stamped: Any, stamp_ns: int) -> TransformStamped:
    """Copy of a recorded geometry_msgs/TransformStamped, with another stamp."""
    stamp = Stamp.from_ns(max(stamp_ns, 0))
    header = Header(
        stamp=Time(sec=stamp.sec, nanosec=stamp.nanosec), frame_id=stamped.header.frame_id
    )
    message = TransformStamped(header=header, child_frame_id=stamped.child_frame_id)
    place, turn = stamped.transform.translation, stamped.transform.rotation
    fill(message.transform.translation, {name: float(getattr(place, name)) for name in 'xyz'})
    fill(message.transform.rotation, {name: float(getattr(turn, name)) for name in 'xyzw'})
    return message
