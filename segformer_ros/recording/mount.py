"""The camera's mount as a transform, so that viewers know where the camera stands."""

from __future__ import annotations

import math
from typing import Any, Tuple

import numpy as np

from segformer_ros.camera import CameraPose
from segformer_ros.recording.bag import recording_types

TF_TYPE = 'tf2_msgs/msg/TFMessage'


def mount_message(pose: CameraPose, vehicle_frame: str, camera_frame: str, time_ns: int) -> Any:
    """A tf2_msgs/TFMessage for /tf_static: the camera's optical frame in the vehicle's."""
    types = recording_types().types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(time_ns, 1_000_000_000))
    header = types['std_msgs/msg/Header'](stamp, vehicle_frame)
    translation = types['geometry_msgs/msg/Vector3'](*map(float, pose.position))
    rotation = types['geometry_msgs/msg/Quaternion'](*quaternion(pose.rotation()))
    transform = types['geometry_msgs/msg/Transform'](translation, rotation)
    stamped = types['geometry_msgs/msg/TransformStamped'](header, camera_frame, transform)
    return types[TF_TYPE]([stamped])


def quaternion(rotation: np.ndarray) -> Tuple[float, float, float, float]:
    """Unit quaternion x, y, z, w of a rotation matrix (3, 3).

    Shepperd's method: the largest of the four is taken from the diagonal, so none is divided by
    almost nothing.
    """
    trace = float(np.trace(rotation))
    diagonal = [*(float(value) for value in np.diagonal(rotation)), trace]
    largest = int(np.argmax(diagonal))
    parts = [0.0] * 4
    if largest == 3:
        parts = [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
            1.0 + trace,
        ]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        parts[i] = 1.0 + 2.0 * diagonal[i] - trace
        parts[j] = rotation[i, j] + rotation[j, i]
        parts[k] = rotation[i, k] + rotation[k, i]
        parts[3] = rotation[k, j] - rotation[j, k]
    length = math.sqrt(sum(part * part for part in parts))
    x, y, z, w = (float(part / length) for part in parts)
    return x, y, z, w
