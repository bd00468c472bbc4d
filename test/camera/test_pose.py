# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Poses: their signs, from transforms, which way up the camera is, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segformer_ros.camera import (
    BodySwing,
    Calibration,
    CalibrationError,
    CameraError,
    CameraPose,
    Tilt,
    footprint_note,
    footprint_of,
    pose_from_transform,
    swung,
)
from segformer_ros.camera.pose import mount_angles
from segformer_ros.recordings.bag_writer import quaternion


def test_pose_signs() -> None:
    forward, right = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
    np.testing.assert_allclose(CameraPose(1).rotation() @ forward, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(CameraPose(1).rotation() @ right, [0, -1, 0], atol=1e-12)
    assert (CameraPose(1, pitch=0.1).rotation() @ forward)[2] == pytest.approx(-math.sin(0.1))
    assert (CameraPose(1, roll=0.1).rotation() @ right)[2] == pytest.approx(-math.sin(0.1))
    assert (CameraPose(1, yaw=0.1).rotation() @ forward)[1] == pytest.approx(math.sin(0.1))


def test_pose_turns_yaw_then_pitch_then_roll() -> None:
    pose = CameraPose(1.5, pitch=0.3, roll=0.2, yaw=0.4, x=2, y=-1)
    rotation = pose.rotation()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    forward = rotation @ [0, 0, 1]
    assert math.atan2(forward[1], forward[0]) == pytest.approx(0.4)  # roll leaves it alone
    assert math.asin(-forward[2]) == pytest.approx(0.3)
    np.testing.assert_array_equal(pose.position, [2, -1, 1.5])


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'height': 0.0}, 'camera height 0.0 m is not above the ground'),
        ({'height': 1.5, 'pitch': math.nan}, 'camera pose pitch=nan'),
        ({'height': 1e300}, 'camera pose height=1e.300 is beyond 10000: give metres, radians'),
        ({'height': 5e-324}, 'is not above the ground'),
        ({'height': 1.5, 'x': -1e9}, 'camera pose x=-1e.09 is beyond'),
    ],
)
def test_impossible_poses_are_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(CameraError, match=words):
        CameraPose(**values)


@pytest.mark.parametrize(
    'pose',
    [
        CameraPose(1.2),
        CameraPose(0.3, pitch=0.4, roll=-0.1, yaw=2.8, x=1.0, y=-0.5),
        CameraPose(2.5, pitch=-0.2, roll=0.3, yaw=-1.0),
    ],
)
def test_pose_from_transform_inverts_the_rotation(pose: CameraPose) -> None:
    found = pose_from_transform(tuple(pose.position), quaternion_of(pose.rotation()))
    for name in ('height', 'pitch', 'roll', 'yaw', 'x', 'y'):
        assert getattr(found, name) == pytest.approx(getattr(pose, name), abs=1e-9)


def test_transform_of_a_level_optical_frame() -> None:
    """The usual rotation from a base frame to an optical frame: x right, y down, z forward."""
    pose = pose_from_transform((1.5, 0.0, 1.2), (-0.5, 0.5, -0.5, 0.5))
    assert (pose.x, pose.height) == (1.5, 1.2)
    assert (pose.pitch, pose.roll, pose.yaw) == pytest.approx((0, 0, 0), abs=1e-12)


@pytest.mark.parametrize(
    ('translation', 'quaternion', 'words'),
    [
        ((0, 0, 1), (0, 0, 0, 0), 'whose length is 0 and not 1'),
        ((0, 0, 1), (math.nan, 0, 0, 1), 'whose length is nan'),
        ((0, 0, -0.2), (-0.5, 0.5, -0.5, 0.5), 'camera height -0.2 m is not above the ground'),
        ((math.nan, 0, 1), (-0.5, 0.5, -0.5, 0.5), 'x=nan is not a finite number'),
    ],
)
def test_what_is_no_mount_is_refused(
    translation: tuple[float, ...], quaternion: tuple[float, ...], words: str
) -> None:
    with pytest.raises(CalibrationError, match=words):
        pose_from_transform(translation, quaternion)


def quaternion_of(matrix: np.ndarray) -> tuple[float, ...]:
    """x, y, z, w of a rotation matrix, from its eigenvector of eigenvalue 1 of 4x4 form."""
    m = matrix
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]],
            [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
            [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], np.trace(m)],
        ]
    )
    return tuple(np.linalg.eigh(k / 3)[1][:, -1])


