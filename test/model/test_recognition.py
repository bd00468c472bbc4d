# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Every export of one network is recognised by its file, or asked for; the masks are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, ModelError, ModelSpec, load_model
from tiny_models import HUGGINGFACE, OWN, TAO5, TAO6, Export, painting, save_network

SIZE = (64, 128)

# Normalisation folded into the weights rounds: pixels whose two best classes are close differ.
SAME = 0.998

EXPORTS = {
    'own': (OWN, 'uint8_bgr_nhwc'),
    'own, batch 1': (replace(OWN, batch=1), 'uint8_bgr_nhwc'),
    'own, any size': (replace(OWN, dynamic_size=True), 'uint8_bgr_nhwc'),
    'tao 5': (TAO5, 'tao5'),
    'tao 5, batch 4': (replace(TAO5, batch=4), 'tao5'),
    'tao 5, channels last': (replace(TAO5, output_layout='NHWC'), 'tao5'),
    'tao 5, int32': (replace(TAO5, output='int32'), 'tao5'),
    'tao 5, uint8 without channel': (replace(TAO5, output='uint8', output_layout='NHW'), 'tao5'),
    'tao 6': (TAO6, 'tao6'),
    'tao 6, batch 1': (replace(TAO6, batch=1), 'tao6'),
    'tao 6, channels last': (replace(TAO6, layout='NHWC', output_layout='NHWC'), 'tao6'),
    'hugging face': (HUGGINGFACE, 'huggingface'),
    'hugging face, batch 2': (replace(HUGGINGFACE, batch=2), 'huggingface'),
    'hugging face, softmax': (replace(HUGGINGFACE, output='softmax'), 'huggingface'),
    'hugging face, softmax last': (
        replace(HUGGINGFACE, output='softmax', output_layout='NHWC'),
        'huggingface',
    ),
}


def masks(spec: ModelSpec) -> np.ndarray:
    """Masks of a few frames of the network's own size: labels made inside the graph match too."""
    frames = [Frame.from_array(painting(*SIZE, seed=seed)[0]) for seed in range(6)]
    with create_engine(spec, 'openvino') as engine:
        return np.stack([result.labels for result in engine.segment(frames)])


@pytest.fixture(scope='module')
def own_masks(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = save_network(tmp_path_factory.mktemp('own') / 'own.onnx', SIZE)
    return masks(load_model(path))


@pytest.mark.parametrize('name', EXPORTS)
def test_the_file_alone_gives_the_same_masks(
    name: str, tmp_path: Path, own_masks: np.ndarray
) -> None:
    export, contract = EXPORTS[name]
    told = Declared(contract='tao6' if contract == 'tao6' else None)
    spec = load_model(save_network(tmp_path / 'model.onnx', SIZE, export), parameters=told)
    assert spec.contract == contract
    assert spec.size == SIZE
    assert spec.batch == export.batch
    assert len(spec.class_map) == 19
    assert (masks(spec) == own_masks).mean() > SAME


def test_a_dynamic_size_is_taken_from_the_contract_and_said(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'm.onnx', SIZE, replace(TAO6, dynamic_size=True))
    spec = load_model(path, parameters=Declared(contract='tao6'))
    assert spec.size == (1024, 1024)
    assert spec.notes == ('the graph takes any size; 1024x1024 (width x height) was taken',)
    assert spec.resized(*SIZE).size == SIZE
    with pytest.raises(
        ModelError, match='130x64 .width x height.: both sides must be multiples of 32'
    ):
        spec.resized(64, 130)


def test_a_static_size_stays(tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx', SIZE))
    assert spec.resized(*SIZE) is spec
    with pytest.raises(ModelError, match='takes 128x64 .width x height. only, not 128x96'):
        spec.resized(96, 128)


@pytest.mark.parametrize(
    'export',
    [
        TAO6,
        replace(TAO6, input_name='x'),
        replace(TAO6, output='softmax'),
        Export('image', 'logits', 'uint8', 'NHWC'),
    ],
    ids=[
        'TAO 6 or others',
        'foreign names',
        'softmax of unknown origin',
        'uint8 without metadata',
    ],
)
def test_what_the_file_does_not_tell_is_not_guessed(tmp_path: Path, export: Export) -> None:
    path = save_network(tmp_path / 'm.onnx', SIZE, export)
    with pytest.raises(ModelError, match=r'do not tell which colours and statistics.*m\.onnx\.ya'):
        load_model(path)


def test_a_sidecar_tells_what_the_file_does_not(tmp_path: Path, own_masks: np.ndarray) -> None:
    path = save_network(tmp_path / 'm.onnx', SIZE, replace(TAO6, input_name='x'))
    (tmp_path / 'm.onnx.yaml').write_text('contract: tao6\n')
    assert (masks(load_model(path)) == own_masks).mean() > SAME
    (tmp_path / 'm.onnx.yaml').write_text(
        'color: rgb\nmean: [127.5, 127.5, 127.5]\nstd: [127.5, 127.5, 127.5]\n'
    )
    spec = load_model(path)
    assert spec.contract == 'declared'
    assert (masks(spec) == own_masks).mean() > SAME
