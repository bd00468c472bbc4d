"""No bytes and no text in a message end a node."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from listener_rig import ListenerRig
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import String

from segformer_ros.node.evaluator_node import EvaluatorNode
from segformer_ros.node.guard import guarded
from segformer_ros.node.qos import LATCHED

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]


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