@pytest.mark.parametrize(
    ('pose', 'quarters'),
    [
        (CameraPose(1.0), 0),
        (CameraPose(1.0, roll=math.pi), 2),
        (CameraPose(1.0, roll=-math.pi), 2),
        (CameraPose(1.0, roll=math.pi / 2), 3),  # its right side is down, and comes to the bottom
        (CameraPose(1.0, roll=-math.pi / 2), 1),
        (CameraPose(1.0, roll=math.radians(40)), 0),
        (CameraPose(1.0, roll=math.radians(140)), 2),
        (CameraPose(1.0, pitch=1.2, roll=math.pi), 2),
        (CameraPose(1.0, pitch=1.2, yaw=2.0), 0),
        # Straight down, the side towards the vehicle's origin, or its back, is near.
        (CameraPose(1.0, pitch=math.pi / 2), 0),
        (CameraPose(1.0, pitch=math.pi / 2, yaw=math.pi, x=1.5), 2),
        (CameraPose(1.0, pitch=math.pi / 2, yaw=math.pi, x=-1.5), 0),
        (CameraPose(1.0, pitch=math.pi / 2, y=1.5), 3),
    ],
)
def test_quarter_turns_bring_the_near_ground_down(pose: CameraPose, quarters: int) -> None:
    assert pose.quarter_turns == quarters


