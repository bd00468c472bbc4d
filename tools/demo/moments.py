# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Moments: what a recording holds of each frame, put together by the stamp."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional

import numpy as np

from segformer_ros import topics
from segformer_ros.drivable import Corridor, DrivableArea, GridNumbers, pose_of_odometry
from segformer_ros.frame import Frame, Stamp
from segformer_ros.node.replay.player import ReplayReport
from segformer_ros.recordings.bag_writer import recording_types
from segformer_ros.segmenter.results import SegmentedView

_IMAGE = topics.recorded(topics.COMPRESSED_IMAGE)
_MASK = topics.recorded(topics.MASK)
_OVERLAY = topics.recorded(topics.COMPRESSED_OVERLAY)
_LABELS = topics.recorded(topics.LABELS)
_AREA = topics.recorded(topics.AREA)
_GRID = topics.recorded(topics.GRID)
_MAP = topics.recorded(topics.MAP)
_ODOMETRY = topics.recorded(topics.ODOMETRY)
_REPORT = topics.recorded(topics.REPORT)
_DIAGNOSTICS = topics.recorded(topics.DIAGNOSTICS)

_VIEW_TOPICS = (_IMAGE, _MASK, _OVERLAY, _LABELS, _AREA, _GRID, _MAP, _ODOMETRY)


class _Moment(NamedTuple):
    stamp_ns: int
    messages: Dict[str, Any]


class Recording:
    """The demo's mcap, read back; a context manager."""

    def __init__(self, path: Path) -> None:
        from rosbags.rosbag2 import Reader

        self._reader = Reader(path)
        self._types = recording_types()

    def __enter__(self) -> Recording:
        self._reader.open()
        return self

    def __exit__(self, *error: Any) -> None:
        self._reader.close()

    @property
    def masks(self) -> int:
        """How many masks there are."""
        return sum(c.msgcount for c in self._reader.connections if c.topic == _MASK)

    def report(self) -> Optional[ReplayReport]:
        """The replay's report; None where the recording was ended before."""
        last = self._last(_REPORT)
        return None if last is None else ReplayReport.from_json(last.data)

    def engine_facts(self) -> Dict[str, str]:
        """What the node last said of its engine in its diagnostics, if anything."""
        last = self._last(_DIAGNOSTICS)
        for status in last.status if last is not None else ():
            if status.name.endswith(': engine'):
                return {pair.key: pair.value for pair in status.values}
        return {}

    def views(self) -> Iterator[SegmentedView]:
        """All frames that have both an image and a mask, in the order of their stamps."""
        complete = (m for m in self._moments() if {_IMAGE, _MASK} <= m.messages.keys())
        for index, moment in enumerate(complete):
            messages = moment.messages
            yield SegmentedView(
                key=f'{index:06d}',
                stamp_ns=moment.stamp_ns,
                image=Frame.from_compressed(messages[_IMAGE]).pixels,
                labels=Frame.from_image(messages[_MASK]).pixels,
                overlay=_decoded(messages.get(_OVERLAY)),
                truth=_pixels(messages.get(_LABELS)),
                area=_area(messages.get(_AREA)),
                grid=_grid(messages.get(_GRID)),
                map=_grid(messages.get(_MAP)),
                place=pose_of_odometry(messages[_ODOMETRY]) if _ODOMETRY in messages else None,
            )

    def _moments(self) -> Iterator[_Moment]:
        """Messages of the same stamp put together."""
        wanted = [c for c in self._reader.connections if c.topic in _VIEW_TOPICS]
        messages = self._reader.messages(wanted)
        for stamp_ns, group in groupby(messages, key=lambda message: message[1]):
            yield _Moment(
                stamp_ns,
                {
                    connection.topic: self._types.deserialize_cdr(data, connection.msgtype)
                    for connection, _, data in group
                },
            )

    def _last(self, topic: str) -> Optional[Any]:
        """The last message of a topic."""
        last = None
        for connection in [c for c in self._reader.connections if c.topic == topic]:
            for _, _, data in self._reader.messages([connection]):
                last = self._types.deserialize_cdr(data, connection.msgtype)
        return last


def _decoded(message: Any) -> Optional[np.ndarray]:
    return None if message is None else Frame.from_compressed(message).pixels


def _pixels(message: Any) -> Optional[np.ndarray]:
    return None if message is None else Frame.from_image(message).pixels


def _area(message: Any) -> Optional[DrivableArea]:
    if message is None:
        return None
    stamp = message.header.stamp
    return DrivableArea(
        Stamp(stamp.sec, stamp.nanosec),
        message.image_height,
        message.image_width,
        valid=message.valid,
        reason=message.reason,
        calibrated=message.calibrated,
        road_fraction=message.road_fraction,
        sidewalk_fraction=message.sidewalk_fraction,
        column=message.column,
        boundary_row=message.boundary_row,
        blocking_class=message.blocking_class,
        confidence=message.confidence,
        bearing=message.bearing,
        free_distance=message.free_distance,
        distance_sigma=message.distance_sigma,
        corridor=Corridor(
            message.corridor_width,
            message.corridor_distance,
            message.corridor_sigma,
            message.corridor_blocking_class,
        ),
    )


def _grid(message: Any) -> Optional[GridNumbers]:
    if message is None:
        return None
    info = message.info
    cells = np.asarray(message.data, np.int8).reshape(info.height, info.width)
    return GridNumbers(info.resolution, info.origin.position.x, info.origin.position.y, cells)
