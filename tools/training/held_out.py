# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""`python -m tools.training.held_out MODEL OUT`: scores a model on the places a recipe holds out.

Each place becomes a folder pair below OUT/places, for `segformer evaluate` too. Where frames have
coarse labels there is another pair, PLACE_groups, which is scored in those groups.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from segformer_ros.classes import load_class_map
from segformer_ros.cli.arguments import whole
from segformer_ros.destination import DestinationError, output_folder
from segformer_ros.engines import EngineOptions
from segformer_ros.errors import EXIT_REFUSED
from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import EvaluationRun, Execution
from segformer_ros.model import ModelError
from segformer_ros.recordings import SourceOptions
from segformer_ros.text_table import format_table
from tools.training.data import DataError, held_out_place, pairs, read_picture
from tools.training.recipe import FolderSource, Recipe, RecipeError, load_recipe
from tools.training.taxonomy import COARSE, IGNORE_ID, Taxonomy, taxonomy
from tools.training.train import RECIPES, named_folder

EVERYTHING = 'all'
CLASSES = ('road', 'sidewalk', 'person', 'car')


class Place(NamedTuple):
    """A folder pair of train ids, and the groups of classes that are scored as one."""

    path: Path
    merged: tuple[tuple[str, ...], ...] = ()


def write_places(recipe: Recipe, out: Path) -> dict[str, Place]:
    """Links the held-out frames of a recipe, place by place and, as EVERYTHING, all together."""
    places: dict[str, Place] = {}
    for folder in recipe.folders.values():
        for image, label in pairs(Path(folder.path)):
            name = held_out_place(folder, image)
            if not name:
                continue
            for place, stem in ((name, image.stem), (EVERYTHING, f'{name}_{image.stem}')):
                places[place] = Place(out / place)
                _link(image, out / place / 'images', stem)
                _link(label, out / place / 'labels', stem)
            if folder.coarse:
                known = taxonomy(folder.taxonomy)
                place = f'{name}_groups'
                places[place] = Place(out / place, _merged(known))
                _link(image, out / place / 'images', image.stem)
                _write_groups(folder, label, known, out / place / 'labels')
    if not places:
        raise RecipeError('the recipe holds no place out; see held_out in training/README.md')
    return places


def _link(file: Path, folder: Path, stem: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f'{stem}{file.suffix}'
    link.unlink(missing_ok=True)
    os.symlink(file.resolve(), link)


def _coarse_members(known: Taxonomy) -> list[tuple[int, ...]]:
    return [
        tuple(i for i, weight in members if weight == 1.0)
        for label, members in zip(known.labels, known.members, strict=True)
        if label >= COARSE
    ]


def _merged(known: Taxonomy) -> tuple[tuple[str, ...], ...]:
    names = load_class_map('cityscapes').names
    return tuple(
        tuple(names[i] for i in group) for group in _coarse_members(known) if len(group) > 1
    )


def _write_groups(folder: FolderSource, label: Path, known: Taxonomy, out: Path) -> None:
    """Writes coarse labels as the first train id of each group."""
    out.mkdir(parents=True, exist_ok=True)
    table = np.full(256, IGNORE_ID, np.uint8)
    firsts = [group[0] for group in _coarse_members(known)]
    table[: len(firsts)] = firsts
    coarse = read_picture(Path(folder.path) / folder.coarse / label.name, cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(out / label.name), table[coarse])


def score(model: Path, place: Place, out: Path, workers: int = 1) -> dict[str, Any]:
    """The metrics of `segformer evaluate`, as its metrics.json has them."""
    job = EvaluationJob(
        inputs=(str(place.path / 'images'),),
        sources=SourceOptions(labels=place.path / 'labels'),
        model=ModelChoice(str(model), 'openvino', EngineOptions(threads=1)),
        merged=place.merged,
    )
    run = EvaluationRun(job, out)
    metrics = run.execute(Execution(workers)).metrics
    run.finish()
    return metrics


def table(scores: dict[str, dict[str, Any]]) -> str:
    """The scores by place as text."""
    header = ('place', 'frames', 'mean IoU', *CLASSES, 'false free', 'calibration error')
    rows = [
        (name, str(found['frames']['scored']), *map(_number, _columns(found)))
        for name, found in scores.items()
    ]
    return format_table(header, rows)


def _columns(metrics: dict[str, Any]) -> Iterable[float | None]:
    iou = {part: value for name, value in metrics['iou'].items() for part in name.split('+')}
    yield metrics['miou']
    yield from (iou.get(name) for name in CLASSES)
    yield metrics['false_free']
    yield metrics['ece']


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog='python -m tools.training.held_out', description=__doc__)
    parser.add_argument('model', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--recipe', type=Path, default=RECIPES / 'street.yaml')
    parser.add_argument('--folder', type=named_folder, action='append', default=[])
    parser.add_argument('--workers', type=whole(1), default=1, help='processes')
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        recipe = load_recipe(options.recipe).with_folders(options.folder)
        out = output_folder(options.out)
        shutil.rmtree(out / 'places', ignore_errors=True)
        places = write_places(recipe, out / 'places')
        scores = {
            name: score(options.model, place, out / name, options.workers)
            for name, place in places.items()
        }
    except (DataError, DestinationError, ModelError, RecipeError) as error:
        print(f'held_out: {error}', file=sys.stderr)
        return EXIT_REFUSED
    print(table(scores))
    return 0


if __name__ == '__main__':
    sys.exit(main())
