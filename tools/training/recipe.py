# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The recipe: everything that decides what weights come out, read from one yaml file."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from segformer_ros.errors import SegformerError, reason
from tools.training.augment import AugmentConfig
from tools.training.taxonomy import CLASS_COUNT

T = TypeVar('T')


class RecipeError(SegformerError, ValueError):
    """The recipe file asks for something that cannot be; the message says which key."""


@dataclass(frozen=True)
class FolderSource:
    """A folder with `images/` and `labels/` (PNG, train ids or the taxonomy's labels).

    Attributes:
        path: the folder.
        taxonomy: what its labels mean.
        rare: labels aimed at and pasted.
        coarse: folder beside `labels/` with labels of groups of classes, which stand where
            `labels/` knows nothing; '' for none.
        unsure: labels that count as none, because they are often wrong.
        held_out: places that are never trained on, but scored: to each, patterns of the names
            (`boston_*`) of its frames.
    """

    path: str
    taxonomy: str = 'cityscapes'
    rare: tuple[int, ...] = (5, 6, 7, 11, 12, 17, 18)
    coarse: str = ''
    unsure: tuple[int, ...] = ()
    held_out: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class StreetSource:
    """Frames of the project's own street generator, rendered once into the run's folder."""

    drives: int
    frames_per_drive: int
    first_seed: int
    size: tuple[int, int] = (360, 480)  # height, width
    rare: tuple[int, ...] = (5, 6, 7, 11, 12, 17, 18)


@dataclass(frozen=True)
class Stage:
    """Some steps with one crop size and one mixture.

    Attributes:
        steps: how many.
        crop: (height, width) in pixels.
        batch: crops of each source among every `sum(batch.values())` crops.
        crops: crops per step; 0 for the whole of `batch`.
        weight_power: how far rare classes are lifted, see `loss.class_weights`.
    """

    steps: int
    crop: tuple[int, int]
    batch: dict[str, int]
    crops: int = 0
    weight_power: float = 0.35

    @property
    def crops_per_step(self) -> int:
        """Crops of all sources and workers together in each step."""
        return self.crops or sum(self.batch.values())


