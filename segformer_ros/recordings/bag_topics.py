# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which topics of a bag are its camera, calibration, labels and odometry; reading the last two.

Odometry gives the vehicle's place at each frame's stamp, and its speed.
"""

from __future__ import annotations

import bisect
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.drivable import PlanarPose, PoseTrack, pose_of_odometry
from segformer_ros.frame import HEADER_BYTES, Stamp
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import Entry, Lost, RawMessage, Topic, deserialize
from segformer_ros.recordings.bag_transforms import (
    TransformError,
    TransformTopics,
    TransformTree,
    recorded_transforms,
)
from segformer_ros.recordings.labels import LabelCoding, LabelError, Labels
from segformer_ros.recordings.source import SourceError, SourceOptions
from segformer_ros.topics import (
    CAMERA_INFO,
    CAMERA_INFO_TYPE,
    COMPRESSED_TYPE,
    CONFIDENCE,
    FFMPEG_TYPE,
    IMAGE_TYPE,
    LABELS,
    MASK,
    ODOMETRY,
    ODOMETRY_TYPE,
    OVERLAY,
    VIDEO_TYPE,
)

_LABEL_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
IMAGE_TYPES = (*_LABEL_TYPES, VIDEO_TYPE, FFMPEG_TYPE)

_TRANSPORTS = ('', '/compressed', '/foxglove', '/ffmpeg', '/video', '/h264', '/zstd')
"""Suffixes of one camera's topics, as image_transport names them, the preferred ones first."""
_NAMED = 50
"""Most topics that an error lists."""
_DEPTH = '/compressedDepth'
_DEPTH_WORDS = "depth images (16UC1 or 32FC1); give a bag with the camera's pictures"
_OUTPUTS = (MASK, CONFIDENCE, OVERLAY, LABELS)
"""Images that this package itself publishes, which are not a camera's."""


class Choice(NamedTuple):
    """The image topic that is read, and why not another one; '' where there is none."""

    topic: str
    note: str = ''


def choose_image_topic(
    topics: Dict[str, Topic],
    wanted: str,
    where: str,
    labels: str = '',
    holds_depth: Callable[[str], bool] = lambda topic: False,
) -> Choice:
    """The wanted image topic, or that of the only camera; raises SourceError listing the topics.

    labels: the topic of the labels, which is not a camera's. holds_depth: whether a topic has
    depth images. A topic without messages does not count as a camera: `ros2 bag record` also lists
    topics that were only advertised.
    """
    if wanted:
        _check_image_topic(topics, wanted, where)
        if holds_depth(wanted):
            raise SourceError(f'topic {wanted} of {where} holds {_DEPTH_WORDS}')
        return Choice(wanted)
    images = [
        name
        for name, topic in topics.items()
        if topic.msgtype in IMAGE_TYPES
        and name != labels
        and not name.endswith(_DEPTH)
        and not base_topic(name).endswith(_OUTPUTS)
    ]
    deep = [name for name in images if topics[name].messages and holds_depth(name)]
    images = [name for name in images if name not in deep]
    cameras: Dict[str, str] = {}  # the preferred topic of each
    for name in sorted(images, key=_preference):
        if topics[name].messages:
            cameras.setdefault(base_topic(name), name)
    if not images and deep:
        raise SourceError(
            f'{where} has no camera image topic: {", ".join(deep)} holds {_DEPTH_WORDS}'
        )
    if not images:
        raise SourceError(f'{where} has no camera image topic; {_listing(topics)}')
    if not cameras:
        have = 'topic {} has' if len(images) == 1 else 'image topics {} have'
        raise SourceError(f'{where} is empty: its {have.format(", ".join(images))} no message')
    if len(cameras) > 1:
        raise SourceError(
            f'{where} has {len(cameras)} camera image topics, choose one as the topic: '
            f'{", ".join(sorted(cameras.values()))}'
        )
    (chosen,) = cameras.values()
    others = [
        f'{name} has {"the same images" if topics[name].messages else "no message"}'
        for name in images
        if name != chosen
    ]
    others += [f'{name} holds depth images' for name in deep]
    return Choice(chosen, f'{chosen} is read; {", ".join(others)}' if others else '')


def check_label_topic(topics: Dict[str, Topic], wanted: str, where: str) -> None:
    """Raises SourceError unless the label topic exists and holds images."""
    _check_image_topic(topics, wanted, where, _LABEL_TYPES)


def find_info_topic(topics: Dict[str, Topic], image_topic: str) -> str:
    """The CameraInfo topic beside an image topic, else the only one of the bag, or ''."""
    infos = [
        name
        for name, topic in topics.items()
        if topic.msgtype == CAMERA_INFO_TYPE and topic.messages
    ]
    beside = info_topic_beside(image_topic)
    if beside in infos:
        return beside
    return infos[0] if len(infos) == 1 else ''


def info_topic_beside(image_topic: str) -> str:
    """The CameraInfo topic of an image topic, as image_transport names it."""
    return base_topic(image_topic).rpartition('/')[0] + f'/{CAMERA_INFO}'


