# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exports of Hugging Face as Optimum makes them: open axes, configurations beside the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, ModelError, load_model
from segformer_ros.model.spec import HALF_MEAN, IMAGENET_MEAN, IMAGENET_STD
from tiny_models import HUGGINGFACE, OWN, TAO5, painting, save_network

SIZE = (64, 128)
CONFIG = {
    'architectures': ['SegformerForSemanticSegmentation'],
    'id2label': {str(index): f'thing {index}' for index in range(19)},
    'model_type': 'segformer',
}
PREPROCESSOR = {
    'do_normalize': True,
    'do_rescale': True,
    'do_resize': True,
    'image_mean': [0.485, 0.456, 0.406],
    'image_std': [0.229, 0.224, 0.225],
    'image_processor_type': 'SegformerImageProcessor',
    'rescale_factor': 1 / 255,
    'size': {'height': 64, 'width': 128},
}


def save_optimum(
    folder: Path,
    preprocessor: dict[str, Any] | None = PREPROCESSOR,
    config: dict[str, Any] | None = CONFIG,
) -> Path:
    """The palette network with all axes of input and output open, and its configurations."""
    folder.mkdir(exist_ok=True)
    path = save_network(folder / 'model.onnx', SIZE, replace(HUGGINGFACE, dynamic_size=True))
    model = onnx.load(str(path))
    for value, names in (
        (model.graph.input[0], ('batch_size', 'num_channels', 'height', 'width')),
        (model.graph.output[0], ('batch_size', 'num_labels', 'height', 'width')),
    ):
        for side, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            side.dim_param = name
    onnx.save(model, str(path))
    for name, values in (('preprocessor_config', preprocessor), ('config', config)):
        if values is not None:
            (folder / f'{name}.json').write_text(json.dumps(values))
    return path


def labels(path: Path, **declared: Any) -> np.ndarray:
    spec = load_model(path, parameters=Declared(**declared))
    with create_engine(spec, 'openvino') as engine:
        return engine.segment([Frame.from_array(painting(*SIZE)[0])])[0].labels


def test_an_export_is_read_with_what_stands_beside_it(tmp_path: Path) -> None:
    spec = load_model(save_optimum(tmp_path))
    assert (spec.contract, spec.input_layout, spec.size) == ('huggingface', 'NCHW', SIZE)
    np.testing.assert_allclose((spec.mean, spec.std), (IMAGENET_MEAN, IMAGENET_STD), atol=1e-4)
    assert spec.class_map.names == tuple(f'thing {index}' for index in range(19))
    assert spec.notes == ()
    own = save_network(tmp_path / 'own.onnx', SIZE, OWN)
    assert (labels(tmp_path / 'model.onnx') == labels(own)).mean() > 0.998


def test_without_configurations_the_statistics_are_said(tmp_path: Path) -> None:
    spec = load_model(save_optimum(tmp_path, None, None))
    assert spec.mean == IMAGENET_MEAN
    assert 'are those of Hugging Face: rgb and the statistics (123.675' in spec.notes[0]
    assert '512x512 (width x height) was taken' in spec.notes[1]


def test_on_the_hub_they_lie_above_the_folder_onnx(tmp_path: Path) -> None:
    save_optimum(tmp_path)
    path = save_optimum(tmp_path / 'onnx', None, None)
    assert load_model(path).class_map.names[3] == 'thing 3'


@pytest.mark.parametrize(
    ('changes', 'mean', 'std', 'color'),
    [
        ({'image_mean': 0.5, 'image_std': 0.5}, 127.5, 127.5, 'rgb'),
        ({'do_rescale': False, 'image_mean': 127.5, 'image_std': 127.5}, 127.5, 127.5, 'rgb'),
        ({'do_normalize': False}, 0.0, 255.0, 'rgb'),
        ({'do_normalize': False, 'do_rescale': False}, 0.0, 1.0, 'rgb'),
        ({'do_normalize': False, 'do_flip_channel_order': True}, 0.0, 255.0, 'bgr'),
        ({'do_rescale': None, 'image_mean': 0.5, 'image_std': 0.5}, 127.5, 127.5, 'rgb'),
    ],
)
def test_the_preprocessor_says_the_statistics(
    tmp_path: Path, changes: dict[str, Any], mean: float, std: float, color: str
) -> None:
    spec = load_model(save_optimum(tmp_path, {**PREPROCESSOR, **changes}))
    np.testing.assert_allclose((spec.mean, spec.std), ([mean] * 3, [std] * 3), rtol=1e-5)
    assert spec.color == color


@pytest.mark.parametrize(
    ('changes', 'size', 'note'),
    [
        ({'size': 96}, (96, 96), ''),
        ({'size': {'height': 100, 'width': 200}}, (100, 200), ''),
        ({'size': {'shortest_edge': 96}}, (96, 96), 'resizes the shorter edge to 96'),
        ({'do_center_crop': True, 'crop_size': {'height': 32, 'width': 64}}, (32, 64), ''),
        ({'do_resize': False}, (512, 512), '512x512 (width x height) was taken'),
    ],
)
def test_the_preprocessor_says_the_size(
    tmp_path: Path, changes: dict[str, Any], size: tuple[int, int], note: str
) -> None:
    spec = load_model(save_optimum(tmp_path, {**PREPROCESSOR, **changes}))
    assert spec.size == size
    assert note in ' '.join(spec.notes) and bool(note) == bool(spec.notes)


