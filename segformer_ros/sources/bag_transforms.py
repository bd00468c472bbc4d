"""The camera's mount, from the static transforms of a bag."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from segformer_ros.camera import (
    CameraError,
    CameraPose,
    footprint_note,
    footprint_of,
    pose_from_transform,
    turned_note,
)
from segformer_ros.sources.bag_reader import BagReader, Lost, Topic
from segformer_ros.sources.base import SourceError
from segformer_ros.sources.transform_tree import TransformError, TransformTree

TF_TYPE = 'tf2_msgs/msg/TFMessage'
_NAME = 'tf_static'


class Mount(NamedTuple):
    """The camera's pose in the vehicle frame, None where it is not known, and what is odd."""

    pose: Optional[CameraPose] = None
    notes: Tuple[str, ...] = ()


def transform_topics(topics: Dict[str, Topic], image_topic: str) -> List[str]:
    """Topics of static transforms that hold for a camera: /tf_static and those of its namespaces.

    The nearest namespace is the last, so that it has the last word. One of another namespace
    counts where it is the only one.
    """
    found = [
        name
        for name, topic in topics.items()
        if topic.msgtype == TF_TYPE and topic.messages and name.endswith(f'/{_NAME}')
    ]
    near = [name for name in found if image_topic.startswith(name[: -len(_NAME)])]
    return sorted(near, key=len) or (found if len(found) == 1 else [])


def read_mount(
    bag: BagReader,
    topics: List[str],
    vehicle_frame: str,
    camera_frame: str,
    deserialize: Callable[[bytes, str], Any],
) -> Mount:
    """The camera's optical frame in the vehicle frame, by the transforms of an open bag."""
    tree, notes = TransformTree(), []
    for topic in topics:
        note = _read(bag, topic, tree, deserialize)
        notes += [note] if note else []
    try:
        if not camera_frame:
            raise TransformError('the images have no frame_id')
        found = tree.look_up(vehicle_frame, camera_frame)
        pose = pose_from_transform(
            found.translation.tolist(), found.quaternion.tolist(), camera_frame
        )
    except (TransformError, CameraError) as error:
        notes.append(
            f"{topics[-1]} does not give the camera's mount: {error}; give another frame on the "
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


def _read(
    bag: BagReader, topic: str, tree: TransformTree, deserialize: Callable[[bytes, str], Any]
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
