# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Filling messages: sizes, buffers, JPEG, and calibrations of resized images."""

from __future__ import annotations

import random

# Without ``: a dataclass looks annotations that are text up in
# sys.modules, and pytest 6 (Ubuntu 22.04) enters no test module there.
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from listener_rig import ListenerRig
from node_rig import CITYSCAPES
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from segformer_ros.node.evaluator.evaluator_node import EvaluatorNode
from segformer_ros.node.messages import (
    LATCHED,
    ImageBuffer,
    VisionMessages,
    byte_array,
    guarded,
    jpeg_message,
    label_info_message,
    vision_messages,
)

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]

HEADER = Header(frame_id='camera')


@pytest.mark.parametrize(('encoding', 'shape'), [('mono8', (4, 6)), ('bgr8', (4, 6, 3))])
def test_buffer_is_the_memory_of_the_message(encoding: str, shape: tuple[int, ...]) -> None:
    buffer = ImageBuffer(encoding)
    pixels = buffer.resize(4, 6)
    assert pixels.shape == shape
    pixels[...] = np.arange(pixels.size).reshape(shape)
    message = buffer.stamped(HEADER)
    assert np.shares_memory(np.frombuffer(message.data, np.uint8), pixels)
    assert list(message.data) == list(range(pixels.size))
    assert (message.height, message.width) == (4, 6)
    assert message.step == len(message.data) // 4
    assert message.header.frame_id == 'camera'


def test_buffer_is_kept_for_frames_of_one_size_and_changed_for_others() -> None:
    buffer = ImageBuffer('mono8')
    first = buffer.resize(4, 6)
    assert buffer.resize(4, 6) is first
    assert buffer.resize(8, 2).shape == (8, 2)
    assert len(buffer.stamped(HEADER).data) == 16


def test_jpeg_quality_makes_files_smaller() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    small, large = (jpeg_message(HEADER, pixels, quality) for quality in (10, 95))
    assert len(small.data) < len(large.data)
    decoded = cv2.imdecode(np.frombuffer(large.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == pixels.shape


def test_arrays_of_numbers_keep_their_values() -> None:
    values = np.array([1.5, np.inf, -2.0], np.float32)
    assert byte_array(values, 'f').tolist() == values.tolist()
    assert byte_array(np.zeros(0, np.float32), 'f').tolist() == []
    assert byte_array(np.array([[1, -1], [0, 100]], np.int8).T, 'b').tolist() == [1, 0, -1, 100]


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def get_logger(self) -> Logger:
        return self

    def warning(self, line: str, **_: Any) -> None:
        self.lines.append(line)


def test_an_error_is_a_line() -> None:
    node: Any = Logger()

    def broken(message: str) -> None:
        raise KeyError('\x1b[2J' + 'x' * 10**6)

    guarded(node, 'image', broken)('message')
    (line,) = node.lines
    assert line.startswith('a message on image is left out: KeyError: ')
    assert line.isprintable()
    assert len(line) < 1200


def test_interrupts_are_not_held_up() -> None:
    def interrupted(message: str) -> None:
        raise KeyboardInterrupt

    node: Any = Logger()
    with pytest.raises(KeyboardInterrupt):
        guarded(node, 'image', interrupted)('message')


@pytest.mark.skipif(not hasattr(Subscription, 'CallbackType'), reason='ROS 2 Humble')
def test_rclpy_still_sees_how_many_arguments_there_are() -> None:
    kinds = Subscription.CallbackType

    def kind_of(callback: Any) -> Any:
        subscription = Subscription.__new__(Subscription)
        subscription.callback = guarded(None, 'image', callback)
        return subscription._callback_type

    assert kind_of(lambda message: None) is kinds.MessageOnly
    assert kind_of(lambda message, info: None) is kinds.WithMessageInfo


def test_an_evaluator_outlives_what_it_is_sent(tmp_path: Path) -> None:
    rig = ListenerRig(EvaluatorNode, output=str(tmp_path))
    chance = random.Random(3)
    for text in ('', '{', '[]', '{"problems": 7}', '{"problems": [], "no": 1}', 'x' * 99):
        rig.send('replay/report', String(data=text), LATCHED)
    rig.send('image', Image(), qos_profile_sensor_data)
    for _ in range(30):
        data = bytes(chance.randrange(256) for _ in range(chance.randrange(16)))
        rig.send('image', data)
    assert not rig.node.done
    rig.close()


def label_info() -> SimpleNamespace:
    """Stands for an empty vision_msgs/LabelInfo."""
    return SimpleNamespace(header=Header(), class_map=[], threshold=-1.0)


def test_every_class_is_named_by_its_mask_value() -> None:
    types = vision_messages() or VisionMessages(label_info, SimpleNamespace)
    header = Header(frame_id='x')
    message = label_info_message(types, CITYSCAPES, header)
    assert message.header == header
    assert [(c.class_id, c.class_name) for c in message.class_map][:2] == [
        (0, 'road'),
        (1, 'sidewalk'),
    ]
    assert len(message.class_map) == 19
    assert message.threshold == 0.0
