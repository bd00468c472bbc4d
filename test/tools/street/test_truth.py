# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exact free distance, against a brute-force ray cast and against the world's own plan."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraPose
from tools.street import Drive, labels, random_drive
from tools.street.ground import Materials
from tools.street.layout import Plan
from tools.street.light import Light
from tools.street.renderer import Renderer
from tools.street.scene import Scene
from tools.street.traffic import Ego, Traffic
from tools.street.truth import free_space

OVERSAMPLING = 16


def _bare_scene() -> Scene:
    plan = Plan(1, lane_width=3.5, side_streets=0.0, crossings=0.0, underpasses=0.0)
    grey = (100.0, 100.0, 100.0)
    ego = Ego(plan, sway=0.0)
    return Scene(
        plan,
        Light('plain', (1, 1, 1), (1, 1, 1)),
        Materials(grey, grey, grey, grey, 0.0, 0.05, 0.5, False, 1),
        ego,
        Traffic(plan, ego),
        empty=True,
    )


def _range_at(renderer: Renderer, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Ground range straight from the camera model."""
    rays = renderer.view.calibration.unproject(np.stack([u, v], -1)) @ renderer.rotation.T
    with np.errstate(divide='ignore'):
        scale = np.where(rays[:, 2] < 0, -renderer.pose.height / rays[:, 2], np.inf)
    return np.asarray(scale * np.hypot(rays[:, 0], rays[:, 1]))


def _brute_force(drive: Drive, t: float) -> Tuple[np.ndarray, np.ndarray]:
    """Border row (W,) by rendering every column with many rays a pixel; NaN where all is road."""
    camera = drive.calibration
    tall = camera.scaled(camera.width, camera.height * OVERSAMPLING)
    picture = Renderer(drive.scene, tall, drive.pose).render(t)
    rows = (np.arange(tall.height) + 0.5) / OVERSAMPLING - 0.5
    start = int(np.searchsorted(rows, camera.height - 1, side='right'))
    blocked = picture.labels[:start][::-1] != labels.ROAD
    border = rows[start - 1 - blocked.argmax(axis=0)] + 0.5 / OVERSAMPLING
    border[~blocked.any(axis=0)] = np.nan
    return border, np.arange(camera.width, dtype=float)


@pytest.mark.parametrize(
    'seed',
    [
        1,  # without lens distortion
        2,  # with
    ],
)
def test_free_distance_is_where_a_fine_ray_cast_leaves_the_road(seed: int) -> None:
    drive = random_drive(seed, 128, 96, fps=1)
    frame, t = drive[3], drive.start + 3.0
    renderer = Renderer(drive.scene, drive.calibration, drive.pose)
    border, u = _brute_force(drive, t)
    with np.errstate(invalid='ignore'):
        footprint = np.abs(
            _range_at(renderer, u, border - 0.5) - _range_at(renderer, u, border + 0.5)
        )
        error = np.abs(frame.free_distance - _range_at(renderer, u, border)) / footprint
    known = (frame.free_distance > 0) & np.isfinite(frame.free_distance) & np.isfinite(error)
    assert known.sum() > 80
    assert np.median(error[known]) < 0.05
    assert np.percentile(error[known], 95) < 0.2


def test_kerb_of_a_bare_straight_road_is_found_exactly() -> None:
    scene = _bare_scene()
    camera, pose = Calibration.pinhole(160, 120, 90), CameraPose(1.5, pitch=0.1)
    frame = Drive(1, camera, pose, scene=scene)[0]
    renderer = Renderer(scene, camera, pose)
    lane = 0.5 * 3.5  # the camera drives in the left lane
    sides = []
    for u in range(5, 155, 10):
        ray = pose.rotation() @ camera.unproject(np.array([u, 119.0]))
        left = ray[1] > 0
        to_kerb = 3.5 - lane if left else 3.5 + lane
        # The column is a plane through the camera: find where it meets the kerb's line.
        if not np.isfinite(frame.free_distance[u]) or frame.free_distance[u] == 0:
            continue
        v = np.linspace(0, 119, 20001)
        rays = camera.unproject(np.stack([np.full_like(v, u), v], -1)) @ pose.rotation().T
        down = rays[:, 2] < -1e-6
        ground = rays[down, :2] * (-pose.height / rays[down, 2])[:, None]
        beyond = np.abs(ground[:, 1]) > to_kerb
        expected = np.hypot(*ground[beyond][-1])
        assert frame.free_distance[u] == pytest.approx(expected, rel=2e-3)
        assert frame.free_blocker[u] == labels.SIDEWALK
        sides.append(left)
    assert len(set(sides)) == 2
    assert renderer.ground.below.any()


def test_road_to_the_horizon_is_free_without_end() -> None:
    camera = Calibration.pinhole(161, 120, 60)
    frame = Drive(1, camera, CameraPose(1.5), scene=_bare_scene())[0]
    assert np.isinf(frame.free_distance[80])
    assert frame.free_blocker[80] == labels.SKY


def test_a_camera_that_sees_only_road_has_no_blocker() -> None:
    camera = Calibration.pinhole(40, 30, 20)
    frame = Drive(1, camera, CameraPose(0.6, pitch=1.2), scene=_bare_scene())[0]
    assert (frame.labels == labels.ROAD).all()
    assert np.isinf(frame.free_distance).all()
    assert (frame.free_blocker == 255).all()


def test_a_blocked_bottom_pixel_leaves_nothing_free() -> None:
    camera = Calibration.pinhole(128, 96, 60)
    frame = Drive(1, camera, CameraPose(1.5, yaw=0.9))[3]  # looks over the sidewalk
    blocked = frame.labels[-1] != labels.ROAD
    assert blocked.any()
    assert (frame.free_distance[blocked] == 0).all()
    assert (frame.free_blocker[blocked] == frame.labels[-1][blocked]).all()


def test_blocker_is_the_first_label_above_the_road() -> None:
    drive = random_drive(1, 128, 96)
    picture = Renderer(drive.scene, drive.calibration, drive.pose).render(drive.start)
    free = free_space(Renderer(drive.scene, drive.calibration, drive.pose), picture, drive.start)
    for u in range(0, 128, 7):
        column = picture.labels[::-1, u]
        others = column[column != labels.ROAD]
        assert free.blocker[u] == others[0]


@pytest.mark.parametrize('seed', [1, 2])
def test_road_that_is_seen_is_free_in_the_world(seed: int) -> None:
    drive = random_drive(seed, 160, 120)
    frame = drive[2]
    rays = (drive.calibration.rays() @ drive.pose.rotation().T)[frame.labels == labels.ROAD]
    rays = rays[rays[:, 2] < -0.02]
    points = drive.pose.position[:2] - rays[:, :2] * (drive.pose.height / rays[:, 2])[:, None]
    assert drive.free_at(points, 2).mean() > 0.999


def test_ground_under_buildings_and_cars_is_not_free() -> None:
    drive = random_drive(2, 160, 120)
    scene, t = drive.scene, drive.start
    x, y, heading = scene.ego.place(t)
    c, s = np.cos(heading), np.sin(heading)
    for prop in scene.at(t).props:
        for outline in prop.footprints:
            middle = outline.mean(axis=0) - (x, y)
            vehicle = np.array([[middle[0] * c + middle[1] * s, middle[1] * c - middle[0] * s]])
            assert not drive.free_at(vehicle, 0).any()


def test_free_at_takes_any_number_of_points() -> None:
    drive = random_drive(2, 160, 120)
    points = np.random.default_rng(1).uniform(-20, 60, (50000, 2))
    free = drive.free_at(points, 0)
    assert free.shape == (50000,)
    assert 0 < free.mean() < 1
