# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Recipes: read, checked, and lengthened only where nothing that has run changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.training.recipe import Recipe, RecipeError, load_recipe

RECIPES = Path(__file__).resolve().parents[3] / 'tools' / 'training' / 'recipes'


WHOLE = (
    'size: nano\nfolders: {a: {path: x}}\nstages: [{steps: 1, crop: [64, 64], batch: {a: 2}}]\n'
)


@pytest.mark.parametrize('path', sorted(RECIPES.glob('*.yaml')), ids=lambda path: path.stem)
def test_shipped_recipes_can_be_read(path: Path) -> None:
    assert load_recipe(path).steps > 0


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('size: b0\nstages: []\nlearning: 1', "unknown key 'learning': known are size"),
        ('stages: []', "missing 1 required positional argument: 'size'"),
        (
            'size: b0\nstages: [{steps: 1, crop: [64, 64], batch: {moon: 2}}]',
            r"stages\[0\].batch: no source 'moon'",
        ),
        (
            'size: b0\nworkers: 2\nfolders: {a: {path: x}}\n'
            'stages: [{steps: 1, crop: [64, 64], batch: {a: 3}}]',
            r'stages\[0\]: 3 crops per step cannot be shared by 2 workers',
        ),
        (
            'size: b0\nfolders: {a: {path: x}}\n'
            'stages: [{steps: 1, crop: [60, 64], batch: {a: 3}}]',
            'must be multiples of 32',
        ),
        ('size: b0\nstages: []\nseed: seven', "seed: expected int, found 'seven'"),
        ('size: b0\nstages: []', 'number of stages: 0 is too small; give 1 or more'),
        (f'{WHOLE}workers: 0', 'workers: 0 is too small; give 1 or more'),
        (f'{WHOLE}seed: -1', 'seed: -1 is too small; give 0 or more'),
        (f'{WHOLE}ema: 7', 'ema: 7.0 is not from 0 to below 1'),
        (f'{WHOLE}augment: {{scale: [3, 1]}}', r'augment.scale: 3.0 is above 1.0'),
        (f'{WHOLE}rates: [[5, 1.0e-3], [0, 0]]', 'rates: give .* rising steps'),
        (f'{WHOLE}rates: [[0, -1.0e-3]]', 'rates: give .* rates from 0'),
        (f'{WHOLE}rates: 5', 'rates: expected a list, found 5'),
        (
            f'{WHOLE}streets: {{s: {{drives: 0, frames_per_drive: 1, first_seed: 1}}}}',
            's.drives: 0',
        ),
        (
            WHOLE.replace('{path: x}', '{path: x, rare: [5, 44]}'),
            r'folders.a.rare: 44 is not a train id; give 0 to 18',
        ),
        (WHOLE.replace('steps: 1', 'steps: -5'), r'stages\[0\].steps: -5 is too small'),
        (WHOLE.replace('a: 2', 'a: 0'), r'stages\[0\].batch: 0 is too small'),
        (WHOLE.replace('[64, 64]', '[64]'), r'stages\[0\]: crop: expected 2 values, found \[64\]'),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / 'wrong.yaml'
    path.write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


def test_a_recipe_may_stand_on_another(tmp_path: Path) -> None:
    (tmp_path / 'whole.yaml').write_text(WHOLE)
    path = tmp_path / 'other.yaml'
    path.write_text('base: whole.yaml\nsize: tiny\n')
    assert load_recipe(path) == replace(load_recipe(tmp_path / 'whole.yaml'), size='tiny')
    path.write_text('base: none.yaml\n')
    with pytest.raises(RecipeError, match=r'no recipe at .*none\.yaml'):
        load_recipe(path)


def test_a_missing_recipe_says_where_the_shipped_ones_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='training/recipes has the shipped ones'):
        load_recipe(tmp_path / 'none.yaml')


@pytest.mark.parametrize(
    ('data', 'words'),
    [(b'a: [', 'while parsing'), (b'\xff\xfe\x00', 'cannot be read as a recipe')],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / 'wrong.yaml'
    path.write_bytes(data)
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


def test_folders_may_lie_elsewhere(recipe: Recipe) -> None:
    moved = recipe.with_folders([('frames', '/data')])
    assert moved.folders == {'frames': replace(recipe.folders['frames'], path='/data')}
    assert moved.agrees_until(recipe.steps, recipe)
    with pytest.raises(RecipeError, match="no folder 'frame' in the recipe; it has frames"):
        recipe.with_folders([('frame', '/data')])


def test_the_rate_follows_straight_lines_between_its_knots() -> None:
    recipe = Recipe('nano', (), rates=((0, 0.1), (10, 1.0), (80, 1.0), (100, 0.0)))
    assert recipe.rate_at(0) == pytest.approx(0.1)
    assert recipe.rate_at(5) == pytest.approx(0.55)
    assert [recipe.rate_at(step) for step in (10, 50, 80)] == [1.0, 1.0, 1.0]
    assert recipe.rate_at(90) == pytest.approx(0.5)


def test_a_recipe_may_be_lengthened_but_not_rewritten(recipe: Recipe) -> None:
    first, second = recipe.stages
    longer = replace(recipe, stages=(first, replace(second, steps=400)))
    assert longer.agrees_until(9, recipe)
    assert not longer.agrees_until(11, recipe)  # the other one ended at 10
    slower = replace(recipe, rates=((0, 1e-3), (6, 1e-3), (400, 0.0)))
    assert slower.agrees_until(7, recipe)
    assert not slower.agrees_until(9, recipe)  # the rate was falling already
    rewritten = replace(recipe, stages=(replace(first, crop=(32, 32)), second))
    assert not rewritten.agrees_until(6, recipe)
    assert not replace(recipe, seed=1).agrees_until(6, recipe)