def base_topic(name: str) -> str:
    """An image topic's name without its transport ('/compressed')."""
    ending = _TRANSPORTS[_preference(name)]
    return name[: -len(ending)] if ending else name


def _preference(name: str) -> int:
    """Index of a topic's suffix among the transports."""
    return max(place for place, ending in enumerate(_TRANSPORTS) if name.endswith(ending))


def _check_image_topic(
    topics: Dict[str, Topic], wanted: str, where: str, types: Sequence[str] = IMAGE_TYPES
) -> None:
    if wanted not in topics:
        raise SourceError(f'{where} has no topic {wanted}; {_listing(topics)}')
    if topics[wanted].msgtype not in types:
        raise SourceError(
            f'topic {wanted} of {where} holds {topics[wanted].msgtype}, not images; '
            f'{_listing(topics)}'
        )
    if not topics[wanted].messages:
        full = [n for n, t in topics.items() if t.messages and base_topic(n) == base_topic(wanted)]
        hint = f'; {", ".join(full)} has some' if full else ''
        raise SourceError(f'topic {wanted} of {where} has no message{hint}')


def _listing(topics: Dict[str, Topic]) -> str:
    if not topics:
        return 'it has no topic at all'
    names: List[str] = [f'{name} ({topic.msgtype})' for name, topic in topics.items()]
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return f'it has {", ".join(names[:_NAMED])}{more}'


class _Place(NamedTuple):
    """Where a label message is: its stamp (ns) and its index in the topic."""

    stamp: int
    order: int


class BagLabels:
    """Label images of one topic, looked up by the image that they belong to.

    A label belongs to the image with the nearest stamp, if that is within the tolerance (seconds).
    Labels that are asked for in order are read sequentially, others by seeking.

    images: stamps (ns) of all images, sorted; not needed without a tolerance.
    """

    def __init__(
        self,
        reader: BagReader,
        options: SourceOptions,
        coding: LabelCoding,
        images: Sequence[int],
    ) -> None:
        self._reader = reader
        self._topic = options.label_topic
        self._tolerance = round(options.label_tolerance * 1e9)
        self._coding = coding
        self._images = images
        self._places: Dict[int, _Place] = {}  # by the stamp of the image
        self._lost: List[str] = []
        self._cursor: Iterator[Tuple[int, Entry]] = iter(())
        self._next_order = -1
        for order, entry in self._reader.entries(self._topic):
            if isinstance(entry, Lost):
                self._lost.append(entry.reason)
                continue
            stamp = entry_stamp(entry)
            if stamp is not None:
                self._assign(_Place(stamp, order))

    def read(self, stamp: Stamp, size: Tuple[int, int]) -> Labels:
        """Labels of the image stamped `stamp` of (height, width) `size`; raises LabelError."""
        place = self._places.get(stamp.ns)
        if place is None:
            raise LabelError(
                f'{self._topic} has no labels stamped {stamp.sec}.{stamp.nanosec:09d}'
                + self._loss()
            )
        message = deserialize(self._fetch(place).data, self._reader.topics[self._topic].msgtype)
        return self._coding.read_message(message, size, self._topic)

    def _loss(self) -> str:
        """How much of the topic is unreadable, for error messages; '' for nothing."""
        if not self._lost:
            return ''
        return f' ({len(self._lost)} of its messages cannot be read; {self._lost[0]})'

    def _assign(self, place: _Place) -> None:
        """Assign a label to its image, unless that has a nearer one."""
        image = self._nearest_image(place.stamp)
        if abs(image - place.stamp) > self._tolerance:
            return
        known = self._places.get(image, place)
        self._places[image] = min(known, place, key=lambda p: (abs(p.stamp - image), p))

    def _nearest_image(self, stamp: int) -> int:
        """Stamp of the image nearest to a stamp, the earlier of two; without images the stamp."""
        if not self._tolerance:
            return stamp
        following = bisect.bisect_left(self._images, stamp)
        near = self._images[max(following - 1, 0) : following + 1]
        return min(near, key=lambda image: abs(image - stamp), default=stamp)

    def _fetch(self, place: _Place) -> RawMessage:
        if place.order != self._next_order:
            self._cursor = self._reader.entries(self._topic, place.order)
        self._next_order = place.order + 1
        _, message = next(self._cursor)
        if isinstance(message, Lost):
            raise LabelError(message.reason)
        return message


def entry_stamp(entry: Entry) -> Optional[int]:
    """Stamp of a message in ns, its recording time if that is zero; None if it is unreadable."""
    if isinstance(entry, Lost) or len(entry.data) < HEADER_BYTES:
        return None
    return Stamp.of_message(entry.data).ns or entry.time


SpeedReadings = Tuple[np.ndarray, np.ndarray]
"""Stamps in seconds, sorted, and speeds in m/s, negative backwards: (n,) float64 each."""

_FEWEST_READINGS = 3


