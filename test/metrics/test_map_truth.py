# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.classes import load_class_map
from segformer_ros.drivable import GridNumbers, GroundMap, MapConfig, PlanarPose
from segformer_ros.metrics.free_space import MapTruth

CITYSCAPES = load_class_map('cityscapes')
ROAD, SIDEWALK, CAR = (CITYSCAPES.names.index(name) for name in ('road', 'sidewalk', 'car'))
PLACE = PlanarPose(3.0, -2.0, np.pi / 2)


def world(points: np.ndarray) -> np.ndarray:
    """Road right of the vehicle's middle, sidewalk left of it, a car on the road ahead."""
    x, y = points.T
    found = np.zeros((len(points), 19), bool)
    found[:, ROAD], found[:, SIDEWALK] = y < 0, y >= 0
    found[:, CAR] = (x > 4) & (y < 0)
    found[x < -8] = False  # nobody knows
    return found


def counted(value: int) -> MapTruth:
    """A map with one value wherever it is."""
    truth = MapTruth(CITYSCAPES)
    cells = np.full((200, 200), value, np.int8)
    numbers = GridNumbers(0.1, PLACE.x - 10, PLACE.y - 10, cells)
    truth.update(GroundMap(MapConfig(), CITYSCAPES), numbers, PLACE, world)
    return truth


def test_unknown_is_neither_known_nor_false() -> None:
    scores = counted(-1).compute()
    assert (scores.known, scores.cells, scores.maps) == (0.0, 0, 1)
    assert np.isnan(scores.false_free)


def test_road_is_false_on_sidewalk_and_under_a_car() -> None:
    scores = counted(0).compute()
    circle, behind, car = (
        100 * np.pi,
        100 * np.arccos(0.8) - 8 * 6,
        0.5 * (100 * np.arccos(0.4) - 4 * np.sqrt(84)),
    )  # m2, of circle and segments
    seen = circle - behind
    assert scores.known == 1.0
    assert scores.cells == pytest.approx(100 * seen, rel=0.01)
    assert scores.false_on_things == pytest.approx(car / seen, rel=0.02)
    assert scores.false_free == pytest.approx((seen / 2 + car) / seen, rel=0.02)


def test_dear_ground_and_blocked_cells_are_not_false() -> None:
    sidewalk, blocked = counted(40).compute(), counted(100).compute()
    assert sidewalk.false_free == sidewalk.false_on_things > 0.1
    assert (blocked.known, blocked.cells) == (1.0, 0)


def test_counts_of_two_merge() -> None:
    one, other = counted(0), counted(-1)
    one.merge(other.counts)
    assert one.compute().maps == 2
    assert one.compute().known == 0.5
