"""IMU swing: takes the orientations on the topic `imu`, for the swing of the vehicle's body."""

from __future__ import annotations

from typing import Optional

import numpy as np
from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import Imu

from segformer_ros import topics
from segformer_ros.camera import BodySwing, CameraError, matrix_of
from segformer_ros.errors import one_line
from segformer_ros.node.messages import guarded
from segformer_ros.node.segmentation.transforms import TransformSource

_THROTTLE = 10.0  # seconds


class ImuSwing:
    """Subscribes to `imu`, from `configure` to `cleanup`.

    The IMU's axes are those of the vehicle, unless TF knows where its frame stands in that of
    the vehicle.
    """

    def __init__(
        self, node: Node, transforms: Optional[TransformSource], vehicle_frame: str
    ) -> None:
        self.body = BodySwing()
        self._node = node
        self._transforms = transforms
        self._vehicle_frame = vehicle_frame
        self._frame = ''
        self._axes: Optional[np.ndarray] = None
        self._subscription = node.create_subscription(
            Imu, topics.IMU, guarded(node, topics.IMU, self._receive), qos_profile_sensor_data
        )

    def close(self) -> None:
        """Give the subscription back."""
        self._node.destroy_subscription(self._subscription)

    def _receive(self, message: Imu) -> None:
        turn, stamp = message.orientation, message.header.stamp
        if message.orientation_covariance[0] == -1:
            self._complain('it has no orientation (orientation_covariance[0] is -1)')
            return
        try:
            self.body.add(
                stamp.sec + stamp.nanosec * 1e-9,
                (turn.x, turn.y, turn.z, turn.w),
                self._vehicle_from(message.header.frame_id),
            )
        except CameraError as error:
            self._complain(str(error))

    def _complain(self, reason: str) -> None:
        line = f'an orientation on {self._subscription.topic_name} is not used: {reason}'
        self._node.get_logger().warning(one_line(line), throttle_duration_sec=_THROTTLE)

    def _vehicle_from(self, frame: str) -> Optional[np.ndarray]:
        """Rotation of the IMU in the vehicle frame, (3, 3); None where TF does not know it."""
        if self._transforms is None or frame == self._frame:
            return self._axes
        try:
            found = self._transforms.buffer.lookup_transform(self._vehicle_frame, frame, Time())
        except self._transforms.errors:
            return None  # asked again with the next message
        turn = found.transform.rotation
        self._frame, self._axes = frame, matrix_of((turn.x, turn.y, turn.z, turn.w))
        return self._axes
