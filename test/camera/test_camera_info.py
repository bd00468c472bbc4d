# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.


from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segformer_ros.camera import (
    Calibration,
    CalibrationError,
    calibration_from_camera_info,
    camera_info_fields,
    check_image_size,
    is_rectified,
    read_calibration,
)


def camera_info(**changes: object) -> SimpleNamespace:
    """A sensor_msgs/CameraInfo of a 640x480 camera."""
    fields: dict[str, object] = {
        'width': 640,
        'height': 480,
        'distortion_model': 'plumb_bob',
        'd': [-0.2, 0.05, 0.001, -0.001, 0.0],
        'k': [500.0, 0, 320, 0, 510, 240, 0, 0, 1],
        'p': [450.0, 0, 321, 0, 0, 460, 239, 0, 0, 0, 1, 0],
        'binning_x': 0,
        'binning_y': 0,
        'roi': SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    }
    return SimpleNamespace(**{**fields, **changes})


def roi(x: int, y: int, width: int, height: int) -> SimpleNamespace:
    return SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height, do_rectify=False)


def test_plain_camera_info() -> None:
    calibration = calibration_from_camera_info(camera_info())
    assert (calibration.width, calibration.height) == (640, 480)
    assert (calibration.fx, calibration.fy, calibration.cx, calibration.cy) == (500, 510, 320, 240)
    assert calibration.model == 'plumb_bob'
    assert calibration.distortion == (-0.2, 0.05, 0.001, -0.001, 0.0)


@pytest.mark.parametrize(
    ('model', 'distortion'), [('none', ()), ('plumb_bob', (0.1, 0.2, 0.0, 0.0, 0.3))]
)
def test_the_fields_of_a_calibration_give_it_back(
    model: str, distortion: tuple[float, ...]
) -> None:
    calibration = Calibration(640, 480, 500.0, 510.0, 320.0, 240.0, model, distortion)
    fields = camera_info_fields(calibration)
    info = camera_info(**{**fields, 'roi': SimpleNamespace(**fields['roi'])})
    found = calibration_from_camera_info(info)
    assert np.array_equal(found.matrix, calibration.matrix)
    assert not any(found.distortion) if model == 'none' else found == calibration


def test_rectified_images_use_the_projection_matrix() -> None:
    calibration = calibration_from_camera_info(camera_info(), rectified=True)
    assert (calibration.fx, calibration.fy, calibration.cx, calibration.cy) == (450, 460, 321, 239)
    assert calibration.model == 'none'


@pytest.mark.parametrize(
    ('name', 'd', 'model'),
    [
        ('', [], 'none'),
        ('plumb_bob', [], 'none'),
        ('none', [], 'none'),
        ('fisheye', [0.1, 0, 0, 0], 'equidistant'),
        ('kannala_brandt4', [0.1, 0, 0, 0], 'equidistant'),
        ('plumb_bob', [0.1] * 8, 'rational_polynomial'),
        ('equidistant', [0.0] * 4, 'equidistant'),
        ('rational_polynomial', [0.1] * 8, 'rational_polynomial'),
    ],
)
def test_distortion_models(name: str, d: list[float], model: str) -> None:
    info = camera_info(distortion_model=name, d=d)
    assert calibration_from_camera_info(info).model == model


def test_region_of_interest_sees_the_same_rays() -> None:
    whole = calibration_from_camera_info(camera_info())
    part = calibration_from_camera_info(camera_info(roi=roi(100, 60, 320, 240)))
    assert (part.width, part.height) == (320, 240)
    assert part.rays()[10, 20] == pytest.approx(whole.rays()[70, 120])


