"""The camera's mount, from the transforms of a bag."""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import islice
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.camera import (
    CameraError,
    CameraPose,
    footprint_note,
    footprint_of,
    pose_from_transform,
    turned_note,
)
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import Bytes, Lost, Topic
from segformer_ros.recordings.source import SourceError
from segformer_ros.recordings.transform_tree import Transform, TransformError, TransformTree

TF_TYPE = 'tf2_msgs/msg/TFMessage'
_STATIC, _MOVING = 'tf_static', 'tf'

_MOST_MOVING = 20_000
"""Messages of /tf that are read: minutes of all joints of a robot."""
_WATCHED = 500
"""Messages of /tf after the mount is known, by which one that moves is told."""
_SAME_METRES, _SAME_COSINE = 0.01, math.cos(math.radians(0.5) / 2)


class Mount(NamedTuple):
    """The camera's pose in the vehicle frame, None where it is not known, and what is odd."""

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


def read_mount(
    bag: BagReader,
    topics: TransformTopics,
    vehicle_frame: str,
    camera_frame: str,
    deserialize: Callable[[Bytes, str], Any],
) -> Mount:
    """The camera's optical frame in the vehicle frame, by the transforms of an open bag."""
    tree, notes = TransformTree(), []
    for topic in topics.static:
        note = _read(bag, topic, tree, deserialize)
        notes += [note] if note else []
    try:
        if not camera_frame:
            raise TransformError('the images have no frame_id')
        try:
            found = tree.look_up(vehicle_frame, camera_frame)
        except TransformError:
            if not topics.moving:
                raise
            found, note = _search(
                bag, topics.moving, tree, vehicle_frame, camera_frame, deserialize
            )
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
    deserialize: Callable[[Bytes, str], Any],
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


def _read(
    bag: BagReader, topic: str, tree: TransformTree, deserialize: Callable[[Bytes, str], Any]
) -> str:
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
