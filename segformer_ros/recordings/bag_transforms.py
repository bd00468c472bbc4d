# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The camera's mount, from the transform tree of a bag."""

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
"""Most frames that an error lists."""


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
        """From a geometry_msgs/Transform; raises TransformError for an invalid one."""
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
        """Compose: where a frame stands in the parent, given where it stands in this frame."""
        return Transform(
            self.translation + _turned(self.quaternion, inner.translation),
            _product(self.quaternion, inner.quaternion),
        )

    def inverse(self) -> Transform:
        """Where the parent stands in this frame."""
        back = self.quaternion * (-1.0, -1.0, -1.0, 1.0)
        return Transform(-_turned(back, self.translation), back)


_IDENTITY = Transform(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


class _Link(NamedTuple):
    parent: str
    message: Any


class TransformTree:
    """The newest transform of each frame. A leading slash of names (before tf2) is ignored."""

    def __init__(self) -> None:
        self._links: Dict[str, _Link] = {}

    def add(self, stamped: Any) -> None:
        """Add a geometry_msgs/TransformStamped; one without both frame ids is ignored."""
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
            raise TransformError(f'no transform from {target} to {source}; {self._listing()}')
        return self._within(common, target).inverse().then(self._within(common, source))

    def _lineage(self, frame: str) -> List[str]:
        """A frame, its parent and so on, up to the root, or once around a cycle."""
        lineage = [frame]
        while lineage[-1] in self._links:
            parent = self._links[lineage[-1]].parent
            if parent in lineage:
                break
            lineage.append(parent)
        return lineage

    def _within(self, ancestor: str, frame: str) -> Transform:
        """Where a frame stands in one of its lineage."""
        transform = _IDENTITY
        while frame != ancestor:
            link = self._links[frame]
            try:
                transform = Transform.from_message(link.message).then(transform)
            except TransformError as error:
                raise TransformError(f'from {link.parent} to {frame}, {error}') from error
            frame = link.parent
        return transform

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
    """Quaternion product: the rotation `second`, followed by the rotation `first`."""
    a, b = first[:3], second[:3]
    vector = first[3] * b + second[3] * a + np.cross(a, b)
    return np.append(vector, first[3] * second[3] - a @ b)


def _turned(quaternion: np.ndarray, point: np.ndarray) -> np.ndarray:
    """A point (3,) rotated by a unit quaternion (v, w): p + 2 w (v x p) + 2 v x (v x p)."""
    axis = quaternion[:3]
    twice = 2.0 * np.cross(axis, point)
    turned: np.ndarray = point + quaternion[3] * twice + np.cross(axis, twice)
    return turned


_STATIC, _MOVING = 'tf_static', 'tf'

_MOST_MOVING = 20_000
"""Most messages of /tf that are read: minutes of all joints of a robot."""
_WATCHED = 500
"""Messages of /tf that are checked, once the mount is known, for whether it moves."""
_SAME_METRES, _SAME_COSINE = 0.01, math.cos(math.radians(0.5) / 2)


class Mount(NamedTuple):
    """The camera's pose in the vehicle frame, None where it is not known, and warnings."""

    pose: Optional[CameraPose] = None
    notes: Tuple[str, ...] = ()


class TransformTopics(NamedTuple):
    """Topics of transforms that apply to a camera; of each kind, the last one overrides others.

    static: /tf_static and those of its namespaces. moving: the same of /tf, a fallback.
    """

    static: Sequence[str]
    moving: Sequence[str]


def transform_topics(topics: Dict[str, Topic], image_topic: str) -> TransformTopics:
    """Topics with messages in the image topic's namespaces; or the only one, wherever it is."""

    def named(ending: str) -> List[str]:
        candidates = [
            name
            for name, topic in topics.items()
            if topic.msgtype == TF_TYPE and topic.messages and name.endswith(f'/{ending}')
        ]
        enclosing = [name for name in candidates if image_topic.startswith(name[: -len(ending)])]
        return sorted(enclosing, key=len) or (candidates if len(candidates) == 1 else [])

    return TransformTopics(named(_STATIC), named(_MOVING))


def recorded_transforms(bag: BagReader, topics: Sequence[str]) -> Iterator[List[Any]]:
    """The geometry_msgs/TransformStamped of each readable message of topics."""
    for topic in topics:
        for message in bag.messages(topic):
            with suppress(SourceError):
                transforms = list(deserialize(message.data, TF_TYPE).transforms)
                if transforms:
                    yield transforms


def read_mount(
    bag: BagReader,
    topics: TransformTopics,
    vehicle_frame: str,
    camera_frame: str,
) -> Mount:
    """The mount by the transforms of an open bag; camera_frame: the camera's optical frame."""
    tree, notes = TransformTree(), []
    for topic in topics.static:
        note = _read(bag, topic, tree)
        notes += [note] if note else []
    try:
        if not camera_frame:
            raise TransformError('the images have no frame_id')
        try:
            transform = tree.look_up(vehicle_frame, camera_frame)
        except TransformError:
            if not topics.moving:
                raise
            transform, note = _search(bag, topics.moving, tree, vehicle_frame, camera_frame)
            notes += [note] if note else []
        pose = pose_from_transform(
            transform.translation.tolist(), transform.quaternion.tolist(), camera_frame
        )
    except (TransformError, CameraError) as error:
        last = (*topics.static, *topics.moving)[-1]
        notes.append(
            f"{last} does not give the camera's mount: {error}; give another frame on the "
            'ground (--vehicle-frame) or the mount itself (--height, --pitch)'
        )
        return Mount(None, tuple(notes))
    notes += filter(None, (turned_note(pose), _ground_note(tree, vehicle_frame)))
    return Mount(pose, tuple(notes))


def _ground_note(tree: TransformTree, vehicle_frame: str) -> str:
    """What is wrong with the height of the vehicle frame; '' for nothing that is known."""
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
    """Where `source` stands in `target` when /tf first has it, and a note if it moves afterwards.

    Raises TransformError.
    """
    first: Optional[Transform] = None
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
            first = first or now
            if not _same(first, now):
                return first, f'{source} moves in {target} by {topic}: its first place is used'
            watched += 1
            if watched >= _WATCHED:
                break
    if first is None:
        raise fault
    return first, ''


def _same(one: Transform, other: Transform) -> bool:
    """Whether two transforms are the same but for noise."""
    apart = np.linalg.norm(one.translation - other.translation)
    cosine = abs(float(one.quaternion @ other.quaternion))  # of half the angle between them
    return bool(apart <= _SAME_METRES and cosine >= _SAME_COSINE)


def _read(bag: BagReader, topic: str, tree: TransformTree) -> str:
    """Add all transforms of a topic to a tree; returns the first read error, or ''."""
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
