# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Weights come back from a deployed graph, and training goes on from its function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tools.training.data import Loader
from tools.training.export import export
from tools.training.model import SegFormer, create_model, normalise
from tools.training.preflight import check_run
from tools.training.recipe import Recipe, RecipeError
from tools.training.train import Schedule, Trainer, load_sources, main, run
from tools.training.warm_start import read_weights, warm_start


@pytest.fixture
def trained() -> SegFormer:
    """A nano network with batch statistics of its own."""
    torch.manual_seed(0)
    model = create_model('nano')
    for _ in range(3):
        model(torch.randn(2, 3, 64, 96) * 2 + 1)
    return model.eval()


@pytest.fixture
def deployed(trained: SegFormer, tmp_path: Path) -> Path:
    """Its graph."""
    path = tmp_path / 'deployed.onnx'
    copy = create_model('nano')
    copy.load_state_dict(trained.state_dict())
    export(copy.eval(), path, (64, 96))
    return path


@pytest.fixture
def images() -> torch.Tensor:
    """Frames as the network sees them."""
    frames = np.random.default_rng(1).integers(0, 256, (4, 3, 64, 96), np.uint8)
    return normalise(torch.from_numpy(frames))


@torch.no_grad()
def test_the_function_comes_back(trained: SegFormer, deployed: Path, images: torch.Tensor) -> None:
    begun = create_model('nano')
    warm_start(begun, read_weights(deployed, begun), images)
    torch.testing.assert_close(begun.eval()(images), trained(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_training_normalises_to_the_same_function(
    trained: SegFormer, deployed: Path, images: torch.Tensor
) -> None:
    begun = create_model('nano')
    warm_start(begun, read_weights(deployed, begun), images)
    torch.testing.assert_close(begun.train()(images), trained(images), rtol=0, atol=1e-5)


def test_an_encoders_weights_come_back_exactly(trained: SegFormer, deployed: Path) -> None:
    weights = read_weights(deployed, create_model('nano'))
    for name, value in trained.encoder.state_dict().items():
        assert torch.equal(weights[f'encoder.{name}'], value), name


def test_another_size_is_refused(deployed: Path) -> None:
    with pytest.raises(RecipeError, match=r'is \[8, 3, 7, 7\] in it and \[32, 3, 7, 7\]'):
        read_weights(deployed, create_model('tiny'))


def test_another_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'other.onnx'
    value = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node('Relu', ['x'], ['y'])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], 'g', [value], [value])), path)
    with pytest.raises(RecipeError, match='is none in it'):
        read_weights(path, create_model('nano'))
    path.write_bytes(b'no graph')
    with pytest.raises(RecipeError, match='is no ONNX model to begin with'):
        read_weights(path, create_model('nano'))


def test_a_run_begins_with_the_graphs_weights(
    recipe: Recipe, deployed: Path, trained: SegFormer, tmp_path: Path
) -> None:
    frozen = replace(recipe, init=str(deployed), rates=((0, 0.0),))
    trainer = run(frozen, tmp_path / 'out', torch.device('cpu'), Schedule(stop_after=1))
    for name, value in trained.encoder.named_parameters():
        assert torch.equal(trainer.model.encoder.get_parameter(name), value), name


def test_a_model_named_on_the_command_line_is_begun_with(
    folder: Path, deployed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'r.yaml'
    path.write_text(
        f'size: nano\nfolders: {{a: {{path: {folder}}}}}\nrates: [[0, 0]]\n'
        'stages: [{steps: 1, crop: [64, 64], batch: {a: 2}}]\n'
    )
    command = ['--recipe', str(path), '--out', str(tmp_path / 'o'), '--device', 'cpu']
    assert main([*command, '--init', str(deployed)]) == 0
    assert main([*command, '--init', str(deployed)]) == 0
    assert main(command) == 2
    assert 'were made by another recipe' in capsys.readouterr().err


def test_a_shallower_network_begins_with_the_first_blocks(tmp_path: Path) -> None:
    deep = create_model('b0')
    expected = {name: value.clone() for name, value in deep.encoder.state_dict().items()}
    path = tmp_path / 'deep.onnx'
    export(deep.eval(), path, (64, 64))
    shallow = create_model('tiny')
    warm_start(shallow, read_weights(path, shallow), torch.randn(2, 3, 64, 64))
    for name, value in shallow.encoder.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_teachers_divergence_is_part_of_the_loss(
    recipe: Recipe, deployed: Path, tmp_path: Path
) -> None:
    taught = replace(recipe, teacher=str(deployed), teacher_size='nano', distillation=2.0)
    sources = load_sources(recipe, tmp_path)
    batches = Loader(recipe, sources).make(0)
    student, alone = (Trainer(r, sources, torch.device('cpu')) for r in (taught, recipe))
    assert student.teacher is not None
    assert not any(p.requires_grad for p in student.teacher.parameters())
    assert student.train_step(batches) > alone.train_step(batches)


def test_a_teacher_that_is_missing_is_named(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='no model at .*none.onnx'):
        check_run(replace(recipe, teacher=str(tmp_path / 'none.onnx')), tmp_path)
