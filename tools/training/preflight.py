# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Preflight: what can be wrong with a run is said before the hours that it takes, not after."""

from __future__ import annotations

from pathlib import Path

from segformer_ros.destination import output_folder
from tools.training.checkpoint import load_run
from tools.training.data import DataError, load_folder
from tools.training.model import create_model
from tools.training.optimizer import create_optimizers
from tools.training.recipe import FolderSource, Recipe, RecipeError
from tools.training.warm_start import read_weights


def check_run(recipe: Recipe, out: Path, validate: Path | None = None) -> None:
    """Tries all that a run reads and the folder that it writes into.

    Raises DestinationError, CheckpointError, DataError or RecipeError.
    """
    output_folder(out)
    begun = load_run(out / 'checkpoint.pt', recipe)
    try:
        model = create_model(recipe.size)
        create_optimizers(model, recipe.optimizer, recipe.weight_decay)
        if recipe.init and not begun:
            read_weights(Path(recipe.init), model)
        if recipe.teacher:
            read_weights(Path(recipe.teacher), create_model(recipe.teacher_size))
        for name, folder in recipe.folders.items():
            source = load_folder(name, folder)
            if not begun:  # a run that goes on has seen its frames
                source.check()
    except DataError:
        raise
    except ValueError as error:  # a name that the recipe gives to nothing known
        raise RecipeError(str(error)) from error
    if validate:
        load_folder('validate', FolderSource(str(validate))).check()
