"""Which topics of a bag are the camera, its calibration and the labels."""

from __future__ import annotations

from typing import Dict, List, NamedTuple

from segformer_ros.recordings.bag_storage import Topic
from segformer_ros.recordings.source import SourceError
from segformer_ros.topics import CAMERA_INFO, CONFIDENCE, LABELS, MASK, OVERLAY

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'

_TRANSPORTS = ('', '/compressed', '/zstd')
"""Endings of the topics of one camera, as image_transport names them, the preferred first."""
_NAMED = 50
"""Topics that a message names."""
_DEPTH = '/compressedDepth'
_OUTPUTS = (MASK, CONFIDENCE, OVERLAY, LABELS)
"""What this package itself records beside the camera's image."""


class Choice(NamedTuple):
    """The image topic that is read, and why not another one; '' where there is none."""

    topic: str
    note: str = ''


def choose_image_topic(
    topics: Dict[str, Topic], wanted: str, where: str, labels: str = ''
) -> Choice:
    """The wanted image topic, or that of the only camera; raises SourceError naming what there is.

    labels: the topic of the labels, which is no camera. A topic without messages is none either:
    `ros2 bag record` writes down whatever was announced.
    """
    if wanted:
        _check_image_topic(topics, wanted, where)
        return Choice(wanted)
    images = [
        name
        for name, topic in topics.items()
        if topic.msgtype in IMAGE_TYPES
        and name != labels
        and not name.endswith(_DEPTH)
        and not base_topic(name).endswith(_OUTPUTS)
    ]
    cameras: Dict[str, str] = {}  # the preferred topic of each
    for name in sorted(images, key=_preference):
        if topics[name].messages:
            cameras.setdefault(base_topic(name), name)
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
    return Choice(chosen, f'{chosen} is read; {", ".join(others)}' if others else '')


def check_label_topic(topics: Dict[str, Topic], wanted: str, where: str) -> None:
    """Raises SourceError unless the label topic is there and holds images."""
    _check_image_topic(topics, wanted, where)


def find_info_topic(topics: Dict[str, Topic], image_topic: str) -> str:
    """The CameraInfo topic beside an image topic, else the only one of the bag, or ''."""
    infos = [
        name for name, topic in topics.items() if topic.msgtype == INFO_TYPE and topic.messages
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


def _check_image_topic(topics: Dict[str, Topic], wanted: str, where: str) -> None:
    if wanted not in topics:
        raise SourceError(f'{where} has no topic {wanted}; {_listing(topics)}')
    if topics[wanted].msgtype not in IMAGE_TYPES:
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