@dataclass(frozen=True)
class Recipe:
    """One training run, start to end."""

    size: str
    stages: tuple[Stage, ...]
    init: str = ''  # model that the weights come from at first, '' for random ones
    teacher: str = ''  # model whose probabilities are learnt beside the labels, '' for none
    teacher_size: str = 'b0'
    distillation: float = 1.0  # weight of the teacher's loss, see loss.distillation
    folders: dict[str, FolderSource] = field(default_factory=dict)
    streets: dict[str, StreetSource] = field(default_factory=dict)
    seed: int = 0
    workers: int = 1  # processes that share a batch; decides the weights as the seed does
    optimizer: str = 'adamw'
    # Learning rate as knots (step, rate): straight lines between them.
    rates: tuple[tuple[float, float], ...] = ((0, 1.0e-5), (100, 1.0e-3), (1000, 0.0))
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    drop_path: float = 0.0
    dropout: float = 0.0
    ema: float = 0.999
    jaccard: float = 0.5
    weight_limit: float = 3.0
    label_stride: int = 2  # the loss looks at every second label pixel in each direction
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of every folder and street source."""
        return (*self.folders, *self.streets)

    def stage_at(self, step: int) -> tuple[int, int]:
        """(stage index, step within the stage) of a global step."""
        for i, stage in enumerate(self.stages):
            if step < stage.steps:
                return i, step
            step -= stage.steps
        raise IndexError(f"step lies beyond the recipe's {self.steps} steps")

    def rate_at(self, step: int) -> float:
        """Learning rate: straight lines between the knots (step, rate) of `rates`."""
        steps, rates = zip(*self.rates, strict=True)
        return float(np.interp(step, steps, rates))

    def with_folders(self, places: Iterable[tuple[str, str]]) -> Recipe:
        """The recipe with folders, by their (name, path), elsewhere; RecipeError for unknown."""
        folders = dict(self.folders)
        for name, path in places:
            if name not in folders:
                known = ', '.join(folders) or 'none'
                raise RecipeError(f'no folder {name!r} in the recipe; it has {known}')
            folders[name] = replace(folders[name], path=path)
        return replace(self, folders=folders)

    def agrees_until(self, step: int, other: Recipe) -> bool:
        """True where both recipes ask for the very same first `step` steps.

        A run may be lengthened while it is on its way, and its folders moved, but not rewritten.
        """
        same = {'stages', 'rates', 'streets', 'folders'}
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        if any(mine[key] != theirs[key] for key in mine if key not in same):
            return False
        if step > min(self.steps, other.steps):
            return False
        edges = {0, step - 1, *self._edges(step), *other._edges(step)}
        return all(self._at(i) == other._at(i) for i in edges)

    def _edges(self, step: int) -> list[int]:
        """Steps before `step` at which a stage begins or ends, or the rate bends."""
        edges, start = [int(knot) for knot, _ in self.rates], 0
        for stage in self.stages:
            edges += [start, start + stage.steps - 1]
            start += stage.steps
        return [edge for edge in edges if edge < step]

    def _at(self, step: int) -> tuple[Any, ...]:
        if step < 0:
            return ()
        index, local = self.stage_at(step)
        stage = self.stages[index]
        folders = {name: replace(folder, path='') for name, folder in self.folders.items()}
        sources = [folders.get(name) or self.streets.get(name) for name in stage.batch]
        return (index, local, replace(stage, steps=0), sources, self.rate_at(step))


def load_recipe(path: Path) -> Recipe:
    """Reads and checks a recipe; RecipeError names the key that is wrong.

    Its key `base` names another recipe beside it, whose keys stand where it has none.
    """
    return recipe_from(_read(path), str(path))


def _read(path: Path) -> Any:
    try:
        raw = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise RecipeError(f'no recipe at {path}: training/recipes has the shipped ones') from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            f'{path} cannot be read as a recipe: {reason(error)}; training/recipes has the '
            'shipped ones'
        ) from error
    if isinstance(raw, dict) and 'base' in raw:
        return {**_read(Path(path).parent / raw.pop('base')), **raw}
    return raw


def recipe_from(raw: Any, where: str) -> Recipe:
    """A checked recipe from plain data; `where` begins each error message."""
    recipe = _build(Recipe, raw, where)
    _check_values(recipe, where)
    for i, stage in enumerate(recipe.stages):
        if stage.crops_per_step % recipe.workers:
            raise RecipeError(
                f'{where}: stages[{i}]: {stage.crops_per_step} crops per step cannot be shared '
                f'by {recipe.workers} workers'
            )
        unknown = sorted(set(stage.batch) - set(recipe.source_names))
        if unknown:
            known = ', '.join(recipe.source_names)
            raise RecipeError(f'{where}: stages[{i}].batch: no source {unknown[0]!r} (of {known})')
        if stage.crop[0] % 32 or stage.crop[1] % 32:
            raise RecipeError(f'{where}: stages[{i}].crop {stage.crop}: must be multiples of 32')
    return recipe


def _check_values(recipe: Recipe, where: str) -> None:
    """Raises RecipeError for a number that makes no sense, with its key."""
    for key, value, least in _bounds(recipe):
        if value < least:
            raise RecipeError(f'{where}: {key}: {value} is too small; give {least} or more')
    for key in ('ema', 'dropout', 'drop_path'):
        if not 0 <= getattr(recipe, key) < 1:
            raise RecipeError(f'{where}: {key}: {getattr(recipe, key)} is not from 0 to below 1')
    for key, low, high in _ranges(recipe):
        if low > high:
            raise RecipeError(f'{where}: {key}: {low} is above {high}; give the lower one first')
    for key, label in _rare_labels(recipe):
        if not 0 <= label < CLASS_COUNT:
            raise RecipeError(
                f'{where}: {key}: {label} is not a train id; give 0 to {CLASS_COUNT - 1}'
            )
    steps = [step for step, _ in recipe.rates]
    if not steps or steps != sorted(set(steps)) or min(rate for _, rate in recipe.rates) < 0:
        raise RecipeError(f'{where}: rates: give (step, rate), with rising steps and rates from 0')


def _bounds(recipe: Recipe) -> Iterator[tuple[str, float, float]]:
    """Key, value and least value of what has one."""
    for key in ('seed', 'weight_decay', 'jaccard', 'gradient_clip', 'distillation'):
        yield key, getattr(recipe, key), 0
    for key in ('workers', 'weight_limit', 'label_stride'):
        yield key, getattr(recipe, key), 1
    yield 'number of stages', len(recipe.stages), 1
    for i, stage in enumerate(recipe.stages):
        yield f'stages[{i}].steps', stage.steps, 1
        yield f'stages[{i}].crop', min(stage.crop), 32
        yield f'stages[{i}].batch', sum(stage.batch.values()), 1
        yield f'stages[{i}].crops', stage.crops, 0
        for name, count in stage.batch.items():
            yield f'stages[{i}].batch.{name}', count, 0
    for name, street in recipe.streets.items():
        yield f'streets.{name}.drives', street.drives, 1
        yield f'streets.{name}.frames_per_drive', street.frames_per_drive, 1
        yield f'streets.{name}.size', min(street.size), 32


def _rare_labels(recipe: Recipe) -> Iterator[tuple[str, int]]:
    """Key and label of everything that is called rare."""
    for kind, sources in (('folders', recipe.folders), ('streets', recipe.streets)):
        for name, source in sources.items():
            for label in source.rare:
                yield f'{kind}.{name}.rare', label


def _ranges(recipe: Recipe) -> Iterator[tuple[str, float, float]]:
    """Key and both ends of each range of the augmentation."""
    for entry in dataclasses.fields(recipe.augment):
        value = getattr(recipe.augment, entry.name)
        if isinstance(value, tuple) and len(value) == 2:
            yield (f'augment.{entry.name}', *value)


def _build(kind: type[T], raw: Any, where: str) -> T:
    """A frozen dataclass from plain yaml data, nested ones included."""
    if not isinstance(raw, dict):
        raise RecipeError(f'{where}: expected keys and values, found {raw!r}')
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    if unknown:
        raise RecipeError(f'{where}: unknown key {unknown[0]!r}: known are {", ".join(hints)}')
    values = {key: _convert(hints[key], value, f'{where}: {key}') for key, value in raw.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise RecipeError(f'{where}: {error}') from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """One yaml value as the type that the dataclass's field declares."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if origin is tuple:
        inner = arguments[0]
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f'{where}: expected a list, found {value!r}')
        if Ellipsis not in arguments and len(value) != len(arguments):
            raise RecipeError(f'{where}: expected {len(arguments)} values, found {value!r}')
        return tuple(_convert(inner, item, f'{where}[{i}]') for i, item in enumerate(value))
    if origin is dict:
        return {k: _convert(arguments[1], v, f'{where}.{k}') for k, v in value.items()}
    if isinstance(hint, types.UnionType):
        return value
    try:
        return hint(value)
    except (TypeError, ValueError):
        raise RecipeError(f'{where}: expected {hint.__name__}, found {value!r}') from None
