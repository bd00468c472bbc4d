# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A rig whose camera is calibrated and mounted, and what is asked of its drivable area."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from node_rig import MakeRig, Rig, camera_info, street_image

from segformer_ros.msg import DrivableArea

AREA = 'drivable_area'
GRID = 'drivable_area/grid'
SCAN = 'drivable_area/scan'


def start(make_rig: MakeRig, **parameters: Any) -> Rig:
    """Start a rig whose camera is calibrated and mounted 1.5 m high."""
    # A busy machine must not make frames too old for the tests that are not about age.
    rig = make_rig(**{'mount__height': 1.5, 'drivable__max_age': 60.0, **parameters})
    rig.start(AREA, GRID, SCAN, '/diagnostics')
    rig.calibrate(camera_info())
    return rig


def area_of(rig: Rig, message: Any = None) -> DrivableArea:
    """Send an image and return its drivable area."""
    sent = message or street_image(rig.now())
    rig.send(sent)

    def mine() -> list[DrivableArea]:
        return [area for area in rig.received[AREA] if area.header.stamp == sent.header.stamp]

    assert rig.spin_until(lambda: bool(mine()))
    return mine()[0]


def assert_nothing_known(rig: Rig) -> None:
    """The newest grid says nothing, and there is no scan of it."""
    grids, scans = rig.received[GRID], rig.received[SCAN]
    assert rig.spin_until(lambda: bool(grids) and set(grids[-1].data) == {-1})
    count = len(scans)
    rig.spin(0.3)
    assert len(scans) == count
    assert not any(all(map(math.isnan, scan.ranges)) for scan in scans)


def forward(area: DrivableArea) -> np.ndarray:
    """Free distance along the vehicle's x axis, (N,) m."""
    return np.array(area.free_distance) * np.cos(np.array(area.bearing))
