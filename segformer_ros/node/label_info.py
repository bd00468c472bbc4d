"""Label info: the class names of the mask's values, for those who have vision_msgs."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from std_msgs.msg import Header

from segformer_ros.classes import ClassMap


class VisionMessages(NamedTuple):
    """The two message types of vision_msgs that are used."""

    label_info: Any
    vision_class: Any


def vision_messages() -> Optional[VisionMessages]:
    """Import vision_msgs (4.1 and later has LabelInfo); None where it is not installed."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    return VisionMessages(LabelInfo, VisionClass)


def label_info_message(types: VisionMessages, class_map: ClassMap, header: Header) -> Any:
    """vision_msgs/LabelInfo of a class map. A value that is not in it (255) has no label."""
    message = types.label_info()
    message.header = header
    message.class_map = [
        types.vision_class(class_id=entry.train_id, class_name=entry.name)
        for entry in class_map.classes
    ]
    message.threshold = 0.0
    return message
