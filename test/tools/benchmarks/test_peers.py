# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The comparison with what is usually written: its table, and a short run where the peers are."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('torch')
pytest.importorskip('transformers', reason='./run bench --peers adds it')

from segformer_ros.model import load_model
from tools.benchmarks import peers
from tools.benchmarks.exports import HUGGINGFACE, save_reexport
from tools.benchmarks.stages import street_scenes


def test_ratios_are_of_the_same_round() -> None:
    times = {'slow': [30.0, 60.0, 90.0], peers.OURS: [10.0, 20.0, 30.0]}
    last = peers.report(times, {peers.OURS: 100.0, 'slow': 99.5}).splitlines()[-2:]
    assert [line.split() for line in last] == [
        ['slow', '60.0', '3.00', '99.500'],
        [peers.OURS, '20.0', '1.00', '100.000'],
    ]


def test_all_have_the_same_weights(tmp_path: Path) -> None:
    spec = load_model(save_reexport(tmp_path / 'peers.onnx', (64, 128), HUGGINGFACE))
    frame = street_scenes(64, 128, count=1)[0].frame  # nobody has to resize
    message = peers.image_message(frame.bgr(), 'bgr8')
    with ExitStack() as stack:
        masks = [
            np.array(way(message)[0].data)
            for way in (
                peers.transformers_way(spec, 1),
                peers.onnxruntime_way(spec, 1),
                peers.own_way(spec, 1, stack),
            )
        ]
    assert len(np.unique(masks[0])) > 1
    for mask in masks[:2]:
        assert (mask == masks[2]).mean() > 0.999
