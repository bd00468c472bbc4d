# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Stands for `tf2_ros`, which comes with a ROS distribution and not with wheels.

It knows what this package uses of it: a buffer that is filled by hand, and a listener that hears
nothing. `test/node/test_tf2_stand_in.py` puts the same questions to it and, where it is installed,
to the real one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from std_srvs.srv import Empty

CACHE = 10 * 10**9  # ns that a moving frame is remembered for


class TransformException(Exception):
    """No transform."""


class LookupException(TransformException):
    """A frame that does not exist."""


class ExtrapolationException(TransformException):
    """A time for which there is no transform."""


class ConnectivityException(TransformException):
    """Frames in different trees."""


class Buffer:
    """Transforms between a frame and its parent; longer ways are left to the real one."""

    def __init__(self, cache_time: Any = None, node: Node | None = None) -> None:
        self._static: dict[tuple[str, str], TransformStamped] = {}
        self._moving: dict[tuple[str, str], dict[int, TransformStamped]] = {}
        self.srv = node.create_service(Empty, 'tf2_frames', _nothing) if node else None

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Take in a transform that holds at its stamp, unless it is too old."""
        known = self._moving.setdefault(_link(transform), {})
        stamp = _ns(transform.header.stamp)
        if known and stamp < max(known) - CACHE:
            return  # TF_OLD_DATA
        known[stamp] = transform
        for old in [one for one in known if one < max(known) - CACHE]:
            del known[old]

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Take in a transform that always holds."""
        self._static[_link(transform)] = transform

    def clear(self) -> None:
        """Forget what is not static."""
        for known in self._moving.values():
            known.clear()

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Any = None
    ) -> TransformStamped:
        """Transform at a time; 0 is the newest."""
        link = (target_frame, source_frame)
        frames = {name for known in (*self._static, *self._moving) for name in known}
        for name in link:
            if name not in frames:
                raise LookupException(f'"{name}" passed to lookupTransform does not exist. ')
        if link in self._static:
            return self._static[link]
        if link not in self._moving:
            raise ConnectivityException(f'{target_frame} and {source_frame} are not connected')
        known, wanted = self._moving[link], time.nanoseconds
        if not known:
            raise LookupException('no data')
        if wanted == 0:
            return known[max(known)]
        before = max((stamp for stamp in known if stamp <= wanted), default=None)
        after = min((stamp for stamp in known if stamp >= wanted), default=None)
        if before is None or after is None:
            where = 'into the past' if before is None else 'into the future'
            raise ExtrapolationException(f'Lookup would require extrapolation {where}.')
        return _between(known[before], known[after], time)


class TransformListener:
    """Hears nothing."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self.registered = True

    def unregister(self) -> None:
        """Nothing to give back."""
        self.registered = False


def _link(transform: TransformStamped) -> tuple[str, str]:
    return transform.header.frame_id, transform.child_frame_id


def _ns(stamp: Any) -> int:
    return int(stamp.sec * 10**9 + stamp.nanosec)


def _between(one: TransformStamped, other: TransformStamped, time: Time) -> TransformStamped:
    begin, end = _ns(one.header.stamp), _ns(other.header.stamp)
    share = (time.nanoseconds - begin) / (end - begin) if end > begin else 0.0
    result = TransformStamped(child_frame_id=one.child_frame_id)
    result.header.frame_id = one.header.frame_id
    result.header.stamp = time.to_msg()
    for part, names in (('translation', 'xyz'), ('rotation', 'xyzw')):
        values = [
            np.array([getattr(getattr(each.transform, part), name) for name in names])
            for each in (one, other)
        ]
        mixed = (1 - share) * values[0] + share * values[1]
        if part == 'rotation':
            mixed /= np.linalg.norm(mixed)
        for name, value in zip(names, mixed.tolist(), strict=True):
            setattr(getattr(result.transform, part), name, value)
    return result


def _nothing(request: Any, response: Any) -> Any:
    return response
