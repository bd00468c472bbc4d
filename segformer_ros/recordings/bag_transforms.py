# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The camera's mount, from the tree that the transforms of a bag make."""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import islice
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.camera import (
    CameraError,
    CameraPose,
    footprint_note,
    footprint_of,
    pose_from_transform,
    turned_note,
)
from segformer_ros.errors import SegformerError
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import Lost, Topic, deserialize
from segformer_ros.recordings.source import SourceError
from segformer_ros.topics import TF_TYPE

_NAMED_FRAMES = 12
"""Frames that a message about a tree names."""


class TransformError(SegformerError, ValueError):
    """A transform that is malformed or missing: says which one, and which frames exist."""


class Transform(NamedTuple):
    """Where a frame stands in its parent.

    translation: (3,) float64 metres. quaternion: (4,) float64 x, y, z, w of unit length.
    """

    translation: np.ndarray
    quaternion: np.ndarray

    @classmethod
    def from_message(cls, message: Any) -> Transform:
        """Of a geometry_msgs/Transform; raises TransformError for what is no transform."""
        offset, turn = message.translation, message.rotation
        translation = np.array([offset.x, offset.y, offset.z])
        quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
        length = float(np.linalg.norm(quaternion))
        if not abs(length - 1) < 0.01:
            raise TransformError(
                f'the quaternion {tuple(quaternion.tolist())} has length {length:.3g} and not 1'
            )
        if not np.isfinite(translation).all():
            raise TransformError(f'the translation {tuple(translation.tolist())} is not finite')
        return cls(translation, quaternion / length)

    def then(self, inner: Transform) -> Transform:
        """Where a frame stands in the parent, of where it stands in this one."""
        return Transform(
            self.translation + _turned(self.quaternion, inner.translation),
            _product(self.quaternion, inner.quaternion),
        )

    def inverse(self) -> Transform:
        """Where the parent stands in this frame."""
        back = self.quaternion * (-1.0, -1.0, -1.0, 1.0)
        return Transform(-_turned(back, self.translation), back)


