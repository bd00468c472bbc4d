# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Drives: the same for ever, all classes, labels and depth that agree."""

from __future__ import annotations

import math
from typing import Set, Tuple

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from tools.street import Drive, StreetFrame, demo_drive, labels, random_drive

SIZE = (160, 120)


def _same(a: StreetFrame, b: StreetFrame) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ('image', 'labels', 'instances', 'depth', 'free_distance', 'free_blocker')
    )


def test_frame_has_the_promised_shapes() -> None:
    frame = random_drive(1, *SIZE)[2]
    shapes = {
        'image': ((120, 160, 3), 'uint8'),
        'labels': ((120, 160), 'uint8'),
        'instances': ((120, 160), 'uint16'),
        'depth': ((120, 160), 'float32'),
        'free_distance': ((160,), 'float32'),
        'free_blocker': ((160,), 'uint8'),
    }
    for name, (shape, dtype) in shapes.items():
        array = getattr(frame, name)
        assert array.shape == shape, name
        assert array.dtype == dtype, name
    assert frame.stamp_ns == 2_000_000_000


def test_a_frame_is_the_same_alone_and_in_its_drive() -> None:
    drive = random_drive(5, *SIZE, frames=4)
    frames = list(drive)
    assert len(frames) == len(drive) == 4
    fresh = random_drive(5, *SIZE, frames=4)
    assert _same(fresh[3], frames[3])
    assert _same(fresh[-3], frames[1])
    assert not _same(frames[0], frames[1])


def test_seeds_differ() -> None:
    assert not _same(random_drive(5, *SIZE)[0], random_drive(6, *SIZE)[0])


def test_frames_outside_a_drive_are_refused() -> None:
    drive = random_drive(5, *SIZE, frames=4)
    with pytest.raises(IndexError, match='frame 4 of a drive of 4 frames'):
        drive[4]


def test_impossible_drives_are_refused() -> None:
    camera, pose = Calibration.pinhole(*SIZE, 60), CameraPose(1.5)
    with pytest.raises(ValueError, match='fps=0 is not a positive rate'):
        Drive(1, camera, pose, fps=0)
    with pytest.raises(ValueError, match='frames=0'):
        Drive(1, camera, pose, frames=0)


def test_label_constants_are_those_of_cityscapes() -> None:
    names = load_class_map('cityscapes').names
    assert [getattr(labels, name.upper().replace(' ', '_')) for name in names] == list(range(19))


@pytest.mark.slow
def test_every_class_appears() -> None:
    seen: Set[int] = set()
    for seed in range(24):
        for index in (0, 5):
            seen |= set(np.unique(random_drive(seed, *SIZE)[index].labels).tolist())
        if len(seen) == labels.CLASS_COUNT:
            break
    assert seen == set(range(labels.CLASS_COUNT))


@pytest.mark.parametrize('distortion', [(), (-0.2, 0.05, 0.001, -0.002, 0.0)])
def test_depth_of_the_road_is_where_its_rays_meet_the_ground(
    distortion: Tuple[float, ...],
) -> None:
    model = 'plumb_bob' if distortion else 'none'
    camera = Calibration(160, 120, 110, 112, 81, 58, model, distortion)
    pose = CameraPose(1.3, pitch=0.08, roll=-0.03, yaw=0.05, x=0.4, y=-0.2)
    frame = Drive(1, camera, pose)[4]
    road = frame.labels == labels.ROAD
    rays = camera.rays() @ pose.rotation().T
    expected = -pose.height / rays[..., 2][road]
    near = expected < 100
    assert near.sum() > 2000
    np.testing.assert_allclose(frame.depth[road][near], expected[near], rtol=1e-5, atol=1e-3)


def test_sky_is_infinitely_far_and_nothing_else_is() -> None:
    frame = demo_drive(frames=1, width=160, height=90)[0]
    sky = frame.labels == labels.SKY
    assert sky.any()
    assert np.isinf(frame.depth[sky]).all()
    assert np.isfinite(frame.depth[~sky]).all()
    assert (frame.depth[~sky] > 0).all()


def test_instances_are_countable_things_of_one_class_each() -> None:
    countable = {
        labels.PERSON,
        labels.RIDER,
        labels.CAR,
        labels.TRUCK,
        labels.BUS,
        labels.TRAIN,
        labels.MOTORCYCLE,
        labels.BICYCLE,
    }
    for seed in (1, 5):
        frame = random_drive(seed, *SIZE)[2]
        counted = np.isin(frame.labels, list(countable))
        assert ((frame.instances > 0) == counted).all()
        for number in np.unique(frame.instances[counted]):
            assert len(np.unique(frame.labels[frame.instances == number])) == 1


def test_pixels_without_a_ray_are_ignored() -> None:
    fisheye = Calibration(160, 120, 38, 38, 79.5, 59.5, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    frame = Drive(1, fisheye, CameraPose(1.5, pitch=0.2))[0]
    blind = np.isnan(fisheye.rays()[..., 0])
    assert blind.any()
    assert ((frame.labels == 255) == blind).all()


def test_the_same_thing_keeps_its_instance_and_moves() -> None:
    drive = random_drive(5, *SIZE, fps=10)
    first, later = drive[0], drive[1]
    shared = set(np.unique(first.instances)) & set(np.unique(later.instances)) - {0}
    assert shared
    assert any(not np.array_equal(first.instances == n, later.instances == n) for n in shared)


def test_camera_moves_forward_along_the_street() -> None:
    scene = random_drive(4, *SIZE).scene
    x = [scene.ego.place(t)[0] for t in np.arange(0, 20, 0.5)]
    assert (np.diff(x) > 0).all()
    assert math.isclose(x[-1] / 19.5, scene.ego.speed, rel_tol=0.1)
