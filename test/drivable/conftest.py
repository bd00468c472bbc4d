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
