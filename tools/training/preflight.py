"""Preflight: what can be wrong with a run is said before the hours that it takes, not after."""

from __future__ import annotations

from pathlib import Path

from segformer_ros.destination import output_folder
from tools.training.checkpoint import load_run
from tools.training.data import DataError, load_folder
from tools.training.model import create_model
from tools.training.optimizer import create_optimizers
from tools.training.recipe import Recipe, RecipeError


def check_run(recipe: Recipe, out: Path, validate: Path | None = None) -> None:
    """Tries all that a run reads and the folder that it writes into.

    Raises DestinationError, CheckpointError, DataError or RecipeError.
    """
    output_folder(out)
    load_run(out / 'checkpoint.pt', recipe)
    try:
        create_optimizers(create_model(recipe.size), recipe.optimizer, recipe.weight_decay)
        for name, folder in recipe.folders.items():
            load_folder(name, Path(folder.path), folder.taxonomy)
    except DataError:
        raise
    except ValueError as error:  # a name that the recipe gives to nothing known
        raise RecipeError(str(error)) from error
    if validate:
        load_folder('validate', validate, 'cityscapes')
