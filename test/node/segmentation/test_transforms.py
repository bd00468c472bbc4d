"""Poses from TF, with a small stand-in for the tf2 buffer (tf2 is not everywhere)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.time import Time

from segformer_ros.camera import CalibrationError, CameraPose
from segformer_ros.frame import Stamp
from segformer_ros.node.segmentation.transforms import (
    PoseError,
    TransformSource,
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


def test_missing_transform_says_what_to_do() -> None:
    transforms = source(refuse('"camera" does not exist'))
    with pytest.raises(
        PoseError,
        match='no transform from camera to base_link .*"camera" does '
        'not exist; publish it, or set drivable.use_tf to false',
    ):
        look_up_pose(transforms, 'base_link', 'camera', STAMP)


def moving(latest_ns: int, comes_after: int = 1_000_000) -> Callable[[int], TransformStamped]:
    """Answers of a buffer whose latest transform is of `latest_ns`.

    comes_after: how often it is asked before the transform of the asked stamp is there.
    """
    asked: list[int] = []

    def answer(time: int) -> TransformStamped:
        message = optical_transform()
        if time == 0:
            message.header.stamp = Time(nanoseconds=latest_ns).to_msg()
            return message
        asked.append(time)
        if len(asked) <= comes_after:
            raise TransformError('extrapolation')
        return message

    return answer


def test_transform_that_comes_a_little_later_is_waited_for() -> None:
    transforms = source(moving(STAMP.ns - 20_000_000, comes_after=2))
    assert look_up_pose(transforms, 'base_link', 'camera', STAMP, timeout=10.0).height == 1.5


def test_the_wait_has_an_end() -> None:
    with pytest.raises(PoseError, match='extrapolation'):
        look_up_pose(
            source(moving(STAMP.ns - 20_000_000)), 'base_link', 'camera', STAMP, timeout=0.02
        )


@pytest.mark.parametrize(
    'answer',
    [
        pytest.param(refuse('"camera" does not exist'), id='never published'),
        pytest.param(moving(STAMP.ns + 1), id='only from the future'),
        pytest.param(moving(STAMP.ns - 2_000_000_000), id='silent for two seconds'),
    ],
)
def test_what_is_not_on_its_way_is_not_waited_for(
    answer: Callable[[int], TransformStamped],
) -> None:
    """The worker serves all cameras; a wait for each frame would cost them theirs."""
    transforms = source(answer)
    with pytest.raises(PoseError):
        look_up_pose(transforms, 'base_link', 'camera', STAMP, timeout=60.0)
    assert len(transforms.buffer.asked) == 2


def test_a_source_that_is_closed_gives_its_subscriptions_back() -> None:
    class Listener:
        closed = 0

        def unregister(self) -> None:
            self.closed += 1

    listener = Listener()
    TransformSource(None, (), listener).close()
    TransformSource(None, ()).close()
    assert listener.closed == 1


def test_image_without_frame_id() -> None:
    with pytest.raises(PoseError, match='has no frame_id'):
        look_up_pose(source(lambda time: optical_transform()), 'base_link', '', STAMP)


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
