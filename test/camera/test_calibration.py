# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Calibration and pose: rays, projection, scaling, and what is refused."""

import math
from typing import Any, Dict, Tuple

import numpy as np
import pytest

from segformer_ros.camera import Calibration, CameraError, Turn

LENSES: Dict[str, Tuple[str, Tuple[float, ...]]] = {
    'none': ('none', ()),
    'barrel': ('plumb_bob', (-0.3, 0.1, 0.001, -0.001, 0.0)),
    'pincushion': ('plumb_bob', (0.3, 0.0, 0.0, 0.0)),
    'rational': ('rational_polynomial', (1.2, 0.3, 0.001, -0.001, 0.01, 1.5, 0.5, 0.03)),
    'fisheye': ('equidistant', (-0.02, 0.005, -0.001, 0.0002)),
}


def _camera(lens: str) -> Calibration:
    model, distortion = LENSES[lens]
    return Calibration(96, 54, 50.0, 52.0, 47.0, 26.0, model, distortion)


@pytest.mark.parametrize('lens', LENSES)
def test_rays_project_back_to_their_pixel_centres(lens: str) -> None:
    camera = _camera(lens)
    rays = camera.rays()
    assert rays.shape == (54, 96, 3)
    assert np.all(rays[..., 2] == 1)
    u, v = np.meshgrid(np.arange(96), np.arange(54))
    np.testing.assert_allclose(camera.project(rays * 7.5), np.stack([u, v], -1), atol=1e-6)


def test_plumb_bob_follows_the_formula() -> None:
    camera = _camera('barrel')
    x, y = 0.4, -0.2
    k1, k2, p1, p2, _ = camera.distortion
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    expected = [xd * camera.fx + camera.cx, yd * camera.fy + camera.cy]
    np.testing.assert_allclose(camera.project(np.array([2 * x, 2 * y, 2])), expected)


def test_fisheye_image_radius_grows_with_the_angle() -> None:
    camera = Calibration(100, 100, 40, 40, 49.5, 49.5, 'equidistant', (0, 0, 0, 0))
    angle = math.radians(60)
    u, v = camera.project(np.array([math.sin(angle), 0, math.cos(angle)]))
    assert u == pytest.approx(49.5 + 40 * angle)
    assert v == pytest.approx(49.5)


def test_pixels_without_a_ray_are_nan() -> None:
    fisheye = Calibration(200, 20, 40, 40, 99.5, 9.5, 'equidistant', (0, 0, 0, 0))
    rays = fisheye.rays()
    assert np.isnan(rays[10, 0]).all()  # 142 degrees off the axis
    assert np.isfinite(rays[10, 100]).all()
    folding = Calibration(640, 360, 320, 320, 319.5, 179.5, 'plumb_bob', (-0.3, 0, 0, 0))
    assert np.isnan(folding.rays()[0, 0]).all()


def test_points_beyond_the_fold_or_behind_the_camera_are_not_seen() -> None:
    camera = Calibration(640, 360, 320, 320, 319.5, 179.5, 'plumb_bob', (-0.3, 0, 0, 0))
    points = np.array([[0.5, 0, 1], [1.8, 0, 1], [0.5, 0, -1], [0.5, 0, 0]])
    seen = np.isfinite(camera.project(points)).all(axis=1)
    assert seen.tolist() == [True, False, False, False]


def test_pinhole_covers_its_field_of_view() -> None:
    camera = Calibration.pinhole(640, 360, 90)
    left, right = camera.unproject(np.array([[-0.5, 179.5], [639.5, 179.5]]))
    np.testing.assert_allclose(left, [-1, 0, 1])
    np.testing.assert_allclose(right, [1, 0, 1])


def test_scaled_keeps_the_view() -> None:
    camera = _camera('barrel')
    half = camera.scaled(48, 27)
    border = np.array([[-0.5, -0.5], [95.5, 53.5]])
    scaled_border = np.array([[-0.5, -0.5], [47.5, 26.5]])
    np.testing.assert_allclose(half.unproject(scaled_border), camera.unproject(border), atol=1e-9)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'width': 0}, 'image size 0x54 is empty'),
        ({'fx': 0.0}, 'focal length fx=0.0 is not a positive number'),
        ({'fy': math.nan}, 'focal length fy=nan is not a positive number'),
        ({'cx': math.inf}, 'principal point cx=inf is not a number'),
        ({'model': 'thin_prism'}, "distortion model 'thin_prism' is not known"),
        ({'model': 'equidistant'}, "'equidistant' takes 4 coefficients, not 0"),
        ({'model': 'plumb_bob', 'distortion': (0, 0, 0, math.nan)}, 'are not all finite'),
        ({'model': 'plumb_bob', 'distortion': (0, 0, 0, 1e300)}, 'are implausible'),
        ({'fx': 1e300}, 'focal length fx=1e.300 of an image of 96x54 pixels is implausible'),
        ({'fy': 5e-324}, 'focal length fy=.* is implausible'),
        ({'cx': -1e5}, 'principal point cx=-100000 is far from the image'),
    ],
)
def test_impossible_calibrations_are_refused(change: Dict[str, Any], words: str) -> None:
    values: Dict[str, Any] = {
        'width': 96,
        'height': 54,
        'fx': 50.0,
        'fy': 50.0,
        'cx': 47.0,
        'cy': 26.0,
        **change,
    }
    with pytest.raises(CameraError, match=words):
        Calibration(**values)


def test_impossible_field_of_view_is_refused() -> None:
    with pytest.raises(CameraError, match='field of view 180 degrees'):
        Calibration.pinhole(640, 360, 180)


@pytest.mark.parametrize('quarters', range(4))
def test_turned_image_and_the_way_back(quarters: int) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turn = Turn(quarters, 4, 3)
    turned = turn.turn(image)
    assert np.array_equal(turned, np.rot90(image, quarters))
    assert turn.turned_size == turned.shape[::-1]
    v, u = np.indices(image.shape)
    there = turn.to_turned(u, v)
    assert np.array_equal(turned[there[1], there[0]], image)
    assert np.array_equal(np.stack(turn.to_image(*there)), np.stack([u, v]))
