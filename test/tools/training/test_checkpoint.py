# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Checkpoints: read back as they were, refused where they are something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tools.training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_run
from tools.training.recipe import Recipe, RecipeError


def saved(recipe: Recipe, path: Path) -> Path:
    tensors = {'weight': torch.arange(4.0)}
    Checkpoint(recipe, 3, tensors, {'model': tensors}, [{'state': {}}]).save(path)
    return path


def test_what_was_saved_comes_back(recipe: Recipe, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(saved(recipe, tmp_path / 'checkpoint.pt'))
    assert (checkpoint.recipe, checkpoint.step) == (recipe, 3)
    assert torch.equal(checkpoint.model['weight'], torch.arange(4.0))
    assert [path.name for path in tmp_path.glob('checkpoint*')] == ['checkpoint.pt']


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'no checkpoint at .*none\.pt'):
        load_checkpoint(tmp_path / 'none.pt')


@pytest.mark.parametrize('kind', ['text', 'empty', 'truncated', 'weights alone'])
def test_another_file_is_refused(recipe: Recipe, tmp_path: Path, kind: str) -> None:
    path = saved(recipe, tmp_path / 'checkpoint.pt')
    if kind == 'weights alone':
        torch.save({'weight': torch.zeros(2)}, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({'text': b'hello', 'empty': b''}.get(kind, whole[: len(whole) // 2]))
    with pytest.raises(
        CheckpointError, match=r'checkpoint\.pt is not a checkpoint of a training run'
    ):
        load_checkpoint(path)


def test_a_run_goes_on_from_its_own_recipe_alone(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / 'checkpoint.pt'
    assert load_run(path, recipe) is None
    saved(recipe, path)
    moved = recipe.with_folders([('frames', '/elsewhere')])
    for same in (recipe, moved):
        checkpoint = load_run(path, same)
        assert checkpoint is not None and checkpoint.step == 3
    with pytest.raises(RecipeError, match='its first 3 steps were made by another recipe'):
        load_run(path, replace(recipe, seed=1))
