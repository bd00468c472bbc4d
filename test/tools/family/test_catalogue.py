# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The published family: its sizes, its cost, and that the graphs run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import load_model
from tools.family import FAMILY, FamilyError, family_model
from tools.family.fan import FAN, fan_features
from tools.family.graph import NetworkGraph

# Millions of parameters and 10^9 multiplications at a size (height, width), by table 1 of the
# SegFormer paper, resizing and softmax included.
PUBLISHED = {
    'mit-b0': (3.8, 125.5),
    'mit-b1': (13.7, 243.7),
    'mit-b2': (27.5, 717.1),
    'mit-b3': (47.3, 962.9),
    'mit-b4': (64.1, 1240.6),
    'mit-b5': (84.7, 1460.4),
}
PUBLISHED_SIZE = (1024, 2048)

# The same of FAN-hybrid's encoders at 224x224 by their paper; class attention and classifier,
# which their parameters include, are not here.
PUBLISHED_ENCODERS = {'fan-tiny': (7.4, 3.5), 'fan-small': (26.3, 6.7), 'fan-base': (50.4, 11.3)}


@pytest.mark.parametrize('name', PUBLISHED)
def test_members_cost_what_is_published(name: str) -> None:
    parameters, macs = PUBLISHED[name]
    model = family_model(name, PUBLISHED_SIZE)
    assert model.parameters / 1e6 == pytest.approx(parameters, rel=0.025)
    assert 0.96 < model.macs / 1e9 / macs < 1.0


@pytest.mark.parametrize('name', PUBLISHED_ENCODERS)
def test_fan_encoders_cost_what_is_published(name: str) -> None:
    parameters, macs = PUBLISHED_ENCODERS[name]
    graph = NetworkGraph('input', (224, 224))
    fan_features(graph, FAN[name])
    assert 0.8 < graph.parameters / 1e6 / parameters < 0.95
    assert graph.macs / 1e9 == pytest.approx(macs, rel=0.04)


def test_cost_grows_with_the_attention() -> None:
    small = family_model('fan-tiny', (64, 64))
    large = family_model('fan-tiny', (128, 128))
    assert small.parameters == large.parameters
    assert 4.0 < large.macs / small.macs < 4.5


@pytest.mark.parametrize(('name', 'contract'), [('fan-tiny', 'tao6'), ('mit-b0', 'huggingface')])
def test_members_run_as_they_are_written(name: str, contract: str, tmp_path: Path) -> None:
    path = family_model(name, (64, 96)).write(tmp_path / 'm.onnx')
    spec = load_model(path)
    assert (spec.contract, spec.size, spec.batch) == (contract, (64, 96), None)
    image = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    with create_engine(spec, 'openvino') as engine:
        result = engine.segment([Frame.from_array(image)])[0]
    assert result.labels.shape == (50, 80)
    assert len(np.unique(result.labels)) > 1


def test_every_member_is_named() -> None:
    assert FAMILY[:4] == ('fan-tiny', 'fan-small', 'fan-base', 'mit-b0') and len(FAMILY) == 9


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(FamilyError, match="no member 'mit-b9' in the family; it has fan-tiny"):
        family_model('mit-b9', (64, 64))
    with pytest.raises(
        FamilyError, match='size 100x64 .width x height.: both sides must be multiples of 32'
    ):
        family_model('mit-b0', (64, 100))
