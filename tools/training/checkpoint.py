# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Checkpoints: the state of a training run in one file, with the recipe that it comes from."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from segformer_ros.errors import SegformerError
from tools.training.recipe import Recipe, RecipeError, recipe_from

CPU = torch.device('cpu')


class CheckpointError(SegformerError, ValueError):
    """A file that is not a checkpoint of a training run; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A run as it stood after some steps; the states are what `state_dict()` of each gave."""

    recipe: Recipe
    step: int
    model: dict[str, Any]
    ema: dict[str, Any]
    optimizers: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        """Writes the file; a reader sees the old one or the new one, never a part."""
        part = path.with_suffix('.part')
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        torch.save({**fields, 'recipe': dataclasses.asdict(self.recipe)}, part)
        os.replace(part, path)


def load_checkpoint(path: Path, device: torch.device = CPU) -> Checkpoint:
    """Reads what `save` wrote, tensors on `device`; raises CheckpointError."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        return Checkpoint(**{**state, 'recipe': recipe_from(state['recipe'], str(path))})
    except FileNotFoundError:
        raise CheckpointError(f'no checkpoint at {path}: check the path') from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise CheckpointError(
            f'{path} is not a checkpoint of a training run, or damaged: name another, or delete it'
        ) from error


def load_run(path: Path, recipe: Recipe, device: torch.device = CPU) -> Checkpoint | None:
    """The checkpoint that a run of this recipe goes on from; None where there is none yet.

    Raises CheckpointError, and RecipeError where another recipe made its steps.
    """
    if not path.exists():
        return None
    checkpoint = load_checkpoint(path, device)
    if not recipe.agrees_until(checkpoint.step, checkpoint.recipe):
        raise RecipeError(
            f'{path}: its first {checkpoint.step} steps were made by another recipe: choose '
            'another --out, or delete it to start again'
        )
    return checkpoint
