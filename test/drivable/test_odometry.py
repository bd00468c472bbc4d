# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The vehicle's way: poses between poses, and jumps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from segformer_ros.drivable import PlanarPose, PoseTrack, odometry_fields, pose_of_odometry
from segformer_ros.drivable.odometry import JumpDetector, turn_between

SECOND = 1_000_000_000


def test_points_there_and_back() -> None:
    pose = PlanarPose(3.0, -1.0, math.pi / 2)
    assert pose.apply(np.array([[2.0, 0.0]])) == pytest.approx(np.array([[3.0, 1.0]]))
    points = np.random.default_rng(0).normal(size=(50, 2))
    assert pose.undo(pose.apply(points)) == pytest.approx(points)


def test_between_two_poses_by_the_shorter_turn() -> None:
    track = PoseTrack()
    track.add(0, PlanarPose(0.0, 0.0, math.radians(170)))
    track.add(SECOND // 10, PlanarPose(1.0, 2.0, math.radians(-170)))
    pose = track.at(SECOND // 20)
    assert pose is not None
    assert (pose.x, pose.y) == pytest.approx((0.5, 1.0))
    assert turn_between(pose.yaw, math.pi) == pytest.approx(0.0)


def test_nothing_is_made_up_before_after_or_in_a_gap() -> None:
    track = PoseTrack(gap=0.5)
    assert track.at(5) is None
    assert track.awaits(5)
    track.add(SECOND, PlanarPose(0, 0, 0))
    track.add(3 * SECOND, PlanarPose(2, 0, 0))
    assert track.at(SECOND) == PlanarPose(0, 0, 0)
    for stamp in (SECOND - 1, 2 * SECOND, 3 * SECOND + 1):
        assert track.at(stamp) is None
    assert track.awaits(3 * SECOND + 1)
    assert not track.awaits(2 * SECOND)


def test_poses_that_come_late_or_twice() -> None:
    track = PoseTrack()
    for stamp in (0, 3, 1, 2, 2, 3):
        track.add(stamp * SECOND // 10, PlanarPose(stamp, 0, 0))
    assert [track.at(stamp * SECOND // 20).x for stamp in range(7)] == pytest.approx(  # type: ignore[union-attr]
        [0, 0.5, 1, 1.5, 2, 2.5, 3]
    )


def test_time_that_jumps_back_starts_anew() -> None:
    track = PoseTrack()
    track.add(100 * SECOND, PlanarPose(9, 0, 0))
    track.add(SECOND, PlanarPose(1, 0, 0))
    assert track.at(100 * SECOND) is None
    assert track.at(SECOND) == PlanarPose(1, 0, 0)


def test_a_track_keeps_half_a_minute() -> None:
    track = PoseTrack()
    for step in range(20_000):
        track.add(step * SECOND // 100, PlanarPose(step, 0, 0))
    assert len(track._poses) < 10_000
    assert track.at(19_999 * SECOND // 100 - 30 * SECOND + SECOND) is not None


@pytest.mark.parametrize(
    ('step', 'turn', 'jumps'),
    [
        (0.0, 0.0, False),
        (1.0, 0.0, False),
        (1.5, 0.0, False),  # from 10 m/s to 15 m/s in 0.1 s is noise and braking
        (2.5, 0.0, True),
        (-5.0, 0.0, True),
        (1.0, 0.15, False),
        (1.0, 1.0, True),
        (1.0, math.pi, True),
    ],
)
def test_jumps(step: float, turn: float, jumps: bool) -> None:
    detector = JumpDetector()
    for index in range(10):
        assert not detector.jumped(index * SECOND // 10, PlanarPose(index * 1.0, 0, 0))
    if step == 0.0:  # stands still at once: 10 m/s^2 for 0.1 s is too much, 3 m/s is not
        detector = JumpDetector()
        for index in range(10):
            detector.jumped(index * SECOND // 10, PlanarPose(index * 0.3, 0, 0))
        assert detector.jumped(SECOND, PlanarPose(2.7, 0, 0)) == jumps
        return
    assert detector.jumped(SECOND, PlanarPose(9.0 + step, 0, turn)) == jumps


def test_odometry_messages_there_and_back() -> None:
    place = PlanarPose(3.5, -2.0, 2.5)

    def made(fields: dict[str, object]) -> SimpleNamespace:
        return SimpleNamespace(
            **{k: made(v) if isinstance(v, dict) else v for k, v in fields.items()}
        )

    message = made(odometry_fields(place, 'base_link'))
    assert message.child_frame_id == 'base_link'
    assert pose_of_odometry(message) == pytest.approx(place)
    message.pose.pose.orientation.w = math.nan
    assert pose_of_odometry(message) is None
    message.pose.pose.orientation.w = 5.0
    assert pose_of_odometry(message) is None