def body(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> tuple[float, ...]:
    """Quaternion of the body frame (x forward) of a camera, in the vehicle frame."""
    rotation = CameraPose(1.0, pitch, roll, yaw).rotation() @ CameraPose(1.0).rotation().T
    return quaternion_of(rotation)


@pytest.mark.parametrize('roll', [0.0, 0.1, math.pi, 3.0])
@pytest.mark.parametrize('pitch', [0.0, -0.1, 0.3, 0.7])
@pytest.mark.parametrize('yaw', [0.0, 1.6, 3.1, -0.8])
def test_body_frame_in_place_of_the_optical_one(roll: float, pitch: float, yaw: float) -> None:
    with pytest.raises(CalibrationError) as found:
        pose_from_transform((0.5, 0.3, 1.2), body(roll, pitch, yaw), 'cam_link')
    text = str(found.value)
    assert 'the frame cam_link looks ' in text and ' along its z axis' in text
    assert 'body frame of a camera (x forward)' in text
    assert "give the images the frame_id of the optical frame, usually called '..." in text


@pytest.mark.parametrize('roll', range(-180, 180, 30))
@pytest.mark.parametrize('pitch', [-0.3, 0.0, 0.4, 0.7])
def test_optical_frame_of_a_camera_at_any_roll_is_taken(roll: int, pitch: float) -> None:
    pose = CameraPose(1.2, pitch, math.radians(roll), 0.5)
    found = pose_from_transform(tuple(pose.position), quaternion_of(pose.rotation()))
    assert np.allclose(found.rotation(), pose.rotation())


@pytest.mark.parametrize(
    ('frame', 'footprint'),
    [
        ('base_link', 'base_footprint'),
        ('robot1/base_link', 'robot1/base_footprint'),
        ('robot1_base_link', 'robot1_base_footprint'),
        ('chassis', 'base_footprint'),
        ('base_footprint', ''),
        ('robot1/base_footprint', ''),
    ],
)
def test_footprint_of_a_vehicle(frame: str, footprint: str) -> None:
    assert footprint_of(frame) == footprint


def test_vehicle_frame_off_the_ground_is_noted_with_the_height() -> None:
    assert footprint_note('base_link', 'base_footprint', 0.001) == ''
    above = footprint_note('base_link', 'base_footprint', 0.35)
    assert above.startswith('base_link is 0.35 m above base_footprint, the ground: that is')
    below = footprint_note('base_link', 'base_footprint', -0.2)
    assert 'is 0.20 m below base_footprint' in below and 'too much in the height' in below


CAMERA = Calibration.pinhole(640, 360, 70)
LEVEL = CameraPose(1.0).rotation()


def orientation(pitch: float, roll: float = 0.0, yaw: float = 0.0) -> tuple[float, ...]:
    """Quaternion of a body, x, y, z, w."""
    return quaternion(CameraPose(1.0, pitch, roll, yaw).rotation() @ LEVEL.T)


STILL = Tilt(0.0, 0.0)


def filled(tilt: Tilt, usual: Tilt = STILL, **options: np.ndarray) -> BodySwing:
    """A swing that has seen the usual tilt for ten seconds, then another for one sample."""
    swing = BodySwing()
    for step in range(1000):
        swing.add(step / 100, orientation(*usual, 0.3), **options)
    swing.add(10.0, orientation(*tilt, 0.3), **options)
    return swing


def test_the_swing_is_what_differs_from_the_usual_tilt() -> None:
    slope = Tilt(-0.05, 0.02)  # uphill, on a camber
    swing = filled(Tilt(-0.02, 0.05), slope)
    assert swing.at(9.99) == pytest.approx((0, 0), abs=1e-9)
    assert swing.at(10.0) == pytest.approx((0.03, 0.03), abs=1e-4)
    assert swing.at(9.995) == pytest.approx((0.015, 0.015), abs=1e-4)


def test_an_imu_that_is_mounted_another_way_round() -> None:
    axes = CameraPose(1.0, yaw=math.pi / 2).rotation() @ LEVEL.T  # its x points left
    swing = BodySwing()
    body = CameraPose(1.0, 0.03, 0.01).rotation() @ LEVEL.T
    for step in range(1000):
        swing.add(step / 100, quaternion(axes), axes)
    swing.add(10.0, quaternion(body @ axes), axes)
    assert swing.at(10.0) == pytest.approx((0.03, 0.01), abs=1e-4)


@pytest.mark.parametrize('seconds', [-1.0, 10.03, 20.0])
def test_no_orientation_around_the_stamp(seconds: float) -> None:
    with pytest.raises(CameraError, match='no imu orientations around the stamp.*use_imu'):
        filled(Tilt(0.0, 0.0)).at(seconds)


def test_a_gap_is_not_filled() -> None:
    swing = filled(Tilt(0.0, 0.0))
    swing.add(10.3, orientation(0.0))
    with pytest.raises(CameraError, match='50 Hz or more'):
        swing.at(10.15)
    assert swing.at(10.3) == pytest.approx((0, 0), abs=1e-6)


def test_time_that_jumps_starts_anew() -> None:
    swing = filled(Tilt(0.0, 0.0))
    swing.add(2.0, orientation(0.04))
    assert swing.at(2.0) == (0, 0)
    with pytest.raises(CameraError):
        swing.at(9.99)


def test_what_is_no_orientation_of_a_vehicle() -> None:
    swing = BodySwing()
    with pytest.raises(CameraError, match='tilted by 180 degrees.*x forward, y left, z up'):
        swing.add(0.0, orientation(0.0, math.pi))
    with pytest.raises(CameraError, match='length is 0 and not 1'):
        swing.add(0.0, (0.0, 0.0, 0.0, 0.0))


def test_a_swung_camera_looks_where_the_body_takes_it() -> None:
    pose = CameraPose(1.4, pitch=0.05, roll=0.01, yaw=-0.3, x=1.5, y=0.2)
    found = swung(pose, Tilt(0.03, -0.02))
    body = CameraPose(1.0, 0.03, -0.02).rotation() @ LEVEL.T
    assert found.rotation() == pytest.approx(body @ pose.rotation())
    assert (found.height, found.x, found.y) == (1.4, 1.5, 0.2)
    assert mount_angles(found.rotation()) == pytest.approx((found.pitch, found.yaw, found.roll))
    straight = CameraPose(1.4, pitch=0.05)
    assert swung(straight, Tilt(0.03, 0.0)).pitch == pytest.approx(0.08)


def distance_errors(period: float, degrees: float = 2.0) -> tuple[float, float]:
    """RMS errors, m, of a contact 15 m ahead on a swinging vehicle: without the imu, and with."""
    rng = np.random.default_rng(4)
    mount, swing = CameraPose(1.4, pitch=0.03), BodySwing()

    def tilt(seconds: float) -> Tilt:
        phase = 2 * math.pi * seconds / period
        size = math.radians(degrees)
        return Tilt(size * math.sin(phase), size * math.sin(0.7 * phase + 1) / 2)

    errors = []
    for step in range(3000):  # an imu of 100 Hz with noise, on a slope of 5 %
        pitch, roll = np.array(tilt(step / 100)) + rng.normal(0, math.radians(0.1), 2)
        swing.add(step / 100, orientation(pitch - 0.05, roll, 0.1 * step / 100))
        if step > 500 and step % 10 == 0:
            stamp = step / 100 - 0.033
            true = swung(mount, tilt(stamp))
            place = (np.array([15.0, 0.0, 0.0]) - true.position) @ true.rotation()
            ray = CAMERA.unproject(CAMERA.project(place))
            errors.append([ahead(ray, one) - 15 for one in (mount, swung(mount, swing.at(stamp)))])
    without, with_imu = np.sqrt(np.square(errors).mean(axis=0))
    return float(without), float(with_imu)


def ahead(ray: np.ndarray, pose: CameraPose) -> float:
    """Where a ray meets the ground, m ahead; at most 100."""
    x, _, z = pose.rotation() @ ray
    return min(float(-pose.height * x / z), 100.0) if z < 0 else 100.0


@pytest.mark.parametrize('period', [0.7, 1.5, 3.0])
def test_the_error_at_15_m_falls_to_a_third(period: float) -> None:
    without, with_imu = distance_errors(period)
    print(f'swing of +-2 degrees in {period} s: {without:.2f} m without, {with_imu:.2f} m with')
    assert without > 2
    assert with_imu <= without / 3
