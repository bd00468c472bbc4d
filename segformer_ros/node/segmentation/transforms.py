"""Camera poses from TF, at each frame's stamp."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any, NamedTuple, Optional, Tuple, Type

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

_POLL = 0.005  # seconds between two looks for a transform that has not come yet
_SILENT = 1.0  # seconds; what has not come for so long will not come in the next moment either


class PoseError(SegformerError, ValueError):
    """No pose of the camera at this stamp: says why and what to do."""


class TransformSource(NamedTuple):
    """A tf2 buffer, and the errors that its look-ups raise."""

    buffer: Any
    errors: Tuple[Type[Exception], ...]
    listener: Any = None
    """Fills the buffer for as long as it is kept."""

    def close(self) -> None:
        """Give the listener's subscriptions back; they would keep it alive by themselves."""
        if self.listener is not None:
            self.listener.unregister()


def listen_to_tf(node: Node) -> Optional[TransformSource]:
    """Subscribe to TF; None where tf2_ros is not installed."""
    try:
        import tf2_ros
    except ImportError:
        return None
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, node)
    return TransformSource(buffer, (tf2_ros.TransformException,), listener)


def look_up_pose(
    source: TransformSource,
    vehicle_frame: str,
    camera_frame: str,
    stamp: Stamp,
    timeout: float = 0.0,
) -> CameraPose:
    """Pose of the camera's optical frame in the vehicle frame at a stamp.

    Waits up to `timeout` seconds for a transform that is on its way, by the steady clock: the
    buffer's own wait would not end while simulated time stands still. Where none is to be
    expected nothing is waited for, since that would cost each frame of each camera the timeout.
    Raises PoseError, or CalibrationError for a transform that no camera over the ground can have.
    """
    if not camera_frame:
        raise PoseError('the image has no frame_id, so TF cannot tell where its camera is')
    deadline = monotonic() + timeout
    time = Time(seconds=stamp.sec, nanoseconds=stamp.nanosec)
    while True:
        try:
            transform = source.buffer.lookup_transform(vehicle_frame, camera_frame, time).transform
        except source.errors as error:
            late = monotonic() + _POLL > deadline
            if late or not _is_coming(source, vehicle_frame, camera_frame, stamp):
                raise PoseError(
                    f'no transform from {camera_frame} to {vehicle_frame} at the stamp of the '
                    f'image: {error}; publish it, or set drivable.use_tf to false and give the '
                    'mount as parameters'
                ) from error
            sleep(_POLL)
        else:
            break
    offset, turn = transform.translation, transform.rotation
    quaternion = (turn.x, turn.y, turn.z, turn.w)
    return pose_from_transform((offset.x, offset.y, offset.z), quaternion, camera_frame)


def look_up_ground(source: TransformSource, vehicle_frame: str) -> Optional[str]:
    """What is wrong with the vehicle frame's height by TF: '' for nothing, None: not known."""
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
    """Whether the frames' latest transform is a little older than the stamp."""
    try:
        latest = source.buffer.lookup_transform(vehicle_frame, camera_frame, Time()).header.stamp
    except source.errors:
        return False
    behind = stamp.ns - (latest.sec * 1_000_000_000 + latest.nanosec)
    return 0 < behind < _SILENT * 1e9
