# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Bags in one mcap file, for Foxglove and `ros2 bag play`, and the fields of their messages."""

from __future__ import annotations

import math
import os
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.camera import CameraPose
from segformer_ros.destination import Whole, WholeFile
from segformer_ros.frame import Frame, Stamp
from segformer_ros.recordings.bag_storage import definitions, types_with_video
from segformer_ros.recordings.source import RecordingError
from segformer_ros.resources import PACKAGE, share_path
from segformer_ros.topics import TF_TYPE

_PROFILE = 'ros2'
_WAITING_NS, _WAITING_BYTES = 3_000_000_000, 1 << 27
"""How long, by their times, messages are held back for earlier ones; and most bytes of them."""

DEFINITIONS: Tuple[Tuple[str, str], ...] = (
    (PACKAGE, 'DrivableArea'),
    ('vision_msgs', 'VisionClass'),
    ('vision_msgs', 'LabelInfo'),
)
"""Message types that rosbags does not know, each after those that it contains."""


class BagWriter(Whole):
    """Writes serialized messages into one mcap file with their definitions; a context manager.

    The file appears under its name when it is closed, complete even if the writing was
    interrupted; without messages, or after an exception, there is none. It has chunk checksums, an
    index, and its messages sorted by time, so that a mask is beside its image although it is
    written after later images. One that comes too late for that gets the log time of the message
    before it, and keeps its own publish time. Raises DestinationError where the system refuses to
    write, RecordingError without `mcap`.
    """

    def __init__(self, path: Path) -> None:
        try:
            from mcap.writer import Writer
        except ImportError as error:
            raise RecordingError(
                f'{path.name} cannot be written without mcap ({error}): pip install mcap'
            ) from error
        self.path = path
        self.messages = 0
        self._typestore = recording_types()
        self._schemas: Dict[str, int] = {}
        self._channels: Dict[str, _Channel] = {}
        self._waiting: List[_Waiting] = []  # a heap, by time
        self._waiting_bytes = 0
        self._newest_ns = self._last_ns = 0
        self._file = WholeFile(path)
        try:
            self._writer = Writer(self._file)  # type: ignore[arg-type]
            self._writer.start(_PROFILE, f'{PACKAGE} (mcap)')
        except BaseException:
            self._file.discard()
            raise

    def add_topic(self, topic: str, msgtype: str, latched: bool = False) -> None:
        """Add a topic with a type such as 'sensor_msgs/msg/Image'; raises RecordingError."""
        if msgtype not in definitions(self._typestore):
            raise RecordingError(f'topic {topic} has type {msgtype}, which has no definition here')
        if msgtype not in self._schemas:
            text, _ = self._typestore.generate_msgdef(msgtype, ros_version=2)
            self._schemas[msgtype] = self._writer.register_schema(
                msgtype, 'ros2msg', text.encode()
            )
        number = self._writer.register_channel(
            topic, 'cdr', self._schemas[msgtype], {'offered_qos_profiles': _qos(latched)}
        )
        self._channels[topic] = _Channel(number, msgtype)

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        """Append a message as CDR bytes, on a topic that was added."""
        heappush(self._waiting, _Waiting(time_ns, self.messages, self._channels[topic], data))
        self._waiting_bytes += len(data)
        self._newest_ns = max(self._newest_ns, time_ns)
        self.messages += 1
        while (
            self._waiting_bytes > _WAITING_BYTES
            or self._newest_ns - self._waiting[0].time_ns > _WAITING_NS
        ):
            self._record()

    def write_message(self, topic: str, message: Any, time_ns: int) -> None:
        """Append a message made from `recording_types()`."""
        data = self._typestore.serialize_cdr(message, self._channels[topic].msgtype)
        self.write(topic, data, time_ns)

    def write_fields(self, topic: str, fields: Mapping[str, Any], time_ns: int) -> None:
        """Append a message given by all its fields, nested messages as mappings."""
        msgtype = self._channels[topic].msgtype
        self.write_message(topic, _message_of(self._typestore, msgtype, fields), time_ns)

    def close(self) -> None:
        """Finish the file; may be called again without harm."""
        if self._file.closed:
            return
        if self.messages:
            while self._waiting:
                self._record()
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._file.close()
        else:
            self._file.discard()

    def discard(self) -> None:
        """Remove what was written; does nothing once the file is complete."""
        self._file.discard()

    def _record(self) -> None:
        """Write the earliest message that is held back."""
        message = heappop(self._waiting)
        self._waiting_bytes -= len(message.data)
        self._last_ns = max(self._last_ns, message.time_ns)
        self._writer.add_message(
            message.channel.number, self._last_ns, message.data, message.time_ns
        )


