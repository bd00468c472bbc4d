# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Poses from TF: when there is one, when it is late, and what becomes of it when time jumps."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator

import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time

from segformer_ros.camera import CalibrationError, CameraPose
from segformer_ros.frame import Stamp
from segformer_ros.node.segmentation.transforms import (
    LateTransformError,
    PoseError,
    TransformSource,
    listen_to_tf,
    look_up_ground,
    look_up_pose,
)

pytestmark = pytest.mark.ros

STAMP = Stamp(100, 500_000_000)


class TransformError(Exception):
    """Stands for tf2's TransformException."""


class Buffer:
    """Looks transforms up as tf2_ros.Buffer does, from what `answer` gives for a time in ns."""

    def __init__(self, answer: Callable[[int], TransformStamped]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, str, int]] = []

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        self.asked.append((target, source, time.nanoseconds))
        return self._answer(time.nanoseconds)


def optical_transform(height: float = 1.5, pitch: float = 0.0) -> TransformStamped:
    """Transform of an optical frame at a height, looking forward and down by `pitch`."""
    message = TransformStamped()
    message.transform.translation.x = 0.3
    message.transform.translation.z = height
    # Optical axes in the body: a turn by -90 degrees about z and x; then the pitch about body y.
    c, s = math.cos(pitch / 2) / 2, math.sin(pitch / 2) / 2
    rotation = message.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = -c - s, c + s, -c + s, c - s
    return message


def source(answer: Callable[[int], TransformStamped]) -> TransformSource:
    return TransformSource(Buffer(answer), (TransformError,))


def refuse(text: str) -> Callable[[int], TransformStamped]:
    def answer(time: int) -> TransformStamped:
        raise TransformError(text)

    return answer


@pytest.mark.parametrize('pitch', [0.0, 0.2, -0.1])
def test_pose_of_a_camera_over_the_ground(pitch: float) -> None:
    transforms = source(lambda time: optical_transform(pitch=pitch))
    pose = look_up_pose(transforms, 'base_link', 'camera', STAMP)
    assert pose.height == pytest.approx(1.5)
    assert pose.x == pytest.approx(0.3)
    assert pose.pitch == pytest.approx(pitch, abs=1e-9)
    assert pose.roll == pytest.approx(0, abs=1e-9)
    assert pose.yaw == pytest.approx(0, abs=1e-9)
    assert isinstance(pose, CameraPose)


def test_asked_at_the_stamp_of_the_frame() -> None:
    transforms = source(lambda time: optical_transform())
    look_up_pose(transforms, 'base_link', 'camera', STAMP)
    assert transforms.buffer.asked == [('base_link', 'camera', STAMP.ns)]


def test_missing_transform_is_no_late_one() -> None:
    transforms = source(refuse('"camera" does not exist'))
    with pytest.raises(
        PoseError, match='no transform from camera to base_link .*"camera" does not exist'
    ) as caught:
        look_up_pose(transforms, 'base_link', 'camera', STAMP)
    assert not isinstance(caught.value, LateTransformError)


def until(latest_ns: int) -> Callable[[int], TransformStamped]:
    """Answers of a buffer whose latest transform is of `latest_ns`, and its only one."""

    def answer(time: int) -> TransformStamped:
        if time:
            raise TransformError('extrapolation')
        message = optical_transform()
        message.header.stamp = Time(nanoseconds=latest_ns).to_msg()
        return message

    return answer


@pytest.mark.parametrize(
    ('behind', 'late'),
    [
        pytest.param(20_000_000, True, id='a moment behind'),
        pytest.param(150_000_000, True, id='as a localisation is'),
        pytest.param(-1, False, id='only from the future'),
        pytest.param(2_000_000_000, False, id='silent for two seconds'),
    ],
)
def test_a_transform_is_expected_where_it_has_come_of_late(behind: int, late: bool) -> None:
    with pytest.raises(PoseError, match='extrapolation') as caught:
        look_up_pose(source(until(STAMP.ns - behind)), 'base_link', 'camera', STAMP)
    assert isinstance(caught.value, LateTransformError) == late


# --- What is listened to ------------------------------------------------------------------------


@pytest.fixture(params=['tf2_stand_in', 'tf2_ros'])
def heard(request: pytest.FixtureRequest, ros: None) -> Iterator[tuple[Node, TransformSource]]:
    """Make a node in simulated time that listens: to the stand-in, and to tf2 where it is."""
    module = pytest.importorskip(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'tf2_ros', module)
        node = rclpy.create_node('listener')
        clock = node.get_clock()
        clock._set_ros_time_is_active(True)
        found = listen_to_tf(node)
        assert found is not None
        yield node, found
        found.close()
        node.destroy_node()


