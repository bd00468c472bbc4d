"""The camera's mount as a transform."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segformer_ros.camera import CameraPose, pose_from_transform
from segformer_ros.recording.mount import mount_message, quaternion

POSES = [
    CameraPose(1.4),
    CameraPose(0.5, pitch=0.3, roll=-0.2, yaw=2.9, x=1.0, y=-0.5),
    CameraPose(2.0, pitch=-0.7, yaw=-1.6),
    CameraPose(1.0, roll=3.0),
]


@pytest.mark.parametrize('pose', POSES)
def test_the_pose_comes_back_from_its_transform(pose: CameraPose) -> None:
    transform = mount_message(pose, 'base_link', 'camera', 5_000_000_007).transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ('base_link', 'camera')
    assert (transform.header.stamp.sec, transform.header.stamp.nanosec) == (5, 7)
    place, turn = transform.transform.translation, transform.transform.rotation
    found = pose_from_transform((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
    assert np.allclose(found.rotation(), pose.rotation(), atol=1e-9)
    assert np.allclose(found.position, pose.position)


def test_half_turns_have_a_unit_quaternion() -> None:
    for axis in range(3):
        rotation = -np.eye(3)
        rotation[axis, axis] = 1.0
        found = quaternion(rotation)
        assert math.isclose(sum(part * part for part in found), 1.0)
        assert abs(found[axis]) == pytest.approx(1.0)
