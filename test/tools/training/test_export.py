# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The shipped graph gives torch's logits, at every size and batch, and says what it is."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tools.training.export import export, main
from tools.training.model import SegFormer, create_model, normalise
from tools.training.recipe import Recipe
from tools.training.taxonomy import CLASS_COUNT
from tools.training.train import Trainer, load_sources


@pytest.fixture
def model() -> SegFormer:
    """The nano network, with batch statistics that folding must not lose."""
    torch.manual_seed(0)
    model = create_model('nano')
    for _ in range(3):
        model(torch.randn(2, 3, 64, 96) * 2 + 1)
    return model.eval()


def torch_logits(model: SegFormer, frames: np.ndarray) -> np.ndarray:
    """Reference: (B, H, W, 3) uint8 BGR through the trained network as training sees it."""
    rgb = torch.from_numpy(frames[..., ::-1].copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        return model(normalise(rgb)).numpy()


@pytest.mark.filterwarnings('ignore')
def test_onnx_equals_torch_at_every_size(model: SegFormer, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [
        rng.integers(0, 256, (batch, height, width, 3), np.uint8)
        for batch, height, width in [(1, 64, 96), (3, 96, 64), (1, 64, 160)]
    ]
    expected = [torch_logits(model, batch) for batch in frames]
    path = tmp_path / 'model.onnx'
    export(model, path, (64, 96))
    session = onnxruntime.InferenceSession(str(path))
    for batch, logits in zip(frames, expected, strict=True):
        (found,) = session.run(['logits'], {'image': batch})
        assert found.shape == (len(batch), CLASS_COUNT, *(side // 4 for side in batch.shape[1:3]))
        np.testing.assert_allclose(found, logits, atol=1e-4)


@pytest.mark.filterwarnings('ignore')
def test_the_file_says_what_it_is(model: SegFormer, tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    export(model, path, (64, 96), dynamic=False, terms='CC0-1.0')
    graph = onnx.load(path)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata['segformer_ros.contract'] == 'uint8_bgr_nhwc'
    assert metadata['segformer_ros.input_size'] == '64x96'
    assert metadata['license'] == 'CC0-1.0'
    assert graph.opset_import[0].version == 17
    assert not {node.op_type for node in graph.graph.node} & {'BatchNormalization', 'Concat'}


def test_a_checkpoint_becomes_a_model_that_names_no_licence(
    recipe: Recipe, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, path = tmp_path / 'checkpoint.pt', tmp_path / 'model.onnx'
    Trainer(recipe, load_sources(recipe, tmp_path), torch.device('cpu')).save(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter('error', DeprecationWarning)
        assert main([str(checkpoint), str(path), '--height', '64', '--width', '96']) == 0
    assert capsys.readouterr().out.startswith(f'{path}: ')
    assert 'license' not in {entry.key for entry in onnx.load(path).metadata_props}


def test_export_of_what_is_no_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / 'none.pt'), str(tmp_path / 'model.onnx')]) == 2
    assert main([str(tmp_path / 'none.pt'), str(tmp_path / 'model.txt')]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith('export: no checkpoint at')
    assert second.startswith('export: cannot write') and second.endswith('.onnx')