def pass_time(node: Node, source: TransformSource, seconds: float, height: float) -> None:
    """Set the node's clock, and give a transform of that time and one a second later."""
    node.get_clock().set_ros_time_override(Time(nanoseconds=round(seconds * 1e9)))
    for moment in (seconds, seconds + 1):
        message = optical_transform(height)
        message.header.frame_id, message.child_frame_id = 'base_link', 'camera'
        message.header.stamp = Time(nanoseconds=round(moment * 1e9)).to_msg()
        source.buffer.set_transform(message, 'test')


def height_at(source: TransformSource, seconds: float) -> float:
    stamp = Stamp.from_ns(round(seconds * 1e9))
    return round(look_up_pose(source, 'base_link', 'camera', stamp).height, 3)


@pytest.mark.parametrize('back_to', [5.0, 99.0, 99.8])
def test_when_time_jumps_back_what_was_heard_is_forgotten(
    heard: tuple[Node, TransformSource], back_to: float
) -> None:
    """A bag that is played again, a simulator's reset: the old run is not mixed into the new."""
    node, source = heard
    fixed = optical_transform(0.7)
    fixed.header.frame_id, fixed.child_frame_id = 'base_link', 'fixed'
    source.buffer.set_transform_static(fixed, 'test')
    pass_time(node, source, 100.0, 1.5)
    assert height_at(source, 100.5) == 1.5
    pass_time(node, source, back_to, 2.0)
    assert height_at(source, back_to + 0.5) == 2.0
    with pytest.raises(PoseError):
        height_at(source, back_to + 1.1)
    assert look_up_pose(source, 'base_link', 'fixed', STAMP).height == pytest.approx(0.7)


def test_nothing_is_interpolated_over_a_jump_ahead(heard: tuple[Node, TransformSource]) -> None:
    node, source = heard
    pass_time(node, source, 100.0, 1.5)
    pass_time(node, source, 112.0, 2.0)
    assert height_at(source, 112.5) == 2.0
    with pytest.raises(PoseError):
        height_at(source, 108.0)


def test_time_that_goes_on_forgets_nothing(heard: tuple[Node, TransformSource]) -> None:
    node, source = heard
    for seconds in (100.0, 101.0, 103.0):
        pass_time(node, source, seconds, 1.5)
    assert height_at(source, 100.5) == height_at(source, 103.5) == 1.5


def test_a_source_that_is_closed_gives_all_back(heard: tuple[Node, TransformSource]) -> None:
    node, source = heard
    source.close()
    assert [service.srv_name for service in node.services if 'tf2' in service.srv_name] == []
    assert [one.topic_name for one in node.subscriptions if one.topic_name.startswith('/tf')] == []
    pass_time(node, source, 100.0, 1.5)
    node.get_clock().set_ros_time_override(Time(nanoseconds=10**9))
    assert height_at(source, 100.5) == 1.5  # nobody clears it any more


def test_without_tf2_nothing_is_listened_to(monkeypatch: pytest.MonkeyPatch, ros: None) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    node = rclpy.create_node('listener')
    assert listen_to_tf(node) is None
    node.destroy_node()


# --- What is no camera over the ground ----------------------------------------------------------


def test_image_without_frame_id() -> None:
    with pytest.raises(PoseError, match='has no frame_id'):
        look_up_pose(source(lambda time: optical_transform()), 'base_link', '', STAMP)


def test_image_with_a_negative_stamp() -> None:
    transforms = source(lambda time: optical_transform())
    with pytest.raises(PoseError, match=r'stamp of the image is negative \(-5 s\)'):
        look_up_pose(transforms, 'base_link', 'camera', Stamp(-5, 0))


def test_camera_below_the_ground() -> None:
    transforms = source(lambda time: optical_transform(height=-0.2))
    with pytest.raises(CalibrationError, match='height -0.2 m is not above the ground'):
        look_up_pose(transforms, 'base_link', 'camera', STAMP)


def test_body_frame_of_a_camera_is_named() -> None:
    def answer(time: int) -> TransformStamped:
        message = TransformStamped()
        message.transform.translation.z = 1.2
        return message

    with pytest.raises(CalibrationError, match='the frame cam_link looks 90 degrees up'):
        look_up_pose(source(answer), 'base_link', 'cam_link', STAMP)


@pytest.mark.parametrize(
    ('frame', 'height', 'words'),
    [('base_link', 0.35, 'base_link is 0.35 m above base_footprint'), ('base_link', 0.0, '')],
)
def test_vehicle_frame_off_the_ground(frame: str, height: float, words: str) -> None:
    def answer(time: int) -> TransformStamped:
        message = TransformStamped()
        message.transform.translation.z = height
        return message

    transforms = source(answer)
    note = look_up_ground(transforms, frame)
    assert note is not None and (words in note if words else note == '')
    assert transforms.buffer.asked == [('base_footprint', frame, 0)]


def test_ground_that_tf_does_not_know() -> None:
    assert look_up_ground(source(refuse('"base_footprint" does not exist')), 'base_link') is None
    assert look_up_ground(source(refuse('not asked')), 'base_footprint') == ''
