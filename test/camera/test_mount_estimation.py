# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How a camera is mounted, from its motions."""

from __future__ import annotations

import math
from typing import Any

import corridor
import numpy as np
import pytest

from segformer_ros.camera import CameraPose, EgoMotion, Measured, MotionError, estimate_mount

POSE = CameraPose(1.4, pitch=0.05, roll=0.02, yaw=-0.04)


def made(
    pose: CameraPose, count: int = 60, noise: float = 0.004, lever: float = 0.0, rate: float = 0.0
) -> list[EgoMotion]:
    """Motions of a camera, 1 m each in 0.1 s; noise: rad, of the direction.

    lever: m by which the camera is before the axle; rate: the rate of turn grows from 0 to it.
    """
    rng = np.random.default_rng(3)
    forward, left, up = pose.rotation()
    found = []
    for index in range(count):
        turn = rate * index / count
        way = forward + rng.normal(0, noise, 2) @ (left, up) + lever * turn * 0.1 * left
        ahead, side = rng.uniform(4, 12, 40), rng.uniform(-4, 4, 40)
        ground = np.outer(ahead, forward) + np.outer(side, left) - pose.height * up
        feet = np.outer(rng.uniform(8, 30, 5), forward) + np.outer(rng.uniform(3, 8, 5), left)
        edges = np.cross(feet, feet + up)
        edges /= np.linalg.norm(edges, axis=1, keepdims=True)
        rotation = turn * 0.1 * up
        found.append(EgoMotion(0.1, way / np.linalg.norm(way), rotation, noise, ground, edges))
    return found


def assert_found(pose: CameraPose, motions: list[EgoMotion], degrees: float) -> None:
    """The angles are those of the pose."""
    found = estimate_mount(motions)
    tolerance = math.radians(degrees)
    assert found.pitch.value == pytest.approx(pose.pitch, abs=tolerance)
    assert found.yaw.value == pytest.approx(pose.yaw, abs=tolerance)
    assert found.roll.value == pytest.approx(pose.roll, abs=tolerance)


@pytest.mark.parametrize(
    'pose',
    [
        POSE,
        CameraPose(0.4, pitch=-0.1, roll=-0.15),
        CameraPose(2.5, pitch=0.5, yaw=0.4),
        CameraPose(1.0, yaw=math.pi / 2 + 0.1, roll=0.05),  # looks left
        CameraPose(1.0, pitch=0.1, yaw=3.0),  # looks back
    ],
)
def test_any_mount(pose: CameraPose) -> None:
    assert_found(pose, made(pose), 0.15)


def test_a_drive_with_speed() -> None:
    found = estimate_mount(motions := drive_motions(), [corridor.SPEED] * len(motions))
    assert math.degrees(found.pitch.value - POSE.pitch) == pytest.approx(0, abs=0.2)
    assert math.degrees(found.yaw.value - POSE.yaw) == pytest.approx(0, abs=0.2)
    assert math.degrees(found.roll.value - POSE.roll) == pytest.approx(0, abs=0.5)
    assert found.height is not None
    assert found.pace is not None
    assert found.height.value == pytest.approx(POSE.height, rel=0.05)
    assert found.pace.value * POSE.height == pytest.approx(corridor.SPEED, rel=0.05)
    assert found.pose(2.0) == CameraPose(2.0, found.pitch.value, found.roll.value, found.yaw.value)


def drive_motions() -> list[EgoMotion]:
    """Motions of a drive through a street."""
    return corridor.motions(corridor.drive(corridor.straight(36), POSE))


def test_height_needs_a_speed() -> None:
    assert estimate_mount(made(POSE)).height is None
    assert estimate_mount(made(POSE), [math.nan] * 60).height is None
    known = [10.0] * 30 + [math.nan] * 30  # odometry that ends early
    height = estimate_mount(made(POSE), known).height
    assert height is not None
    assert height.value == pytest.approx(1.4, rel=0.02)


def test_backing_up_where_the_speed_says_so() -> None:
    motions = [motion._replace(direction=-motion.direction) for motion in made(POSE)]
    found = estimate_mount(motions, [-10.0] * len(motions))
    assert found.yaw.value == pytest.approx(POSE.yaw, abs=0.003)


def test_a_little_backing_up_is_left_out() -> None:
    motions = made(POSE)
    for index in range(10):
        motions[index] = motions[index]._replace(direction=-motions[index].direction)
    found = estimate_mount(motions)
    assert found.motions == 50
    assert found.yaw.value == pytest.approx(POSE.yaw, abs=0.003)


def test_a_camera_before_the_axle_goes_sideways_in_turns() -> None:
    assert_found(POSE, made(POSE, 100, lever=2.0, rate=0.4), 0.2)


def test_sigma_tells_the_error() -> None:
    errors = []
    for yaw in np.linspace(-0.05, 0.05, 25):
        pose = CameraPose(1.4, yaw=float(yaw))
        found = estimate_mount(made(pose, 40, noise=0.02)).yaw
        errors.append((found.value - pose.yaw) / found.sigma)
    assert np.abs(errors).max() < 4


@pytest.mark.parametrize('count', [0, 3, 19])
def test_too_few(count: int) -> None:
    with pytest.raises(MotionError, match=f'not enough motion: {count} pairs.*minute of driving'):
        estimate_mount(made(POSE, count))


def test_motions_that_disagree() -> None:
    motions = made(POSE, noise=0.5)
    with pytest.raises(MotionError, match='not enough motion: only .* agree.*calibration'):
        estimate_mount(motions)


def test_motions_that_scatter() -> None:
    with pytest.raises(MotionError, match='not enough motion: pitch, yaw and roll would be known'):
        estimate_mount(made(POSE, 25, noise=0.08))


def test_nothing_that_tells_roll() -> None:
    empty = np.empty((0, 3))
    motions = [motion._replace(ground=empty, edges=empty) for motion in made(POSE)]
    with pytest.raises(MotionError, match='inf degrees'):
        estimate_mount(motions)


@pytest.mark.parametrize('without', ['ground', 'edges'])
def test_roll_by_either(without: str) -> None:
    lacking: dict[str, Any] = {without: np.empty((0, 3))}
    motions = [motion._replace(**lacking) for motion in made(POSE)]
    assert_found(POSE, motions, 0.3)


def test_measured_has_value_and_sigma() -> None:
    assert Measured(1.0, 0.1)._asdict() == {'value': 1.0, 'sigma': 0.1}


def test_mirror_images_on_a_wet_road_are_no_deeper_road() -> None:
    """Far ahead two thirds of the points are of what the road mirrors, half a height below it."""
    motions = []
    for motion in drive_motions():
        far = np.linalg.norm(motion.ground, axis=1) > 6
        mirrored = far & (np.arange(len(far)) % 3 > 0)
        motions.append(motion._replace(ground=motion.ground * np.where(mirrored, 1.5, 1)[:, None]))
        assert mirrored.mean() > 0.25
    found = estimate_mount(motions, [corridor.SPEED] * len(motions))
    assert found.height is not None
    assert found.height.value == pytest.approx(POSE.height, rel=0.02)
