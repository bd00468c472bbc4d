# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A frame's way stays short: few functions and files from the image's callback to the topics."""

from __future__ import annotations

import pytest

from segformer_ros.camera import calibration_from_camera_info
from segformer_ros.node.segmentation.camera_stream import CameraStream
from segformer_ros.node.segmentation.drivable_output import DrivableOutput
from segformer_ros.node.segmentation.mask_output import MaskOutput
from tools.benchmarks.frame_way import CASES, follow

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]


@pytest.mark.parametrize(
    ('case', 'functions', 'files'), [('mask only', 50, 12), ('all topics', 160, 32)]
)
def test_a_frame_passes_through_few_functions(case: str, functions: int, files: int) -> None:
    way = follow(CASES[case])
    names = '\n'.join(way.lines())
    assert way.count(MaskOutput.publish) == 1
    assert way.count(DrivableOutput.publish) == (case == 'all topics')
    assert way.functions <= functions, names
    assert way.files <= files, names


def test_its_parameters_are_looked_at_once_and_its_camera_info_was_read_before() -> None:
    way = follow(CASES['all topics'])
    assert way.count(CameraStream.take) == 1
    assert way.count(calibration_from_camera_info) == 0