class OdometryTopics(NamedTuple):
    """Topics that give the vehicle's place.

    odometry: a topic of nav_msgs/Odometry, '' for none. transforms: those to use without it.
    """

    odometry: str
    transforms: TransformTopics

    @classmethod
    def of(cls, topics: Dict[str, Topic], transforms: TransformTopics) -> OdometryTopics:
        """The topic `/odom`, or the only one of its type; else the transforms."""
        typed = [n for n, t in topics.items() if t.msgtype == ODOMETRY_TYPE and t.messages]
        named = [name for name in typed if name.rpartition('/')[2] == ODOMETRY]
        chosen = min(named, key=len) if named else (typed[0] if len(typed) == 1 else '')
        return cls(chosen, transforms)


class BagOdometry:
    """The vehicle's place in an open bag, for rising stamps; reads only as far as needed.

    odometry_frame: in which transforms give the place. vehicle_frame: whose place it is.
    """

    def __init__(
        self,
        bag: BagReader,
        topics: OdometryTopics,
        odometry_frame: str,
        vehicle_frame: str,
    ) -> None:
        self._bag = bag
        self._topics = topics
        self._frames = (odometry_frame, vehicle_frame)
        self._track = PoseTrack()
        self._poses = self._of_odometry() if topics.odometry else self._of_transforms()

    def at(self, stamp_ns: int) -> Optional[PlanarPose]:
        """The place at a stamp; None where the bag does not have it."""
        while self._track.awaits(stamp_ns):
            entry = next(self._poses, None)
            if entry is None:
                break
            self._track.add(*entry)
        return self._track.at(stamp_ns)

    def _of_odometry(self) -> Iterator[Tuple[int, PlanarPose]]:
        for message in self._bag.messages(self._topics.odometry):
            with suppress(SourceError):
                odometry = deserialize(message.data, ODOMETRY_TYPE)
                pose, child = pose_of_odometry(odometry), odometry.child_frame_id.lstrip('/')
                if pose is not None and child in ('', self._frames[1]):
                    yield _stamp(odometry), pose

    def _of_transforms(self) -> Iterator[Tuple[int, PlanarPose]]:
        tree = TransformTree()
        for transforms in recorded_transforms(self._bag, self._topics.transforms.static):
            for stamped in transforms:
                tree.add(stamped)
        for transforms in recorded_transforms(self._bag, self._topics.transforms.moving):
            for stamped in transforms:
                tree.add(stamped)
                pose = self._look_up(tree)
                # Only a transform that the vehicle's place depends on changes it.
                if pose is not None and tree.carries(self._frames[1], stamped):
                    yield _stamp(stamped), pose

    def _look_up(self, tree: TransformTree) -> Optional[PlanarPose]:
        with suppress(TransformError):
            transform = tree.look_up(*self._frames)
            x, y, z, w = transform.quaternion.tolist()
            return PlanarPose.of_quaternion(transform.translation.tolist(), (x, y, z, w))
        return None


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def recorded_speeds(bag: BagReader, topic: str = '') -> Optional[SpeedReadings]:
    """Speeds by a topic of nav_msgs/Odometry, '' for the only one; None where there is none.

    Where all twists are zero, from the distances between poses. Raises SourceError.
    """
    typed = [name for name, one in bag.topics.items() if one.msgtype == ODOMETRY_TYPE]
    if not (topic or typed):
        return None
    if topic and topic not in typed:
        raise SourceError(
            f'{topic} is not a topic of type {ODOMETRY_TYPE}; the bag has '
            f'{", ".join(typed) or "none"}'
        )
    if not topic and len(typed) > 1:
        raise SourceError(
            f'{bag.path} has several topics of type {ODOMETRY_TYPE}: {", ".join(typed)}; name one'
        )
    messages = bag.messages(topic or typed[0])
    return _speeds([deserialize(message.data, ODOMETRY_TYPE) for message in messages])


def _speeds(odometry: List[Any]) -> Optional[SpeedReadings]:
    """Speeds by nav_msgs/Odometry messages; None where there are too few."""
    stamps = np.array([one.header.stamp.sec + one.header.stamp.nanosec * 1e-9 for one in odometry])
    twists = np.array([(one.twist.twist.linear.x, one.twist.twist.linear.y) for one in odometry])
    places = [one.pose.pose.position for one in odometry]
    stamps, order = np.unique(stamps, return_index=True)  # (n,) seconds, sorted
    if len(stamps) < _FEWEST_READINGS:
        return None
    x, y = twists[order].T  # (n,) m/s each
    speeds = np.copysign(np.hypot(x, y), x)  # (n,) m/s
    if not speeds.any():  # the odometry has poses only
        positions = np.array([(places[index].x, places[index].y) for index in order])  # (n, 2) m
        speeds = np.linalg.norm(np.gradient(positions, stamps, axis=0), axis=1)
    known = np.isfinite(speeds)
    return (stamps[known], speeds[known]) if known.any() else None