def test_the_size_of_the_graph_and_of_the_user_come_first(tmp_path: Path) -> None:
    path = save_optimum(tmp_path)
    assert load_model(path, parameters=Declared('parameters', size=(32, 64))).size == (32, 64)
    save_network(path, (96, 32), HUGGINGFACE)
    assert load_model(path).size == (96, 32)


def test_another_contract_has_its_own_statistics(tmp_path: Path) -> None:
    path = save_optimum(tmp_path)
    assert load_model(path, parameters=Declared(contract='tao6')).mean == HALF_MEAN


@pytest.mark.parametrize(
    ('labels', 'names'),
    [
        ({str(index): f'LABEL_{index}' for index in range(19)}, {18: 'bicycle'}),
        ({str(index): 'same' for index in range(19)}, {18: 'same (18)'}),
        ({'0': 'unlabeled', '2': 'road', '18': 'sky'}, {2: 'road', 1: 'class 1', 18: 'sky'}),
        ({str(index): f'x{index}' for index in range(2)}, None),
    ],
)
def test_names_of_classes(
    tmp_path: Path, labels: dict[str, str], names: dict[int, str] | None
) -> None:
    path = save_optimum(tmp_path, config={**CONFIG, 'id2label': labels})
    if names is None:
        with pytest.raises(ModelError, match='has 19 classes, but class map .* has 2'):
            load_model(path)
        return
    found = load_model(path).class_map.names
    assert {index: found[index] for index in names} == names


@pytest.mark.parametrize(
    ('preprocessor', 'config', 'words'),
    [
        ({'image_std': [0, 1, 1]}, {}, r'image_std\[0\]: 0 cannot be divided by'),
        ({'image_mean': None}, {}, 'lacks image_mean, which differ from model to model'),
        (
            {'size': {'height': 0, 'width': 9}},
            {},
            'height: 0 is not a whole number from 1 to 16384',
        ),
        ({}, {'architectures': ['SegformerForImageClassification']}, 'does not give a score'),
        ({}, {'architectures': ['Mask2FormerForUniversalSegmentation']}, 'does not give a score'),
        ({}, {'id2label': {'a': 'road', '1': 'sky'}}, "id2label: 'a' is not a whole number"),
        ({}, {'id2label': ['road']}, 'is not a mapping of ids to names'),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, preprocessor: dict[str, Any], config: dict[str, Any], words: str
) -> None:
    path = save_optimum(tmp_path, {**PREPROCESSOR, **preprocessor}, {**CONFIG, **config})
    with pytest.raises(ModelError, match=words):
        load_model(path)


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    path = save_optimum(tmp_path)
    (tmp_path / 'preprocessor_config.json').write_text('{"image_mean": ')
    with pytest.raises(ModelError, match=r'cannot read .*preprocessor_config\.json: .*JSON'):
        load_model(path)


@pytest.mark.parametrize('text', ['{"port": 8080}', '[1, 2]'])
def test_a_config_of_another_program_is_none(tmp_path: Path, text: str) -> None:
    path = save_network(tmp_path / 'model.onnx', SIZE, TAO5)
    (tmp_path / 'config.json').write_text(text)
    assert load_model(path).contract == 'tao5'


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
def test_axes_that_the_graph_does_not_show_are_asked_for(tmp_path: Path, layout: str) -> None:
    export = replace(HUGGINGFACE, layout=layout, dynamic_size=True)
    path = save_network(tmp_path / 'model.onnx', SIZE, export)
    model = onnx.load(str(path))
    for side in model.graph.input[0].type.tensor_type.shape.dim:
        side.dim_param = 'open'
    onnx.save(model, str(path))
    assert load_model(path).input_layout == layout  # the first layer tells
    source = model.graph.node[0]
    model.graph.node.insert(0, onnx.helper.make_node('Neg', ['pixel_values'], ['negative']))
    source.input[0] = 'negative'
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match='say `input_layout: NCHW` or `NHWC` in a sidecar'):
        load_model(path)
    (tmp_path / 'model.onnx.yaml').write_text(f'input_layout: {layout}\n')
    assert load_model(path).input_layout == layout


def test_weights_of_transformers_tell_an_export_under_other_names(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'model.onnx', SIZE, replace(HUGGINGFACE, input_name='input'))
    with pytest.raises(ModelError, match='TAO 6, raw logits and others name them so'):
        load_model(path)
    model = onnx.load(str(path))
    weights = 'segformer.encoder.patch_embeddings.0.proj.weight'
    for tensor in model.graph.initializer:
        if tensor.name == 'kernel':
            tensor.name = weights
    for node in model.graph.node:
        node.input[:] = [weights if name == 'kernel' else name for name in node.input]
    onnx.save(model, str(path))
    spec = load_model(path)
    assert (spec.contract, spec.mean, spec.notes) == ('huggingface', IMAGENET_MEAN, ())
