"""Which topics of a bag are the camera, its calibration and the labels."""

from __future__ import annotations

from typing import Dict, List

from segformer_ros.sources.bag_storage import Topic
from segformer_ros.sources.base import SourceError
from segformer_ros.topics import CAMERA_INFO, CONFIDENCE, LABELS, MASK, OVERLAY

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'

_COMPRESSED = '/compressed'
_OUTPUTS = (MASK, CONFIDENCE, OVERLAY, LABELS)
"""What this package itself records beside the camera's image."""


def choose_image_topic(topics: Dict[str, Topic], wanted: str, where: str) -> str:
    """The wanted image topic, or the only one; raises SourceError naming what there is."""
    if wanted:
        _check_image_topic(topics, wanted, where)
        return wanted
    images = [name for name, topic in topics.items() if topic.msgtype in IMAGE_TYPES]
    cameras = [name for name in images if not base_topic(name).endswith(_OUTPUTS)]
    # The raw image and the compressed one of the same camera are one choice: the raw image.
    choices = [
        name
        for name in cameras
        if not (name.endswith(_COMPRESSED) and base_topic(name) in cameras)
    ]
    if not choices:
        raise SourceError(f'{where} has no camera image topic; {_listing(topics)}')
    if len(choices) > 1:
        raise SourceError(
            f'{where} has {len(choices)} camera image topics, choose one as the topic: '
            f'{", ".join(choices)}'
        )
    if not topics[choices[0]].messages:
        raise SourceError(f'{where} is empty: its topic {choices[0]} has no message')
    return choices[0]


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
    return name[: -len(_COMPRESSED)] if name.endswith(_COMPRESSED) else name


def _check_image_topic(topics: Dict[str, Topic], wanted: str, where: str) -> None:
    if wanted not in topics:
        raise SourceError(f'{where} has no topic {wanted}; {_listing(topics)}')
    if topics[wanted].msgtype not in IMAGE_TYPES:
        raise SourceError(
            f'topic {wanted} of {where} holds {topics[wanted].msgtype}, not images; '
            f'{_listing(topics)}'
        )
    if not topics[wanted].messages:
        raise SourceError(f'topic {wanted} of {where} has no message')


def _listing(topics: Dict[str, Topic]) -> str:
    if not topics:
        return 'it has no topic at all'
    names: List[str] = [f'{name} ({topic.msgtype})' for name, topic in topics.items()]
    return f'it has {", ".join(names)}'