_SAME = Transform(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


class _Link(NamedTuple):
    parent: str
    message: Any


class TransformTree:
    """The newest transform of each frame. Names count without a leading slash, as before tf2."""

    def __init__(self) -> None:
        self._links: Dict[str, _Link] = {}

    def add(self, stamped: Any) -> None:
        """Take in a geometry_msgs/TransformStamped; one without both names is passed over."""
        parent, child = _plain(stamped.header.frame_id), _plain(stamped.child_frame_id)
        if parent and child:
            self._links[child] = _Link(parent, stamped.transform)

    @property
    def frames(self) -> List[str]:
        """Names of all frames."""
        return sorted({*self._links, *(link.parent for link in self._links.values())})

    def carries(self, frame: str, stamped: Any) -> bool:
        """Whether a frame's place depends on this geometry_msgs/TransformStamped."""
        return _plain(stamped.child_frame_id) in self._lineage(_plain(frame))

    def look_up(self, target: str, source: str) -> Transform:
        """Where `source` stands in `target`; raises TransformError."""
        target, source = _plain(target), _plain(source)
        above_source, above_target = self._lineage(source), self._lineage(target)
        common = next((frame for frame in above_target if frame in above_source), None)
        if common is None:
            raise TransformError(f'nothing leads from {target} to {source}; {self._listing()}')
        return self._within(common, target).inverse().then(self._within(common, source))

    def _lineage(self, frame: str) -> List[str]:
        """A frame, its parent and so on; a circle is gone round once."""
        lineage = [frame]
        while lineage[-1] in self._links:
            parent = self._links[lineage[-1]].parent
            if parent in lineage:
                break
            lineage.append(parent)
        return lineage

    def _within(self, ancestor: str, frame: str) -> Transform:
        """Where a frame stands in one of its lineage."""
        found = _SAME
        while frame != ancestor:
            link = self._links[frame]
            try:
                found = Transform.from_message(link.message).then(found)
            except TransformError as error:
                raise TransformError(f'from {link.parent} to {frame}, {error}') from error
            frame = link.parent
        return found

    def _listing(self) -> str:
        frames = self.frames
        if not frames:
            return 'there are no frames'
        more = len(frames) - _NAMED_FRAMES
        rest = f' and {more} more' if more > 0 else ''
        return f'the frames are {", ".join(frames[:_NAMED_FRAMES])}{rest}'


def _plain(frame: str) -> str:
    return frame.lstrip('/')


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Quaternion of the turn `second` followed by the turn `first`."""
    a, b = first[:3], second[:3]
    vector = first[3] * b + second[3] * a + np.cross(a, b)
    return np.append(vector, first[3] * second[3] - a @ b)


def _turned(quaternion: np.ndarray, point: np.ndarray) -> np.ndarray:
    """A point (3,) turned by a unit quaternion."""
    axis = quaternion[:3]
    twice = 2.0 * np.cross(axis, point)
    turned: np.ndarray = point + quaternion[3] * twice + np.cross(axis, twice)
    return turned


_STATIC, _MOVING = 'tf_static', 'tf'

_MOST_MOVING = 20_000
"""Messages of /tf that are read: minutes of all joints of a robot."""
_WATCHED = 500
"""Messages of /tf after the mount is known that are checked for a mount that moves."""
_SAME_METRES, _SAME_COSINE = 0.01, math.cos(math.radians(0.5) / 2)


class Mount(NamedTuple):
    """The camera's pose in the vehicle frame, None where it is not known, and warnings."""

    pose: Optional[CameraPose] = None
    notes: Tuple[str, ...] = ()


class TransformTopics(NamedTuple):
    """Topics of transforms that hold for a camera; the last of each has the last word.

    static: /tf_static and those of its namespaces. moving: /tf, for what those do not tell.
    """

    static: Sequence[str]
    moving: Sequence[str]


def transform_topics(topics: Dict[str, Topic], image_topic: str) -> TransformTopics:
    """Those that have messages; one of another namespace counts where it is the only one."""

    def named(ending: str) -> List[str]:
        found = [
            name
            for name, topic in topics.items()
            if topic.msgtype == TF_TYPE and topic.messages and name.endswith(f'/{ending}')
        ]
        near = [name for name in found if image_topic.startswith(name[: -len(ending)])]
        return sorted(near, key=len) or (found if len(found) == 1 else [])

    return TransformTopics(named(_STATIC), named(_MOVING))


def recorded_transforms(bag: BagReader, topics: Sequence[str]) -> Iterator[List[Any]]:
    """The geometry_msgs/TransformStamped of each message of topics; what is broken is left out."""
    for topic in topics:
        for message in bag.messages(topic):
            with suppress(SourceError):
                found = list(deserialize(message.data, TF_TYPE).transforms)
                if found:
                    yield found


def read_mount(
    bag: BagReader,
    topics: TransformTopics,
    vehicle_frame: str,
    camera_frame: str,
) -> Mount:
    """The camera's optical frame in the vehicle frame, by the transforms of an open bag."""
    tree, notes = TransformTree(), []
    for topic in topics.static:
        note = _read(bag, topic, tree)
        notes += [note] if note else []
    try:
        if not camera_frame:
            raise TransformError('the images have no frame_id')
        try:
            found = tree.look_up(vehicle_frame, camera_frame)
        except TransformError:
            if not topics.moving:
                raise
            found, note = _search(bag, topics.moving, tree, vehicle_frame, camera_frame)
            notes += [note] if note else []
        pose = pose_from_transform(
            found.translation.tolist(), found.quaternion.tolist(), camera_frame
        )
    except (TransformError, CameraError) as error:
        asked = (*topics.static, *topics.moving)[-1]
        notes.append(
            f"{asked} does not give the camera's mount: {error}; give another frame on the "
            'ground (--vehicle-frame) or the mount itself (--height, --pitch)'
        )
        return Mount(None, tuple(notes))
    notes += filter(None, (turned_note(pose), _ground_note(tree, vehicle_frame)))
    return Mount(pose, tuple(notes))


def _ground_note(tree: TransformTree, vehicle_frame: str) -> str:
    """What is wrong with the height of the vehicle frame, as far as is known; '' for nothing."""
    footprint = footprint_of(vehicle_frame)
    if not footprint or footprint not in tree.frames:
        return ''
    try:
        height = float(tree.look_up(footprint, vehicle_frame).translation[2])
    except TransformError:
        return ''
    note = footprint_note(vehicle_frame, footprint, height)
    return f'{note} (--vehicle-frame)' if note else ''


def _search(
    bag: BagReader,
    topics: Sequence[str],
    tree: TransformTree,
    target: str,
    source: str,
) -> Tuple[Transform, str]:
    """Where `source` stands in `target` when /tf first tells it, and a note if it moves then.

    Raises TransformError.
    """
    found: Optional[Transform] = None
    fault = TransformError(f'{topics[-1]} has no message that can be read')
    for topic in topics:
        watched = 0
        for message in islice(bag.messages(topic), _MOST_MOVING):
            with suppress(SourceError):
                for stamped in deserialize(message.data, TF_TYPE).transforms:
                    tree.add(stamped)
            try:
                now = tree.look_up(target, source)
            except TransformError as error:
                fault = error
                continue
            found = found or now
            if not _same(found, now):
                return found, (
                    f'{source} moves in {target} by {topic}: where it stood first is taken'
                )
            watched += 1
            if watched >= _WATCHED:
                break
    if found is None:
        raise fault
    return found, ''


def _same(one: Transform, other: Transform) -> bool:
    """Whether two places are the same but for noise."""
    apart = np.linalg.norm(one.translation - other.translation)
    cosine = abs(float(one.quaternion @ other.quaternion))
    return bool(apart <= _SAME_METRES and cosine >= _SAME_COSINE)


def _read(bag: BagReader, topic: str, tree: TransformTree) -> str:
    """Take all transforms of a topic into a tree; the first thing that cannot be read, or ''."""
    broken = ''
    for index, entry in bag.entries(topic):
        try:
            if isinstance(entry, Lost):
                raise SourceError(entry.reason)
            for stamped in deserialize(entry.data, TF_TYPE).transforms:
                tree.add(stamped)
        except SourceError as error:
            broken = broken or f'{topic} message {index}: {error}'
    return broken
