"""Label info, with stand-ins for the types of vision_msgs where it is not installed."""

# Without `from __future__ import annotations`: a dataclass looks annotations that are text up in
# sys.modules, and pytest 6 (Ubuntu 22.04) enters no test module there.
from dataclasses import dataclass, field

import pytest
from node_rig import CITYSCAPES
from std_msgs.msg import Header

from segformer_ros.node.label_info import VisionMessages, label_info_message, vision_messages

pytestmark = pytest.mark.ros


@dataclass
class VisionClass:
    class_id: int
    class_name: str


@dataclass
class LabelInfo:
    header: Header = field(default_factory=Header)
    class_map: list[VisionClass] = field(default_factory=list)
    threshold: float = -1.0


def test_every_class_is_named_by_its_mask_value() -> None:
    types = vision_messages() or VisionMessages(LabelInfo, VisionClass)
    header = Header(frame_id='x')
    message = label_info_message(types, CITYSCAPES, header)
    assert message.header == header
    assert [(c.class_id, c.class_name) for c in message.class_map][:2] == [
        (0, 'road'),
        (1, 'sidewalk'),
    ]
    assert len(message.class_map) == 19
    assert message.threshold == 0.0
