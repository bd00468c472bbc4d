# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Preflight: what is wrong with a run is said before anything is rendered or trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segformer_ros.destination import DestinationError
from tools.training.checkpoint import CheckpointError
from tools.training.data import DataError
from tools.training.preflight import check_run
from tools.training.recipe import Recipe, RecipeError


def test_a_run_that_can_be_made_passes(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    check_run(recipe, tmp_path / 'out', validate=folder)
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'size': 'b9'}, "unknown model size 'b9': choose one of nano, tiny, b0"),
        ({'optimizer': 'sgd'}, "unknown optimizer 'sgd': choose one of adamw, muon"),
    ],
)
def test_unknown_names_are_refused(
    recipe: Recipe, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        check_run(replace(recipe, **change), tmp_path)


def test_an_unknown_taxonomy_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    folders = {'frames': replace(recipe.folders['frames'], taxonomy='kitti')}
    with pytest.raises(RecipeError, match="unknown taxonomy 'kitti': choose one of cityscapes"):
        check_run(replace(recipe, folders=folders), tmp_path)


def test_a_model_to_begin_with_is_tried_too(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='no model at .*none.onnx to begin with'):
        check_run(replace(recipe, init=str(tmp_path / 'none.onnx')), tmp_path)


def test_a_missing_folder_is_named(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'^/nowhere/images: no such folder'):
        check_run(recipe.with_folders([('frames', '/nowhere')]), tmp_path)


def test_labels_of_no_class_are_named(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / 'labels' / '2.png'), np.full((96, 128), 200, np.uint8))
    with pytest.raises(DataError, match=r"2\.png: label 200 is not in taxonomy 'camvid'"):
        check_run(recipe, tmp_path)


def test_frames_to_score_are_tried_too(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match='no such folder'):
        check_run(recipe, tmp_path / 'out', validate=tmp_path / 'none')


def test_a_place_that_cannot_be_written_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(DestinationError, match='it is a file'):
        check_run(recipe, tmp_path / 'file')


def test_a_damaged_checkpoint_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / 'checkpoint.pt').write_bytes(b'half')
    with pytest.raises(CheckpointError, match='or damaged'):
        check_run(recipe, tmp_path)
