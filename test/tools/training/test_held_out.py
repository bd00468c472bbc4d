# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Places that a recipe holds out, as folder pairs, and their scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.training.data import read_picture
from tools.training.export import export
from tools.training.held_out import EVERYTHING, main, score, table, write_places
from tools.training.model import create_model
from tools.training.recipe import Recipe, RecipeError


@pytest.fixture
def places(recipe: Recipe, folder: Path) -> Recipe:
    """Frames of three places, two of them held out, with coarse labels beside the others."""
    (folder / 'groups').mkdir()
    for i in range(4):
        groups = np.full((96, 128), 5, np.uint8)
        groups[:20], groups[60:] = 6, 0
        cv2.imwrite(str(folder / 'groups' / f'{i}.png'), groups)
    held_out: dict[str, tuple[str, ...]] = {'hill': ('[01]',), 'dale': ('3',)}
    source = replace(
        recipe.folders['frames'], taxonomy='idd_kerbs', coarse='groups', held_out=held_out
    )
    return replace(recipe, folders={'frames': source})


def test_places_are_linked_and_all_of_them_together(places: Recipe, tmp_path: Path) -> None:
    found = write_places(places, tmp_path / 'out')
    assert set(found) == {'hill', 'dale', 'hill_groups', 'dale_groups', EVERYTHING}
    names = {
        name: sorted(p.name for p in (place.path / 'images').iterdir())
        for name, place in found.items()
    }
    assert names['hill'] == ['0.png', '1.png']
    assert names[EVERYTHING] == ['dale_3.png', 'hill_0.png', 'hill_1.png']
    assert (found['hill'].path / 'labels' / '1.png').resolve().parent.name == 'labels'


def test_groups_are_scored_as_one_class(places: Recipe, tmp_path: Path) -> None:
    place = write_places(places, tmp_path / 'out')['hill_groups']
    labels = read_picture(place.path / 'labels' / '0.png', cv2.IMREAD_UNCHANGED)
    assert [int(labels[row, 0]) for row in (0, 40, 90)] == [10, 2, 0]  # sky, building, road
    assert ('building', 'vegetation') in place.merged
    assert not any('road' in group for group in place.merged)
    classes = [name for group in place.merged for name in group]
    assert len(classes) == len(set(classes))  # strays are scored in their own group


@pytest.mark.filterwarnings('ignore')
def test_a_model_is_scored_place_by_place(places: Recipe, tmp_path: Path) -> None:
    model = tmp_path / 'model.onnx'
    export(create_model('nano').eval(), model, (96, 128))
    found = write_places(places, tmp_path / 'out')
    scores = {name: score(model, found[name], tmp_path / name) for name in ('hill', 'hill_groups')}
    lines = table(scores).splitlines()
    assert lines[0].split()[:3] == ['place', 'frames', 'mean']
    assert [line.split()[:2] for line in lines[2:]] == [['hill', '2'], ['hill_groups', '2']]
    assert 0.0 <= scores['hill_groups']['iou']['building+vegetation'] <= 1.0


def test_a_recipe_without_such_places_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='holds no place out'):
        write_places(recipe, tmp_path)


def test_a_missing_model_is_one_line(
    places: Recipe, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'r.yaml'
    path.write_text(
        f'size: nano\nfolders: {{a: {{path: {folder}, held_out: {{hill: ["1"]}}}}}}\n'
        'stages: [{steps: 1, crop: [64, 64], batch: {a: 2}}]\n'
    )
    command = [str(tmp_path / 'none.onnx'), str(tmp_path / 'out'), '--recipe', str(path)]
    assert main(command) == 2
    assert 'held_out: no model file' in capsys.readouterr().err