def test_binned_pixel_looks_between_the_pixels_it_is_made_of() -> None:
    info = camera_info(d=[], distortion_model='none')
    whole = calibration_from_camera_info(info)
    info.binning_x = info.binning_y = 2
    binned = calibration_from_camera_info(info)
    assert (binned.width, binned.height) == (320, 240)
    middle = whole.rays()[20:22, 40:42].mean(axis=(0, 1))
    assert binned.rays()[10, 20] == pytest.approx(middle)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'k': [0.0] * 9}, 'K all zero: the camera is not calibrated'),
        ({'k': [math.nan] + [1.0] * 8}, 'which is not finite'),
        ({'k': [0.0, 0, 320, 0, 510, 240, 0, 0, 1]}, 'focal length fx=0.0'),
        ({'k': [500.0, 3, 320, 0, 510, 240, 0, 0, 1]}, 'skew of 3.0'),
        ({'k': [500.0, 0, 320, 0, 510, 240, 0, 0, 2]}, 'camera matrix: its last row is 0 0 1'),
        ({'k': [1e300, 0, 320, 0, 510, 240, 0, 0, 1]}, 'fx=1e.300 .* is implausible'),
        ({'d': [math.nan] * 5}, 'not all finite'),
        ({'distortion_model': 'none'}, "'none', which is not known to have coefficients"),
        ({'d': [0.1] * 3}, 'not 3'),
        ({'distortion_model': 'thin_prism'}, "'thin_prism', which is not known: use plumb_bob"),
        ({'distortion_model': ''}, "distortion model '', which is not known"),
        ({'width': 0, 'height': 0}, 'image size 0x0 is empty'),
        ({'roi': roi(400, 0, 320, 480)}, 'outside its sensor of 640x480'),
    ],
)
def test_what_is_no_calibration_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        calibration_from_camera_info(camera_info(**changes))


def test_rectified_images_without_a_projection_matrix_have_that_of_a_lens_without_distortion() -> (
    None
):
    """Drivers that rectify by themselves, and simulators, may leave P empty."""
    info = camera_info(p=[0.0] * 12, d=[0.0] * 5)
    calibration = calibration_from_camera_info(info, rectified=True)
    assert (calibration.fx, calibration.fy, calibration.cx, calibration.cy) == (500, 510, 320, 240)


@pytest.mark.parametrize(
    ('topic', 'rectified'),
    [
        ('/cam/image_rect', True),
        ('/cam/image_rect/compressed', True),
        ('image_rect_color', True),
        ('/cam/image_rect_color/compressed', True),
        ('/camera/infra1/image_rect_raw', True),
        ('/kinect2/qhd/image_color_rect', True),
        ('/zed/zed_node/rgb/color/rect/image', True),
        ('/zed/zed_node/rgb/color/rect/image/compressed', True),
        ('/cam/image_rectified', True),
        ('/rect/front/cam/image_raw', False),
        ('/cam/image_raw', False),
        ('/cam/image_direct', False),
        ('/rectory/cam/image', False),
        ('', False),
    ],
)
def test_rectified_topics_are_known_by_their_names(topic: str, rectified: bool) -> None:
    assert is_rectified(topic) == rectified


def test_uncalibrated_projection_matrix_is_refused() -> None:
    with pytest.raises(CalibrationError, match='P all zero'):
        calibration_from_camera_info(camera_info(p=[0.0] * 12), rectified=True)


def test_calibration_of_another_size_is_refused() -> None:
    calibration = calibration_from_camera_info(camera_info())
    check_image_size(calibration, height=480, width=640)
    with pytest.raises(CalibrationError, match='640x480 images, but the image is 1280x720'):
        check_image_size(calibration, height=720, width=1280)


ROS = """
image_width: 640
image_height: 480
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [500.0, 0, 320, 0, 501.0, 240, 0, 0, 1]
distortion_model: {model}
distortion_coefficients: {{rows: 1, cols: 5, data: {lens}}}
rectification_matrix: {{rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}
projection_matrix: {{rows: 3, cols: 4, data: [480, 0, 321, 0, 0, 481, 241, 0, 0, 0, 1, 0]}}
"""

KALIBR = """
cam0:
  camera_model: pinhole
  distortion_coeffs: [0.1, 0.01, 0.001, 0.0001]
  distortion_model: {lens}
  intrinsics: [500.0, 501.0, 320.0, 240.0]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
"""

