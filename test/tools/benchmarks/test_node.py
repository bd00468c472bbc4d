# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The node's benchmark: its search, its lines of text, and one short run of each kind of rig."""

from __future__ import annotations

from pathlib import Path

import pytest

node = pytest.importorskip('tools.benchmarks.node', reason='ROS is not installed')
live_node = pytest.importorskip('tools.benchmarks.live_node')


class OfLimit:
    """A node that makes so many masks a second, and not one more."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def step(self, rate: float, seconds: float) -> object:
        masks = min(rate, self.limit)
        nothing = dict.fromkeys(('p50', 'p99', 'cpu', 'cpu_ms', 'copied', 'rss', 'pss'), 0.0)
        return live_node.Step(rate=rate, masks=masks, lost=1 - masks / rate, costs={}, **nothing)


@pytest.mark.parametrize('limit', [7.0, 33.0, 80.0])
def test_the_highest_rate_loses_just_under_five_per_cent(limit: float) -> None:
    found = float(node.highest_rate(OfLimit(limit)))
    assert found == pytest.approx(limit / 0.95, rel=0.05, abs=0.6)


def test_a_node_as_fast_as_the_camera_is_not_given_a_figure_of_its_own() -> None:
    assert node.highest_rate(OfLimit(500.0)) == f'>= {node.FASTEST:.0f}'


def test_a_straight_growth_is_told_by_its_slope() -> None:
    growth = node.Growth('Frame', 'megapixel', {'CPU': [(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]})
    assert list(growth.sentences()) == [
        'Frame, CPU: 3.00 ms + 2 ms for each megapixel (5.00, 7.00, 11.00 at 1, 2, 4)'
    ]


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize('many', [{'cameras': 2}, {'nodes': 2}])
def test_masks_of_all_cameras_are_counted(many: dict[str, int], tmp_path: Path) -> None:
    setting = live_node.Setting((180, 320), parameters={'engine': 'fake'}, **many)
    with live_node.LiveNode(setting, tmp_path) as running:
        step = running.step(5.0, 2.0)
    assert 0 < step.masks <= 10.5
    assert step.p50 > 0
    assert step.cpu > 0
    assert step.rss >= step.pss > 10
    frame = 180 * 320 * 3 / 1e6
    assert step.copied > 2 * frame  # out of the middleware, and into a message of rclpy
    assert 'labels' in step.costs
