# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Mask, confidence, label info and points, as Nav2's semantic segmentation layer takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from node_rig import (
    CITYSCAPES,
    HEIGHT,
    MASK,
    WIDTH,
    MakeRig,
    Rig,
    camera_info,
    image,
    painted,
    pixels_of,
    street_image,
    street_labels,
)
from std_msgs.msg import Header

from segformer_ros.node.messages import label_info_message, vision_messages
from tools.benchmarks.nav2_points import label_info, source_parameters
from tools.benchmarks.semantic_layer import SemanticLayer

pytestmark = pytest.mark.ros

POINTS, CONFIDENCE = 'segmentation/points', 'segmentation/confidence'


def start(make_rig: MakeRig, **parameters: Any) -> Rig:
    rig = make_rig(mount__height=1.5, **parameters)
    rig.start(MASK, CONFIDENCE, POINTS)
    rig.calibrate(camera_info())
    return rig


def triple(rig: Rig, message: Any = None) -> tuple[Any, Any, Any]:
    """Mask, confidence and points of one image."""
    rig.segment(message or street_image(rig.now()), POINTS)
    assert rig.spin_until(lambda: all(rig.received[topic] for topic in (MASK, CONFIDENCE)))
    return rig.received[MASK][-1], rig.received[CONFIDENCE][-1], rig.received[POINTS][-1]


def layer(**changed: Any) -> SemanticLayer:
    made = SemanticLayer({**source_parameters(), **changed}, 0.1)
    made.on_label_info(label_info(CITYSCAPES))
    return made


@pytest.mark.parametrize('mask_width', [0, 48, 100])
def test_one_frame_has_one_stamp_and_one_size(make_rig: MakeRig, mask_width: int) -> None:
    rig = start(make_rig, mask_width=mask_width)
    mask, confidence, cloud = triple(rig)
    width = mask_width or WIDTH
    assert (mask.height, mask.width) == (round(HEIGHT * width / WIDTH), width)
    for message in (confidence, cloud):
        assert message.header.stamp == mask.header.stamp
        assert (message.height, message.width) == (mask.height, mask.width)
    assert cloud.header.frame_id == 'base_link'
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ('x', 0, 7, 1), ('y', 4, 7, 1), ('z', 8, 7, 1),
    ]  # fmt: skip
    assert (cloud.point_step, cloud.row_step) == (12, 12 * width)
    assert len(cloud.data) == cloud.row_step * cloud.height
    assert not cloud.is_dense


def test_the_layer_sees_road_and_car(make_rig: MakeRig) -> None:
    mask, confidence, cloud = triple(start(make_rig, drivable__points_sigma=3.0))
    nav2 = layer(max_obstacle_distance=15.0)
    tiles = nav2.on_frame(mask, confidence, cloud, np.eye(3), np.zeros(3))
    assert nav2.unknown == []
    names = {CITYSCAPES.name_of(class_id) for class_id in tiles.values()}
    assert names == {'road', 'car'}
    costs = nav2.costs()
    assert {costs[tile] for tile, c in tiles.items() if CITYSCAPES.name_of(c) == 'car'} == {254}
    # The painted car's bottom is at row 72: 1.5 m / ((72 - 0.5 - 47.5) / 150) ahead.
    cars = np.array([tile for tile, c in tiles.items() if CITYSCAPES.name_of(c) == 'car'])
    assert np.abs(cars[:, 0] * 0.1 - 9.4).max() < 0.5
    assert (cars[:, 1] < 0).all()


def test_the_config_names_every_class_of_the_label_info() -> None:
    types = vision_messages()
    if types is None:
        pytest.skip('vision_msgs is not installed')
    nav2 = SemanticLayer(source_parameters(), 0.1)
    nav2.on_label_info(label_info_message(types, CITYSCAPES, Header()))
    assert nav2.unknown == []


def test_the_config_has_the_topics_of_the_node(repo: Path) -> None:
    source = source_parameters()
    topics = {key: value for key, value in source.items() if key.endswith('_topic')}
    assert topics == {
        'segmentation_topic': '/segmentation/mask',
        'confidence_topic': '/segmentation/confidence',
        'labels_topic': '/segmentation/label_info',
        'pointcloud_topic': '/segmentation/points',
    }
    assert yaml.safe_load((repo / 'config/nav2_semantic.yaml').read_text())


def test_confidence_alone_does_not_lose_a_pole(make_rig: MakeRig) -> None:
    """Where the tile is given to the surest pixel, the pole's rows are as sure as the road."""
    labels = street_labels()
    labels[20:80, 96:104] = CITYSCAPES.ids('pole')[0]
    mask, confidence, cloud = triple(start(make_rig), image(painted(labels)))
    for nav2 in (layer(), layer(use_cost_selection=False)):
        tiles = nav2.on_frame(mask, confidence, cloud, np.eye(3), np.zeros(3))
        assert CITYSCAPES.ids('pole')[0] in tiles.values()


def test_points_are_made_only_for_who_listens(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segformer_ros.drivable.ground_points import GroundPoints

    made: list[int] = []
    points = GroundPoints.points

    def counted(*arguments: Any) -> np.ndarray:
        made.append(1)
        return points(*arguments)

    monkeypatch.setattr(GroundPoints, 'points', counted)
    rig = make_rig(mount__height=1.5)
    rig.start(MASK, 'drivable_area')
    rig.calibrate(camera_info())
    rig.segment(street_image(rig.now()))
    assert not made
    rig.subscribe(POINTS)
    rig.segment(street_image(rig.now()), POINTS)
    assert made == [1]


def test_without_a_mount_there_are_masks_and_no_points(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK, POINTS)
    rig.calibrate(camera_info())
    mask = rig.segment(street_image(rig.now()))
    assert pixels_of(mask).any()
    rig.spin(0.2)
    assert not rig.received[POINTS]


def test_points_may_be_all_that_is_wanted(make_rig: MakeRig) -> None:
    rig = make_rig(mount__height=1.5)
    rig.start(POINTS)
    rig.calibrate(camera_info())
    first = rig.segment(street_image(rig.now()), POINTS)
    second = rig.segment(street_image(rig.now()), POINTS)
    assert bytes(first.data) == bytes(second.data)
    assert first.header.stamp != second.header.stamp
