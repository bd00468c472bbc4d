# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Camera geometry: calibration from camera_info, pose over the ground from TF, swing by an IMU."""

from __future__ import annotations

from copy import copy
from time import monotonic
from typing import Any, Callable, NamedTuple, Optional, Tuple, Union

import numpy as np
from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Imu, RegionOfInterest
from std_msgs.msg import Header

from segformer_ros import topics
from segformer_ros.camera import (
    BodySwing,
    Calibration,
    CameraError,
    CameraPose,
    calibration_from_camera_info,
    check_image_size,
    image_size,
    is_rectified,
    matrix_of,
    resized_matrices,
    swung,
    turned_note,
)
from segformer_ros.errors import one_line
from segformer_ros.frame import Frame, Stamp
from segformer_ros.node.drivable_settings import DrivableSettings, MountSettings, mount_pose
from segformer_ros.node.messages import guarded
from segformer_ros.node.segmentation.transforms import (
    LateTransformError,
    PoseError,
    TransformSource,
    look_up_ground,
    look_up_pose,
)

_LOOK_AGAIN = 10.0  # seconds until TF is asked again for a frame that may not exist
_THROTTLE = 10.0  # seconds


class CameraInfoReading(NamedTuple):
    """A camera_info, parsed on arrival.

    size: (width, height) of the images that it belongs to, None if it is invalid.
    as_recorded, rectified: the calibration for unrectified and for rectified images; or the error
    why there is none.
    """

    message: CameraInfo
    size: Optional[Tuple[int, int]]
    as_recorded: Union[Calibration, CameraError]
    rectified: Union[Calibration, CameraError]

    @classmethod
    def of(cls, message: CameraInfo) -> CameraInfoReading:
        """Parse a message; an error is kept, and raised by `calibration`."""
        try:
            size: Optional[Tuple[int, int]] = image_size(message)
        except CameraError:
            size = None
        return cls(message, size, _calibration(message, False), _calibration(message, True))

    def calibration(self, rectified: bool, height: int, width: int) -> Calibration:
        """Calibration of images of this size; raises CameraError."""
        found = self.rectified if rectified else self.as_recorded
        if isinstance(found, CameraError):
            raise CameraError(str(found))
        check_image_size(found, height, width)
        return found

    def resized(self, header: Header, height: int, width: int) -> CameraInfo:
        """Message of the same view resized to (height, width); `size` is not None.

        K and P of the result include ROI and binning, so it has neither.
        """
        info, result = self.message, copy(self.message)
        result.header = header
        if self.size == (info.width, info.height) == (width, height):
            return result
        k, p = resized_matrices(info, width, height)
        result.height, result.width = height, width
        result.k, result.p = k.ravel(), p.ravel()
        result.binning_x = result.binning_y = 0
        result.roi = RegionOfInterest()
        return result


TF, PARAMETERS = 'tf', 'parameters'
"""Sources of a pose, as in DrivableArea.msg."""


class Geometry(NamedTuple):
    """Calibration and pose for one frame, or neither, and why not in `reason`.

    source: where the pose comes from; '' if there is none. without_tf: why it does not come from
    TF although that was asked for; else ''.
    """

    calibration: Optional[Calibration]
    pose: Optional[CameraPose]
    reason: str
    source: str = ''
    without_tf: str = ''


class _FoundPose(NamedTuple):
    pose: CameraPose
    source: str
    without_tf: str = ''


