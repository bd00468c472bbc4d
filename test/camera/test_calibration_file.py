# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Calibration files."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.camera import CalibrationError, read_calibration

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
        ('[1, 2]', 'holds no names and values; give a yaml'),
        ('fx: 3', "it has fx; give a yaml of ROS's camera_calibration"),
        (KALIBR.format(lens='fov'), "distortion model 'fov' is not read"),
        (ROS.format(model='plumb_bob', lens='[.nan, 0, 0, 0]'), 'distortion_coefficients.data'),
        (ROS.format(model='plumb_bob', lens='[1, 2, 3]'), 'takes 0 or 4 or 5 coefficients'),
        (ROS.format(model='thin', lens=FOUR), "distortion model 'thin'"),
        (ROS.format(model='plumb_bob', lens=FOUR).replace('640', '-1'), 'image_width'),
        (MESSAGE.replace('500.0', '0.0').replace('501.0', '0.0'), 'not a positive number'),
        ('a: [', 'no yaml'),
    ],
)
def test_what_cannot_be_used_is_said_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CalibrationError, match=r'calibration .*camera\.yaml: ') as found:
        read_calibration(write(tmp_path, text))
    assert words in str(found.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match='no such file'):
        read_calibration(tmp_path / 'camera.yaml')
