# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The training loop: it learns, repeats bit for bit, resumes, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tools.training.data import Loader, load_folder
from tools.training.parallel import ALONE
from tools.training.recipe import Recipe, RecipeError
from tools.training.train import Schedule, Trainer, main, next_step, run

CPU = torch.device('cpu')


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {
        **{f'model.{k}': v for k, v in trainer.model.state_dict().items()},
        **{f'ema.{k}': v for k, v in trainer.ema.model.state_dict().items()},
    }


def test_steps_on_a_fixed_batch_lower_the_loss(recipe: Recipe, folder: Path) -> None:
    sources = {'frames': load_folder('frames', recipe.folders['frames'])}
    trainer = Trainer(replace(recipe, drop_path=0.0, rates=((0, 1e-3),)), sources, CPU, ALONE)
    batch = Loader(recipe, sources).make(0)
    losses = [trainer.train_step(batch) for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_same_seed_same_weights_also_when_interrupted(
    recipe: Recipe, tmp_path: Path, optimizer: str
) -> None:
    recipe = replace(recipe, optimizer=optimizer)
    whole = weights(run(recipe, tmp_path / 'whole', CPU, Schedule()))
    for stop in (4, None):
        resumed = run(recipe, tmp_path / 'parts', CPU, Schedule(stop_after=stop), loaders=2)
    assert resumed.step == recipe.steps
    other = weights(resumed)
    assert all(torch.equal(whole[name], other[name]) for name in whole)


def test_another_seed_gives_other_weights(recipe: Recipe, tmp_path: Path) -> None:
    first = weights(run(recipe, tmp_path / 'a', CPU, Schedule(stop_after=2)))
    second = weights(run(replace(recipe, seed=1), tmp_path / 'b', CPU, Schedule(stop_after=2)))
    name = 'model.decoder.classifier.weight'
    assert not torch.equal(first[name], second[name])


def test_a_checkpoint_of_another_recipe_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe, tmp_path / 'out', CPU, Schedule(stop_after=3))
    with pytest.raises(RecipeError, match=r'its first 3 steps were made by another recipe'):
        run(replace(recipe, jaccard=0.0), tmp_path / 'out', CPU, Schedule())


def test_the_log_has_scores(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    run(recipe, out, CPU, Schedule(validate=folder))
    last = json.loads((out / 'log.jsonl').read_text().splitlines()[-1])
    assert last['step'] == recipe.steps
    assert set(last['iou']) == {'0', '2', '5', '10'}
    assert 0.0 <= last['miou'] <= 1.0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_train_one_model(
    recipe: Recipe, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'two.yaml'
    path.write_text(
        'size: nano\nworkers: 2\n'
        f'folders: {{frames: {{path: {folder}, taxonomy: camvid, rare: [5]}}}}\n'
        'streets: {streets: {drives: 2, frames_per_drive: 1, first_seed: 1, size: [64, 96]}}\n'
        'stages: [{steps: 3, crop: [64, 64], batch: {frames: 2, streets: 2}}]\n'
    )
    states = []
    for name in ('a', 'b'):
        out = tmp_path / name
        assert main(['--recipe', str(path), '--out', str(out), '--device', 'cpu']) == 0
        states.append(torch.load(out / 'checkpoint.pt', weights_only=True)['model'])
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'r.yaml'
    path.write_text(
        'size: nano\nfolders: {a: {path: nowhere}}\n'
        'stages: [{steps: 1, crop: [64, 64], batch: {a: 2}}]\n'
    )
    assert main(['--recipe', str(path), '--out', str(tmp_path / 'o'), '--device', 'cpu']) == 2
    error = capsys.readouterr().err
    assert error.startswith('train: nowhere/images: no such folder')
    assert error.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--device', 'cuuda'], "'cuuda' is not a device of this PyTorch"),
        (['--device', 'cuda:99'], "'cuda:99' is not a device of this PyTorch"),
        (['--folder', 'camvid'], "'camvid' is not NAME=PATH"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(arguments)
    error = capsys.readouterr().err
    assert words in error
    assert error.count('\n') == 1


def test_a_folder_named_on_the_command_line_is_the_one_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'r.yaml'
    path.write_text(
        'size: nano\nfolders: {a: {path: nowhere}}\n'
        'stages: [{steps: 1, crop: [64, 64], batch: {a: 2}}]\n'
    )
    out = tmp_path / 'o'
    assert main(['--recipe', str(path), '--out', str(out), '--folder', f'a={folder}']) == 0
    assert (out / 'checkpoint.pt').exists()
    assert (
        'checkpoint.pt: step 1 of 1; `./run python -m tools.training.export'
        in capsys.readouterr().out
    )


def test_a_run_that_stops_early_says_how_it_goes_on() -> None:
    told = next_step(Path('out/checkpoint.pt'), 5, 9)
    assert told.startswith('out/checkpoint.pt: step 5 of 9; the same command')
