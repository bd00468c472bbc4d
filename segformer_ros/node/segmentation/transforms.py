# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Camera poses from TF, at each frame's stamp."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, Tuple, Type

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from segformer_ros.camera import (
    CameraPose,
    footprint_note,
    footprint_of,
    pose_from_transform,
)
from segformer_ros.errors import SegformerError
from segformer_ros.frame import Stamp

_SILENT = 1.0  # seconds; after such a silence a transform is no longer expected

_JUMP = JumpThreshold(
    min_forward=Duration(seconds=10),  # tf2's cache time: a larger step makes all of it obsolete
    min_backward=Duration(nanoseconds=-100_000_000),
    on_clock_change=True,
)


class PoseError(SegformerError, ValueError):
    """No pose of the camera at this stamp; says why, and what to do."""


class LateTransformError(PoseError):
    """The transform of this stamp has not come yet; the look-up can be retried in a moment."""


class TransformSource(NamedTuple):
    """A tf2 buffer, and the errors that its look-ups raise."""

    buffer: Any
    errors: Tuple[Type[Exception], ...]
    closing: Tuple[Callable[[], Any], ...] = ()
    """Functions that release the listener and its handlers, which the node would keep alive."""

    def close(self) -> None:
        """Release subscriptions, service and handlers."""
        for close in self.closing:
            close()


def listen_to_tf(node: Node) -> Optional[TransformSource]:
    """Subscribe to TF; None where tf2_ros is not installed.

    The buffer is cleared, except for static transforms, when the node's time jumps (a bag is
    played again or from another position, a simulator is reset): tf2 would discard the new
    transforms as too old, or interpolate between both times.
    """
    try:
        import tf2_ros
    except ImportError:
        return None
    buffer = tf2_ros.Buffer(node=node)
    # tf2's own handler, which not all releases have, only reacts to steps of a second or more; the
    # one in early Jazzy raises a TypeError inside rclpy.
    handler = getattr(buffer, 'jump_handle', None)
    if handler is not None:
        handler.unregister()
    jumps = node.get_clock().create_jump_callback(_JUMP, post_callback=lambda _: buffer.clear())
    listener = tf2_ros.TransformListener(buffer, node)
    closing = (
        listener.unregister,
        jumps.unregister,
        lambda: node.destroy_service(buffer.srv),
    )
    return TransformSource(buffer, (tf2_ros.TransformException,), closing)


def look_up_pose(
    source: TransformSource, vehicle_frame: str, camera_frame: str, stamp: Stamp
) -> CameraPose:
    """Pose of the camera's optical frame in the vehicle frame at a stamp; never waits.

    Raises LateTransformError if the transform is still expected, PoseError if it is not, and
    CalibrationError for a transform that no camera over the ground can have.
    """
    if not camera_frame:
        raise PoseError('the image has no frame_id, so TF cannot tell where its camera is')
    if stamp.sec < 0:
        raise PoseError(
            f'the stamp of the image is negative ({stamp.sec} s), which TF cannot be asked for'
        )
    time = Time(seconds=stamp.sec, nanoseconds=stamp.nanosec)
    try:
        transform = source.buffer.lookup_transform(vehicle_frame, camera_frame, time).transform
    except source.errors as error:
        kind = (
            LateTransformError
            if _is_coming(source, vehicle_frame, camera_frame, stamp)
            else PoseError
        )
        raise kind(
            f'no transform from {camera_frame} to {vehicle_frame} at the stamp of the image: '
            f'{error}'
        ) from error
    offset, turn = transform.translation, transform.rotation
    quaternion = (turn.x, turn.y, turn.z, turn.w)
    return pose_from_transform((offset.x, offset.y, offset.z), quaternion, camera_frame)


def look_up_ground(source: TransformSource, vehicle_frame: str) -> Optional[str]:
    """What is wrong with the vehicle frame's height, by TF; '': nothing, None: unknown."""
    footprint = footprint_of(vehicle_frame)
    if not footprint:
        return ''
    try:
        found = source.buffer.lookup_transform(footprint, vehicle_frame, Time()).transform
    except source.errors:
        return None
    return footprint_note(vehicle_frame, footprint, found.translation.z)


def _is_coming(
    source: TransformSource, vehicle_frame: str, camera_frame: str, stamp: Stamp
) -> bool:
    """Whether the latest transform between the frames is only a little older than the stamp."""
    try:
        latest = source.buffer.lookup_transform(vehicle_frame, camera_frame, Time()).header.stamp
    except source.errors:
        return False
    behind = stamp.ns - (latest.sec * 1_000_000_000 + latest.nanosec)
    return 0 < behind < _SILENT * 1e9
