# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The node as its users see it: transitions, what cannot be configured, and its service."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_rig import MASK, MakeRig, Rig, image, street_image
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from segformer_ros.node import messages
from segformer_ros.node.segmentation import segmentation_node, transforms
from segformer_ros.node.segmentation.frame_worker import FrameWorker
from segformer_ros.node.segmentation.segmentation_node import SegmentationNode, start_ahead
from tiny_models import (
    HUGGINGFACE,
    drivable_labels,
    painting,
    save_drivable_network,
    save_network,
)

pytestmark = pytest.mark.ros


def is_alive(worker: FrameWorker) -> bool:
    return worker.alive


def state(rig: Rig) -> str:
    return str(rig.node._state_machine.current_state[1])


def test_members_end_with_cleanup_and_come_back(make_rig: MakeRig) -> None:
    rig = make_rig()
    assert state(rig) == 'unconfigured'
    rig.start(MASK)
    assert state(rig) == 'active'
    thread = rig.node.worker
    assert thread and is_alive(thread)
    rig.segment(street_image())
    assert rig.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert rig.node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    assert rig.node.worker is None
    assert not is_alive(thread)
    assert rig.probe.count_publishers(MASK) == 0
    assert rig.node.autostart()
    rig.spin(0.5)
    rig.segment(street_image())


def test_inactive_node_takes_no_images(make_rig: MakeRig) -> None:
    rig = make_rig(autostart=False)
    assert rig.node.autostart()
    assert state(rig) == 'unconfigured'
    rig.node.trigger_configure()
    publisher = rig.probe.create_publisher(type(street_image()), 'image', 5)
    rig.spin(0.3)
    assert publisher.get_subscription_count() == 0
    rig.node.trigger_activate()
    assert rig.spin_until(lambda: publisher.get_subscription_count() == 1)


@pytest.mark.parametrize('inference', ['whole', 'slide'])
def test_a_network_of_two_heads_masks_and_drives(
    make_rig: MakeRig, tmp_path: Path, inference: str
) -> None:
    pixels, _ = painting(64, 128)
    model = save_drivable_network(tmp_path / 'twin.onnx', (64, 128))
    rig = make_rig(engine='openvino', model=str(model), inference=inference)
    rig.start(MASK, 'drivable_area')
    mask = rig.segment(image(pixels))
    found = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width)
    np.testing.assert_array_equal(found, drivable_labels(pixels))
    assert rig.spin_until(lambda: bool(rig.received['drivable_area']))


def test_what_is_taken_for_granted_of_a_model_is_logged(
    make_rig: MakeRig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = save_network(tmp_path / 'theirs.onnx', (64, 128), HUGGINGFACE)
    rig = make_rig(engine='openvino', model=str(model))
    rig.start(MASK)
    assert 'theirs.onnx: the names of its input and output are those of' in caplog.text


def test_missing_model_is_refused_with_its_path(make_rig: MakeRig, capfd: Any) -> None:
    rig = make_rig(model='/nowhere/best.onnx')
    assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(rig) == 'unconfigured'
    assert 'cannot configure: no model file /nowhere/best.onnx' in capfd.readouterr().err
    rig.set(model='')
    assert rig.node.autostart()


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'class_map': 'mars'}, "no class map 'mars'"),
        ({'drivable__group': 'canal'}, "has no class 'canal'"),
        ({'precision': 'int8'}, "engine 'fake' has no precision 'int8'"),
    ],
)
def test_what_cannot_be_is_refused_at_configure(
    make_rig: MakeRig, capfd: Any, parameters: dict[str, Any], words: str
) -> None:
    rig = make_rig(**parameters)
    assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert words in capfd.readouterr().err
    assert rig.node.worker is None


def test_a_bug_is_an_error_and_not_a_failure(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def broken(settings: object, subscribe: object) -> None:
        raise KeyError('a bug')

    rig = make_rig()
    monkeypatch.setattr(segmentation_node, 'make_engine', broken)
    assert rig.node.trigger_configure() == TransitionCallbackReturn.ERROR
    assert state(rig) == 'unconfigured'
    assert "KeyError: 'a bug'" in capfd.readouterr().err


def test_absent_neighbours_are_said_once(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(messages, 'vision_messages', lambda: None)
    monkeypatch.setattr(transforms, 'listen_to_tf', lambda node: None)
    rig = make_rig()
    rig.start(MASK)
    rig.segment(street_image())
    lines = capfd.readouterr().err
    assert lines.count('vision_msgs (4.1 or later) is not installed') == 1
    assert lines.count('tf2_ros is not installed') == 1


@pytest.mark.parametrize('delay', [0.0, 0.01])
def test_an_engine_that_was_started_ahead_is_taken_if_it_is_the_one(
    ros: None, delay: float
) -> None:
    before = threading.active_count()
    named = ['-r', '__node:=segmentation_node', '-r', '__ns:=/']
    ahead = start_ahead(['--ros-args', '-p', 'engine:=fake', *named])
    assert ahead
    given = {'engine': 'fake', 'fake_delay': delay}
    node = SegmentationNode(
        ahead, parameter_overrides=[Parameter(name, value=given[name]) for name in given]
    )
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.worker
        assert (node.worker is ahead.worker) == (delay == 0.0)
        assert threading.active_count() == before + 2  # of one worker
    finally:
        node.release()
        node.destroy_node()
    assert threading.active_count() == before


def test_an_engine_started_ahead_ends_with_a_node_that_is_never_configured(ros: None) -> None:
    before = threading.active_count()
    ahead = start_ahead(['--ros-args', '-p', 'engine:=fake'])
    node = SegmentationNode(ahead)
    node.release()
    node.destroy_node()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    'said',
    [
        'autostart:=false',
        'model:=/no/where.onnx',
        'drivable.group:=moon',
        '__node:=front',
        'segmentation_node:__ns:=/left',
    ],
)
def test_no_engine_is_started_ahead_where_the_node_will_not_have_it(said: str) -> None:
    before = threading.active_count()
    option = '-r' if '__' in said else '-p'
    assert start_ahead(['--ros-args', '-p', 'engine:=fake', option, said]) is None
    assert threading.active_count() == before


def test_set_enabled_service(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image(rig.now()))
    client = rig.probe.create_client(SetBool, 'segmentation_node/set_enabled')

    def call(data: bool) -> SetBool.Response:
        assert rig.spin_until(client.service_is_ready)
        future = client.call_async(SetBool.Request(data=data))
        assert rig.spin_until(future.done)
        return future.result()

    assert call(False).success
    assert rig.node.get_parameter('enabled').value is False
    rig.send(street_image(rig.now()))
    assert rig.spin_until(lambda: rig.counts().unwanted == 1)
    assert 'disabled' in rig.status().message
    assert call(True).message == 'enabled is true'
    rig.segment(street_image(rig.now()))
