# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What this package relies on of tf2: asked of the stand-in, and of the real one where it is."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time

pytestmark = pytest.mark.ros

SECOND = 10**9


@pytest.fixture(params=['tf2_stand_in', 'tf2_ros'])
def tf2(request: pytest.FixtureRequest) -> Any:
    """Return the module that is asked."""
    try:
        return importlib.import_module(request.param)
    except ImportError:
        pytest.skip('tf2_ros is not installed')


@pytest.fixture
def node(ros: None) -> Iterator[Node]:
    """Make a node that ends with the test."""
    made = rclpy.create_node('tf2_asker')
    yield made
    made.destroy_node()


def link(seconds: float = 0.0, height: float = 1.0, turn: float = 0.0) -> TransformStamped:
    """Camera in base_link: height in m, turned about x by rad."""
    message = TransformStamped(child_frame_id='camera')
    message.header.frame_id = 'base_link'
    message.header.stamp = Time(nanoseconds=round(seconds * SECOND)).to_msg()
    message.transform.translation.z = height
    message.transform.rotation.x = math.sin(turn / 2)
    message.transform.rotation.w = math.cos(turn / 2)
    return message


def asked(buffer: Any, seconds: float) -> TransformStamped:
    """Camera in base_link at a time; 0 is the newest."""
    return buffer.lookup_transform(
        'base_link', 'camera', Time(nanoseconds=round(seconds * SECOND))
    )


def test_between_two_stamps_it_is_interpolated(tf2: Any) -> None:
    buffer = tf2.Buffer()
    buffer.set_transform(link(100.0, 1.0, 0.0), 'test')
    buffer.set_transform(link(101.0, 2.0, 0.2), 'test')
    found = asked(buffer, 100.5)
    assert found.transform.translation.z == pytest.approx(1.5)
    assert 2 * math.asin(found.transform.rotation.x) == pytest.approx(0.1, abs=1e-3)
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (100, SECOND // 2)


def test_at_time_zero_it_is_the_newest_with_its_stamp(tf2: Any) -> None:
    buffer = tf2.Buffer()
    buffer.set_transform(link(100.0, 1.0), 'test')
    buffer.set_transform(link(101.0, 2.0), 'test')
    found = asked(buffer, 0.0)
    assert (found.transform.translation.z, found.header.stamp.sec) == (2.0, 101)


@pytest.mark.parametrize(
    ('seconds', 'words'), [(99.0, 'into the past'), (102.0, 'into the future')]
)
def test_outside_of_what_is_known_nothing_is_guessed(tf2: Any, seconds: float, words: str) -> None:
    buffer = tf2.Buffer()
    for time in (100.0, 101.0):
        buffer.set_transform(link(time), 'test')
    with pytest.raises(tf2.ExtrapolationException, match=f'extrapolation {words}'):
        asked(buffer, seconds)


def test_a_frame_that_was_never_heard_of_does_not_exist(tf2: Any) -> None:
    with pytest.raises(tf2.LookupException, match='does not exist'):
        asked(tf2.Buffer(), 100.0)


def test_frames_of_two_trees_are_not_connected(tf2: Any) -> None:
    buffer = tf2.Buffer()
    buffer.set_transform_static(link(), 'test')
    other = link()
    other.header.frame_id, other.child_frame_id = 'map', 'marker'
    buffer.set_transform_static(other, 'test')
    with pytest.raises(tf2.TransformException):
        buffer.lookup_transform('map', 'camera', Time())


def test_what_is_static_always_holds(tf2: Any) -> None:
    buffer = tf2.Buffer()
    buffer.set_transform_static(link(100.0, 1.2), 'test')
    assert asked(buffer, 5000.0).transform.translation.z == 1.2


def test_what_is_much_older_than_the_newest_is_not_taken(tf2: Any) -> None:
    """After a jump back in time that is all that comes, until the buffer is cleared."""
    buffer = tf2.Buffer()
    buffer.set_transform(link(100.0), 'test')
    for time in (5.0, 6.0):
        buffer.set_transform(link(time), 'test')
    with pytest.raises(tf2.TransformException):
        asked(buffer, 5.5)


def test_after_a_clear_older_ones_are_taken_and_static_ones_still_hold(tf2: Any) -> None:
    buffer = tf2.Buffer()
    buffer.set_transform(link(100.0), 'test')
    fixed = link()
    fixed.child_frame_id = 'fixed'
    buffer.set_transform_static(fixed, 'test')
    buffer.clear()
    with pytest.raises(tf2.TransformException):
        asked(buffer, 100.0)
    for time in (5.0, 6.0):
        buffer.set_transform(link(time, 1.3), 'test')
    assert asked(buffer, 5.5).transform.translation.z == 1.3
    assert buffer.lookup_transform('base_link', 'fixed', Time()).transform.rotation.w == 1.0


def test_a_buffer_and_its_listener_are_made_with_a_node(tf2: Any, node: Node) -> None:
    buffer = tf2.Buffer(node=node)
    listener = tf2.TransformListener(buffer, node)
    listener.unregister()
    assert node.destroy_service(buffer.srv)


def test_every_error_is_of_one_kind(tf2: Any) -> None:
    for name in ('LookupException', 'ExtrapolationException', 'ConnectivityException'):
        assert issubclass(getattr(tf2, name), tf2.TransformException)
