# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The transforms of a recording, published as the play goes on."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Sequence

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from segformer_ros.frame import Stamp
from segformer_ros.node.messages import fill
from segformer_ros.recordings import Source

AHEAD = 500_000_000
"""Nanoseconds of the recording by which transforms come before the frames, so that none waits."""

_QUEUE = 100  # tf2's

_CLOSE = 1e-3
"""How close together the transforms around a frame are brought where time has no measure."""


class CarriedTransforms:
    """Publishes a recording's /tf_static once and its /tf in time, under the play's stamps.

    message_type: tf2_msgs/TFMessage. source: None where only frames are placed. rate: of the
    play; at 0 stamps that are not the recorded ones stand in no proportion to its times.
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
        """Add a frame that stands still."""
        self._static.append(transform)
        self._latched.publish(self._type(transforms=self._static))

    def restart(self) -> None:
        """Begin anew with the recording."""
        self._coming.clear()
        self._newest.clear()
        if self._source is not None:
            self._moving = self._source.moving_transforms()

    def advance(self, position: int, stamp: int) -> None:
        """Publish what was recorded up to a little after `position`, which is stamped `stamp`."""
        until = position + AHEAD
        self._read(until)
        if position != stamp and self._rate == 0:
            self._publish(self._around(position), position, stamp, _CLOSE)
            return
        scale = 1.0 if position == stamp else 1 / self._rate
        while self._coming and _stamp_ns(self._coming[0][0]) <= until:
            self._publish(self._coming.popleft(), position, stamp, scale)

    def _read(self, until: int) -> None:
        """Read on to the first message after a time of the recording."""
        while not self._coming or _stamp_ns(self._coming[-1][0]) <= until:
            message = next(self._moving, None)
            if message is None:
                return
            self._coming.append(message)

    def _around(self, position: int) -> List[Any]:
        """Of each frame the transform before a time, and the one after it."""
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
    """Message of a recorded geometry_msgs/TransformStamped, under another stamp."""
    stamp = Stamp.from_ns(max(stamp_ns, 0))
    header = Header(
        stamp=Time(sec=stamp.sec, nanosec=stamp.nanosec), frame_id=stamped.header.frame_id
    )
    message = TransformStamped(header=header, child_frame_id=stamped.child_frame_id)
    place, turn = stamped.transform.translation, stamped.transform.rotation
    fill(message.transform.translation, {name: float(getattr(place, name)) for name in 'xyz'})
    fill(message.transform.rotation, {name: float(getattr(turn, name)) for name in 'xyzw'})
    return message