class _Channel(NamedTuple):
    number: int
    msgtype: str


class _Waiting(NamedTuple):
    time_ns: int
    place: int
    channel: _Channel
    data: bytes


def recording_types() -> Any:
    """ROS 2's message types and the installed ones of DEFINITIONS, as a rosbags typestore."""
    from rosbags.typesys import get_types_from_msg

    typestore = types_with_video()
    for package, name in DEFINITIONS:
        file = _find_definition(package, name)
        if file is not None:
            text = file.read_text(encoding='utf-8')
            typestore.register(get_types_from_msg(text, f'{package}/msg/{name}'))
    return typestore


def _message_of(typestore: Any, msgtype: str, fields: Mapping[str, Any]) -> Any:
    """A message of a typestore's type with these fields."""
    values = dict(fields)
    for name, (_, inner) in definitions(typestore)[msgtype][1]:
        if isinstance(values[name], dict):
            values[name] = _message_of(typestore, inner, values[name])
    return typestore.types[msgtype](**values)


def _find_definition(package: str, name: str) -> Optional[Path]:
    """A message's definition, in the source tree or in a sourced ROS workspace."""
    if package == PACKAGE:
        return share_path(f'msg/{name}.msg')
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    files = (Path(prefix, 'share', package, 'msg', f'{name}.msg') for prefix in prefixes if prefix)
    return next((file for file in files if file.is_file()), None)


def _qos(latched: bool) -> str:
    """QoS profile for `ros2 bag play` to offer: reliable, and transient local if latched.

    As rosbag2 writes it up to version 8 of its metadata, which all versions read; the numbers are
    those of rmw/types.h: keep last, reliable, volatile or transient local, automatic.
    """
    durability = 1 if latched else 2
    unset = '{sec: 0, nsec: 0}'
    return (
        f'- {{history: 1, depth: 10, reliability: 1, durability: {durability}, deadline: {unset}, '
        f'lifespan: {unset}, liveliness: 1, liveliness_lease_duration: {unset}, '
        'avoid_ros_namespace_conventions: false}'
    )


def header_fields(stamp: Stamp, frame_id: str) -> Dict[str, Any]:
    """Fields of std_msgs/Header."""
    return {'stamp': stamp._asdict(), 'frame_id': frame_id}


def mono8_fields(header: Dict[str, Any], pixels: np.ndarray) -> Dict[str, Any]:
    """Fields of sensor_msgs/Image of (H, W) uint8."""
    height, width = pixels.shape
    return {
        'header': header,
        'height': height,
        'width': width,
        'encoding': 'mono8',
        'is_bigendian': 0,
        'step': width,
        'data': np.ascontiguousarray(pixels).ravel(),
    }


def jpeg_fields(header: Dict[str, Any], pixels: np.ndarray, quality: int) -> Dict[str, Any]:
    """Fields of sensor_msgs/CompressedImage of (H, W, 3) uint8 BGR, as a JPEG."""
    _, data = cv2.imencode('.jpg', pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return {'header': header, 'format': 'bgr8; jpeg compressed bgr8', 'data': data.ravel()}


def video_fields(frame: Frame, packet: bytes) -> Dict[str, Any]:
    """Fields of foxglove_msgs/CompressedVideo of a frame as a packet of H.264."""
    return {
        'timestamp': frame.stamp._asdict(),
        'frame_id': frame.frame_id,
        'data': np.frombuffer(packet, np.uint8),
        'format': 'h264',
    }


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

    Shepperd's method: the largest of the four is computed from the diagonal and the others are
    divided by it, so there is no division by almost 0.
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
