# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which topics of a bag are the camera, its calibration and the labels; reading the labels."""

from __future__ import annotations

import bisect
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from segformer_ros.frame import HEADER_BYTES, Stamp
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import Entry, Lost, RawMessage, Topic, deserialize
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
    OVERLAY,
    VIDEO_TYPE,
)

_LABEL_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
IMAGE_TYPES = (*_LABEL_TYPES, VIDEO_TYPE, FFMPEG_TYPE)

_TRANSPORTS = ('', '/compressed', '/foxglove', '/ffmpeg', '/video', '/h264', '/zstd')
"""Endings of the topics of one camera, as image_transport names them, the preferred first."""
_NAMED = 50
"""Topics that a message names."""
_DEPTH = '/compressedDepth'
_DEPTH_WORDS = "depth images (16UC1 or 32FC1); give a bag with the camera's pictures"
_OUTPUTS = (MASK, CONFIDENCE, OVERLAY, LABELS)
"""What this package itself records beside the camera's image."""


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
    """The wanted image topic, or that of the only camera; raises SourceError naming what there is.

    labels: the topic of the labels, which is no camera. holds_depth: tells of a topic whether its
    images are distances. A topic without messages does not count as a camera: `ros2 bag record`
    also lists topics that were only announced.
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
    """Raises SourceError unless the label topic is there and holds images."""
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
    """Place of a topic's ending among the transports."""
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
    """Where a label message lies: its stamp (ns) and its place in the topic."""

    stamp: int
    order: int


class BagLabels:
    """Label images of one topic, read as the images that they belong to come by.

    A label belongs to the one image that is nearest to it, if that is within the tolerance
    (seconds). Reads on from message to message where the labels are asked for in order, and jumps
    where they are not.

    images: stamps (ns) of all images, rising; not needed without a tolerance.
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
        """What is lost of the topic, for messages; '' for nothing."""
        if not self._lost:
            return ''
        return f' ({len(self._lost)} of its messages cannot be read; {self._lost[0]})'

    def _assign(self, place: _Place) -> None:
        """Give a label to its image, unless that has a nearer one."""
        image = self._nearest_image(place.stamp)
        if abs(image - place.stamp) > self._tolerance:
            return
        known = self._places.get(image, place)
        self._places[image] = min(known, place, key=lambda p: (abs(p.stamp - image), p))

    def _nearest_image(self, stamp: int) -> int:
        """Stamp of the image nearest to a stamp, the earlier of two; without images the same."""
        if not self._tolerance:
            return stamp
        at = bisect.bisect_left(self._images, stamp)
        near = self._images[max(at - 1, 0) : at + 1]
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
    """Stamp of a message in ns, that of its recording where it has none; None of a broken one."""
    if isinstance(entry, Lost) or len(entry.data) < HEADER_BYTES:
        return None
    return Stamp.of_message(entry.data).ns or entry.time
