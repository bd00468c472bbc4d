# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fixtures of the drivable area's tests."""

from __future__ import annotations

import math

import pytest
from drivable_world import World

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import ClassMap, load_class_map


@pytest.fixture(scope='session')
def class_map() -> ClassMap:
    """The Cityscapes classes."""
    return load_class_map('cityscapes')


@pytest.fixture
def world() -> World:
    """An empty street seen from 1.4 m height, 3 degrees downwards, in 320x180 pixels."""
    return World(Calibration.pinhole(320, 180, 70.0), CameraPose(1.4, pitch=math.radians(3.0)))
