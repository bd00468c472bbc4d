# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The evaluator node: masks find their truth by the stamp, and the files say what was lost."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from listener_rig import ListenerRig
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from segformer_ros.classes import ClassMapError
from segformer_ros.metrics.live import Pair
from segformer_ros.metrics.pixel_metrics import confusion_counts
from segformer_ros.node.evaluator.evaluator_node import EvaluatorNode
from segformer_ros.node.messages import LATCHED
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.replay.player import ReplayReport

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures('ros')]

SIZE = (24, 32)


def label_map(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 19, SIZE).astype(np.uint8)


def message(pixels: np.ndarray, sec: int, encoding: str = 'mono8') -> Image:
    height, width = pixels.shape[:2]
    stamp = Time(sec=sec, nanosec=5)
    return Image(
        header=Header(stamp=stamp, frame_id='camera'), height=height, width=width,
        encoding=encoding, step=pixels.strides[0], data=pixels.tobytes(),
    )  # fmt: skip


class Rig(ListenerRig[EvaluatorNode]):
    """An evaluator, and a node that plays camera and segmentation node."""

    def __init__(self, folder: Path, **parameters: Any) -> None:
        self.folder = folder
        super().__init__(EvaluatorNode, output=str(folder), **parameters)

    def play(self, count: int, without_mask: tuple[int, ...] = ()) -> None:
        """Send images, labels and masks of `count` frames."""
        for index in range(count):
            self.send('labels', message(label_map(index), index))
            pixels = np.zeros((*SIZE, 3), np.uint8)
            self.send('image', message(pixels, index, 'bgr8'), qos_profile_sensor_data)
            if index not in without_mask:
                self.send('segmentation/mask', message(label_map(index + 100), index))

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait until it is done; metrics.json and live.json."""
        self.wait()
        self.node.finish()
        return (
            json.loads((self.folder / 'metrics.json').read_text()),
            json.loads((self.folder / 'live.json').read_text()),
        )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """An evaluator that ends with the test."""
    rig = Rig(tmp_path / 'out')
    yield rig
    rig.close()


def test_masks_are_scored_against_the_labels_of_their_stamp(rig: Rig) -> None:
    began = monotonic()
    rig.play(4, without_mask=(2,))
    engine = DiagnosticStatus(name='/n: engine', values=[KeyValue(key='engine', value='fake')])
    rig.send('/diagnostics', DiagnosticArray(status=[engine]))
    rig.send('replay/report', String(data=ReplayReport(True, published=4).to_json()), LATCHED)
    metrics, live = rig.finish()
    expected = sum(
        confusion_counts(label_map(index), label_map(index + 100), 19) for index in (0, 1, 3)
    )
    assert isinstance(expected, np.ndarray)
    assert metrics['confusion'] == expected[:, :-1].tolist()
    assert metrics['frames'] == {'total': 4, 'scored': 3, 'noted': 0}
    assert (live['images'], live['masks'], live['dropped'], live['pairs']) == (4, 3, 1, 3)
    assert live['published'] == 4
    assert live['engine'] == {'engine': 'fake'}
    assert 0 < live['latency_ms']['p50'] < 1000 * (monotonic() - began)
    assert live['age_ms'] is None  # these stamps are of 1970


def test_it_waits_for_masks_that_were_answered(rig: Rig) -> None:
    rig.play(3, without_mask=(0, 2))
    rig.send('replay/report', String(data=ReplayReport(True, answered=2).to_json()), LATCHED)
    rig.spin(1.5)
    assert not rig.node.done
    rig.send('segmentation/mask', message(label_map(102), 2))
    _, live = rig.finish()
    assert (live['images'], live['masks'], live['dropped']) == (3, 2, 1)


def test_what_cannot_be_scored_is_said(rig: Rig) -> None:
    rig.send('labels', message(np.zeros((8, 8), np.uint8), 1))
    rig.send('segmentation/mask', message(label_map(1), 1))
    rig.send('segmentation/mask', message(np.zeros((*SIZE, 3), np.uint8), 2, 'bgr8'))
    rig.send('replay/report', String(data=ReplayReport(True).to_json()), LATCHED)
    metrics, _ = rig.finish()
    assert metrics['frames']['scored'] == 0
    assert 'labels of 8x8 pixels do not fit' in metrics['notes'][0]['note']
    assert 'bgr8 is not an encoding of labels' in metrics['inputs'][0]['notes'][0]


def test_labels_may_be_compressed_without_loss(rig: Rig) -> None:
    for sec, kind in ((1, '.png'), (2, '.jpg')):
        data = cv2.imencode(kind, label_map(sec))[1].tobytes()
        header = Header(stamp=Time(sec=sec, nanosec=5))
        rig.send('labels/compressed', CompressedImage(header=header, format=kind, data=data))
        rig.send('segmentation/mask', message(label_map(sec + 100), sec))
    rig.send('replay/report', String(data=ReplayReport(True).to_json()), LATCHED)
    metrics, live = rig.finish()
    expected = confusion_counts(label_map(1), label_map(101), 19)
    assert metrics['confusion'] == expected[:, :-1].tolist()
    assert (live['masks'], live['pairs']) == (2, 1)
    assert "labels of format '.jpg' are not PNG" in metrics['inputs'][0]['notes'][0]


def test_without_a_replay_node_silence_ends_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path / 'out', quiet=0.5, merge='rider, bicycle')
    try:
        assert not rig.node.done
        rig.play(2)
        metrics, live = rig.finish()
    finally:
        rig.close()
    assert metrics['frames']['scored'] == 2
    assert 'rider+bicycle' in metrics['iou']
    assert live['published'] is None


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match='output is empty'):
        EvaluatorNode()
    overrides = [Parameter('output', value=str(tmp_path)), Parameter('merge', value='rider,tram')]
    with pytest.raises(ClassMapError, match="no class 'tram'"):
        EvaluatorNode(parameter_overrides=overrides)


def test_the_mount_is_read_only(tmp_path: Path) -> None:
    node = EvaluatorNode(parameter_overrides=[Parameter('output', value=str(tmp_path))])
    (result,) = node.set_parameters([Parameter('mount.height', value=1.5)])
    node.close()
    node.destroy_node()
    assert not result.successful
    assert 'read-only' in result.reason


def test_a_full_disk_costs_its_masks_and_is_noted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = rig.node._backlog.append
    pairs = []

    def full_once(pair: Pair) -> None:
        pairs.append(pair)
        if len(pairs) == 2:
            raise OSError(errno.ENOSPC, 'No space left on device', '/tmp')
        append(pair)

    monkeypatch.setattr(rig.node._backlog, 'append', full_once)
    rig.play(4)
    rig.send('replay/report', String(data=ReplayReport(True, published=4).to_json()), LATCHED)
    metrics, _ = rig.finish()
    assert metrics['frames'] == {'total': 4, 'scored': 3, 'noted': 0}
    (note, *_) = metrics['inputs'][0]['notes']
    assert note.startswith('masks are not scored: /tmp: the disk is full')
