"""ROS 2's message types, with any rosbags."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace

import pytest
import rosbags.typesys

from segformer_ros.recordings.bag_storage import field_names, ros_types

FIELDS = ['header', 'format', 'data']


def test_fields_of_a_message() -> None:
    assert field_names(ros_types(), 'sensor_msgs/msg/CompressedImage') == FIELDS


def test_a_rosbags_without_jazzy_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stores(Enum):
        ROS2_FOXY = 'ros2_foxy'
        ROS2_HUMBLE = 'ros2_humble'

    monkeypatch.setattr(rosbags.typesys, 'Stores', Stores)
    monkeypatch.setattr(rosbags.typesys, 'get_typestore', lambda store: store)
    assert ros_types() is Stores.ROS2_HUMBLE


def test_fields_in_a_rosbags_before_0_10() -> None:
    old = SimpleNamespace(FIELDDEFS={'a/msg/B': ([], [('x', (1, 2)), ('y', (1, 2))])})
    assert field_names(old, 'a/msg/B') == ['x', 'y']
