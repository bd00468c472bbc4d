# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which way a camera moved between two frames."""

from __future__ import annotations

from functools import partial
from itertools import repeat

import corridor
import cv2
import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose, EgoMotionTracker, StaticClasses
from segformer_ros.camera.ego_motion import relative_pose
from segformer_ros.classes import load_class_map

CLASSES = StaticClasses(load_class_map('cityscapes'))
LEVEL = CameraPose(1.4)


def rays(places: np.ndarray) -> np.ndarray:
    """Rays x, y at z = 1 of places (n, 3)."""
    return places[:, :2] / places[:, 2:]


def world(count: int = 400) -> np.ndarray:
    """Places (n, 3) before a camera, m."""
    rng = np.random.default_rng(5)
    return rng.uniform((-10, -4, 4), (10, 2, 40), (count, 3))


def test_rotation_and_direction_of_two_views() -> None:
    turn, way = np.array([0.02, -0.05, 0.01]), np.array([0.1, -0.05, 1.0])
    places = world()
    second = (places - way) @ cv2.Rodrigues(turn)[0].T
    noise = np.random.default_rng(1).normal(0, 0.1 / 500, (2, 400, 2))
    found = relative_pose(rays(places) + noise[0], rays(second) + noise[1], 500)
    assert found is not None
    assert found.rotation == pytest.approx(turn, abs=1e-3)
    assert found.direction == pytest.approx(way / np.linalg.norm(way), abs=5e-3)
    assert 1e-5 < found.sigma < 5e-3
    near = np.linalg.norm(places[found.static], axis=1) < 15
    length = np.linalg.norm(way)
    assert np.median(found.points[near] * length / places[found.static][near]) == pytest.approx(
        1, abs=0.02
    )


def test_what_moves_by_itself_does_not_count() -> None:
    places = world()
    second = places - (0, 0, 1.0)
    second[:100] += (0.8, 0, 1.2)  # a bus that overtakes
    found = relative_pose(rays(places), rays(second), 500)
    assert found is not None
    assert found.direction == pytest.approx((0, 0, 1), abs=1e-3)
    assert (found.static < 100).sum() < 10  # those on their epipolar line by chance


@pytest.mark.parametrize('turn', [(0.0, 0.1, 0.0), (0.0, 0.0, 0.0)])
def test_turning_on_the_spot_and_standing_tell_nothing(turn: tuple[float, ...]) -> None:
    places = world()
    noise = np.random.default_rng(2).normal(0, 0.2 / 500, (400, 2))
    second = rays(places @ cv2.Rodrigues(np.array(turn))[0].T) + noise
    assert relative_pose(rays(places), second, 500) is None


def test_few_points_tell_nothing() -> None:
    places = world(50)
    assert relative_pose(rays(places), rays(places - (0, 0, 1)), 500) is None


def test_a_motion_is_told_with_road_and_edges() -> None:
    pose = CameraPose(1.4, pitch=0.05, yaw=-0.04)
    (found,) = corridor.motions(corridor.drive(corridor.straight(3), pose), every=0.15)
    assert found.direction == pytest.approx(pose.rotation()[0], abs=0.01)
    assert found.seconds == pytest.approx(0.1)
    assert len(found.ground) > 50
    up, length = pose.rotation()[2], corridor.SPEED * found.seconds
    assert np.median(found.ground @ up) * length == pytest.approx(-1.4, rel=0.05)
    assert np.linalg.norm(found.edges, axis=1) == pytest.approx(1)
    assert np.median(np.abs(found.edges @ up)) < 0.1


def outcomes(views: list[corridor.View]) -> dict[str, int]:
    """What came of the frames, without what did not happen."""
    tracker = EgoMotionTracker(corridor.CAMERA, CLASSES)
    for view in views:
        tracker.add(view.seconds, view.image, partial(getattr, view, 'labels'))
    return {name: count for name, count in tracker.outcomes.items() if count}


def test_standing_still() -> None:
    image, labels = corridor.see(corridor.Place(), LEVEL)
    views = [corridor.View(1 + index / 10, image, labels) for index in range(13)]
    assert outcomes(views) == {'still': 1}


def test_night() -> None:
    dark, labels = np.zeros((270, 480), np.uint8), np.zeros((270, 480), np.uint8)
    assert outcomes([corridor.View(1.0, dark, labels), corridor.View(1.1, dark, labels)]) == {
        'dark': 2
    }


def test_nothing_static_in_view() -> None:
    image, labels = corridor.see(corridor.Place(), LEVEL)
    assert outcomes([corridor.View(1.0, image, np.full_like(labels, 13))]) == {'dark': 1}  # a car


def test_frames_of_other_places() -> None:
    assert outcomes(list(corridor.drive(corridor.straight(2, 400), LEVEL))) == {'lost': 1}


def test_time_that_jumps_starts_anew() -> None:
    places = corridor.straight(4)
    views = [view._replace(seconds=9 - view.seconds) for view in corridor.drive(places, LEVEL)]
    assert outcomes(views) == {}


def test_masks_are_asked_for_only_where_points_are_followed_from() -> None:
    tracker = EgoMotionTracker(corridor.CAMERA, CLASSES, every=0.35)
    asked: list[float] = []

    def mask(view: corridor.View) -> np.ndarray:
        asked.append(view.seconds)
        return view.labels

    for view in corridor.drive(corridor.straight(9), LEVEL):
        tracker.add(view.seconds, view.image, partial(mask, view))
    assert asked == pytest.approx([1.0, 1.4, 1.8])


def test_large_frames_and_small_masks() -> None:
    large = Calibration.pinhole(960, 540, 75)
    tracker = EgoMotionTracker(large, CLASSES)
    found = []
    for view in corridor.drive(corridor.straight(3), LEVEL):
        image = cv2.cvtColor(cv2.resize(view.image, (960, 540)), cv2.COLOR_GRAY2BGR)
        found.append(tracker.add(view.seconds, image, repeat(view.labels).__next__))
    motion = next(one for one in found if one is not None)
    assert motion.direction == pytest.approx((0, 0, 1), abs=0.015)