MESSAGE = """
header:
  stamp: {sec: 1, nanosec: 2}
  frame_id: front
height: 480
width: 640
distortion_model: plumb_bob
d: [0.1, 0.01, 0.001, 0.0001, 0.0]
k: [500.0, 0.0, 320.0, 0.0, 501.0, 240.0, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [480.0, 0.0, 321.0, 0.0, 0.0, 481.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
"""

FOUR = '[0.1, 0.01, 0.001, 0.0001]'


def write(folder: Path, text: str) -> Path:
    """The text as a file."""
    path = folder / 'camera.yaml'
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ('text', 'model', 'lens'),
    [
        (ROS.format(model='plumb_bob', lens='[0.1, 0.01, 0.001, 0.0001, 0]'), 'plumb_bob', 5),
        (ROS.format(model='plumb_bob', lens=[0.01] * 8), 'rational_polynomial', 8),
        (ROS.format(model='rational_polynomial', lens=[0.01] * 8), 'rational_polynomial', 8),
        (ROS.format(model='equidistant', lens=FOUR), 'equidistant', 4),
        (ROS.format(model='kannala_brandt4', lens=FOUR), 'equidistant', 4),
        (KALIBR.format(lens='radtan'), 'plumb_bob', 4),
        (KALIBR.format(lens='equidistant'), 'equidistant', 4),
        (MESSAGE, 'plumb_bob', 5),
    ],
)
def test_the_files_of_the_usual_tools(tmp_path: Path, text: str, model: str, lens: int) -> None:
    found = read_calibration(write(tmp_path, text))
    assert (found.width, found.height) == (640, 480)
    assert (found.fx, found.fy, found.cx, found.cy) == (500, 501, 320, 240)
    assert (found.model, len(found.distortion)) == (model, lens)


@pytest.mark.parametrize('text', [ROS.format(model='plumb_bob', lens=FOUR), MESSAGE])
def test_rectified_images_have_the_projection(tmp_path: Path, text: str) -> None:
    found = read_calibration(write(tmp_path, text), rectified=True)
    assert (found.fx, found.cx, found.model) == (480, 321, 'none')


def test_a_camera_of_a_chain_is_named(tmp_path: Path) -> None:
    second = KALIBR.format(lens='radtan').replace('cam0', 'cam1').replace('500.0', '700.0')
    file = write(tmp_path, KALIBR.format(lens='radtan') + second)
    assert read_calibration(tmp_path / 'camera.yaml#cam1').fx == 700
    with pytest.raises(
        CalibrationError, match=r'has the cameras cam0, cam1; name one, as in FILE#'
    ):
        read_calibration(file)
    with pytest.raises(CalibrationError, match="no camera 'cam7', but cam0, cam1"):
        read_calibration(tmp_path / 'camera.yaml#cam7')


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('[1, 2]', 'is not a mapping of names to values; give a yaml'),
        ('fx: 3', "it has fx; give a yaml of ROS's camera_calibration"),
        (KALIBR.format(lens='fov'), "distortion model 'fov' is not read"),
        (ROS.format(model='plumb_bob', lens='[.nan, 0, 0, 0]'), 'distortion_coefficients.data'),
        (ROS.format(model='plumb_bob', lens='[1, 2, 3]'), 'takes 0 or 4 or 5 coefficients'),
        (ROS.format(model='thin', lens=FOUR), "distortion model 'thin'"),
        (ROS.format(model='plumb_bob', lens=FOUR).replace('640', '-1'), 'image_width'),
        (MESSAGE.replace('500.0', '0.0').replace('501.0', '0.0'), 'not a positive number'),
        ('a: [', 'not valid YAML'),
    ],
)
def test_what_cannot_be_used_is_said_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CalibrationError, match=r'calibration .*camera\.yaml: ') as found:
        read_calibration(write(tmp_path, text))
    assert words in str(found.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match='no such file'):
        read_calibration(tmp_path / 'camera.yaml')