class CameraGeometry:
    """Keeps the newest camera_info and looks up the pose at each frame's stamp.

    The executor calls `receive`, one thread at a time everything else. topic: image topic after
    remapping; its name may tell that the images are rectified. warn: called once for each problem
    which is not an error but makes all distances wrong. swing: of the vehicle's body, by an IMU.
    """

    def __init__(
        self,
        transforms: Optional[TransformSource],
        topic: str,
        warn: Callable[[str], object],
        swing: Optional[BodySwing] = None,
    ) -> None:
        self._swing = swing
        self._transforms = transforms
        self._rectified = is_rectified(topic)
        self._warn = warn
        self.newest: Optional[CameraInfoReading] = None
        """The newest camera_info, None if none has come yet."""
        self.had_tf = False
        """Whether TF has given a pose since the node was configured."""
        self._content: Any = None
        self._turned = False
        self._ground_of = ''
        self._ground_due = 0.0

    def receive(self, info: CameraInfo) -> None:
        """Take a camera_info; it is parsed only if more than its stamp differs from the last."""
        content = _content(info)
        if self.newest is None or content != self._content:
            self.newest = CameraInfoReading.of(info)
            self._content = content
        else:
            self.newest = self.newest._replace(message=info)

    def at(
        self,
        frame: Frame,
        info: Optional[CameraInfoReading],
        settings: DrivableSettings,
        mount: MountSettings,
        patient: bool = False,
    ) -> Optional[Geometry]:
        """Geometry of an image; nothing is guessed if something is missing.

        The pose comes from TF, else from the mount parameters. None, if `patient`, while the
        transform of the image's stamp may still come.
        """
        try:
            if info is None:
                raise PoseError('no camera_info has come; let the camera driver publish it')
            rectified = settings.rectified or self._rectified
            calibration = info.calibration(rectified, frame.height, frame.width)
            found = self._pose(settings, mount, frame.frame_id, frame.stamp, patient)
            if found is None:
                return None
            pose = found.pose
            if self._swing is not None:
                pose = swung(pose, self._swing.at(frame.stamp.ns * 1e-9))
            self._say_if_turned(pose)
            return Geometry(calibration, pose, '', found.source, found.without_tf)
        except (CameraError, PoseError) as error:
            return Geometry(None, None, str(error))

    def _pose(
        self,
        settings: DrivableSettings,
        mount: MountSettings,
        frame_id: str,
        stamp: Stamp,
        patient: bool,
    ) -> Optional[_FoundPose]:
        without_tf = ''
        if settings.use_tf and self._transforms is not None:
            frame = settings.vehicle_frame
            try:
                pose = look_up_pose(self._transforms, frame, frame_id, stamp)
            except LateTransformError as error:
                if patient:
                    return None
                without_tf = (
                    f'{error}; it was waited for until drivable.tf_timeout '
                    f'({settings.tf_timeout:g} s) or drivable.max_age ({settings.max_age:g} s)'
                )
            except PoseError as error:
                without_tf = str(error)
            else:
                self.had_tf = True
                self._check_ground(self._transforms, frame)
                return _FoundPose(pose, TF)
        fixed = mount_pose(mount)
        if fixed is not None:
            return _FoundPose(fixed, PARAMETERS, without_tf)
        if without_tf:
            raise PoseError(
                f'{without_tf}; publish it, or give the mount as parameters (mount.height, '
                'mount.pitch, ...)'
            )
        raise PoseError(
            "the camera's height over the ground is not known; give its mount as parameters "
            '(mount.height, mount.pitch, ...) or by TF'
        )

    def _say_if_turned(self, pose: CameraPose) -> None:
        """Warn once about a camera that is mounted upside down or on its side."""
        if not self._turned and pose.quarter_turns:
            self._turned = True
            self._warn(turned_note(pose))

    def _check_ground(self, transforms: TransformSource, vehicle_frame: str) -> None:
        """Warn once if the vehicle frame is not on the ground."""
        now = monotonic()
        if self._ground_of == vehicle_frame and now < self._ground_due:
            return
        self._ground_of, note = vehicle_frame, look_up_ground(transforms, vehicle_frame)
        self._ground_due = now + _LOOK_AGAIN if note is None else float('inf')
        if note:
            self._warn(f'{note} (drivable.vehicle_frame)')


class ImuSwing:
    """Subscribes to `imu`, from `configure` to `cleanup`.

    The IMU is assumed to have the vehicle's axes, unless TF has a transform between their frames.
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
        """Destroy the subscription."""
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
        """Rotation vehicle_from_imu, (3, 3); None if TF does not have it."""
        if self._transforms is None or frame == self._frame:
            return self._axes
        try:
            found = self._transforms.buffer.lookup_transform(self._vehicle_frame, frame, Time())
        except self._transforms.errors:
            return None  # retried with the next message
        turn = found.transform.rotation
        self._frame, self._axes = frame, matrix_of((turn.x, turn.y, turn.z, turn.w))
        return self._axes


def _calibration(info: CameraInfo, rectified: bool) -> Union[Calibration, CameraError]:
    try:
        return calibration_from_camera_info(info, rectified)
    except CameraError as error:
        return error


def _content(info: CameraInfo) -> Tuple[Any, ...]:
    """Everything in a camera_info that affects the calibration."""
    roi = info.roi
    return (
        (info.width, info.height, info.binning_x, info.binning_y, info.distortion_model),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        bytes(info.d),
        bytes(info.k),
        bytes(info.p),
    )
