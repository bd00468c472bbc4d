# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""`./run train`: makes the bundled weights from a recipe, and from nothing else.

Seeded, checkpointed and resumable: on one machine, the same recipe (and, with one worker, thread
count) gives the same weights bit for bit, interrupted or not.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from segformer_ros.cli.arguments import whole
from segformer_ros.destination import DestinationError
from segformer_ros.errors import EXIT_REFUSED, ArgumentParser
from segformer_ros.interrupts import EXIT_INTERRUPTED
from tools.training.checkpoint import Checkpoint, CheckpointError, load_run
from tools.training.data import Batch, DataError, Loader, Source, load_folder
from tools.training.ema import Ema
from tools.training.evaluate import INPUT_SIZE, Predictor, Score, score_folder
from tools.training.loss import SegmentationLoss, class_weights, distillation
from tools.training.model import SegFormer, create_model, normalise
from tools.training.optimizer import create_optimizers
from tools.training.parallel import ALONE, Group, launch
from tools.training.preflight import check_run
from tools.training.recipe import FolderSource, Recipe, RecipeError, Stage, load_recipe
from tools.training.streets import render
from tools.training.taxonomy import taxonomy
from tools.training.warm_start import read_weights, warm_start

RECIPES = Path(__file__).parent / 'recipes'
LOG_EVERY = 50  # steps


class Trainer:
    """The state of one run: weights, optimisers, average, step."""

    def __init__(
        self,
        recipe: Recipe,
        sources: dict[str, Source],
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        self.group = group
        self.step = 0
        model = create_model(recipe.size, recipe.drop_path, recipe.dropout)
        self.teacher = load_teacher(recipe, device)
        self.model: SegFormer = model.to(device, memory_format=torch.channels_last)
        self.ema = Ema(self.model, recipe.ema)
        self.optimizers = create_optimizers(self.model, recipe.optimizer, recipe.weight_decay)
        self.losses = [
            {
                name: SegmentationLoss(
                    taxonomy(name),
                    class_weights(counts, stage.weight_power, recipe.weight_limit),
                    recipe.jaccard,
                ).to(device)
                for name, counts in mixed_counts(stage, sources).items()
            }
            for stage in recipe.stages
        ]

    def train_step(self, batches: list[Batch]) -> float:
        """One update from one step's batches; returns the loss."""
        recipe = self.recipe
        # Dropout, too, is a function of the step alone.
        torch.manual_seed(recipe.seed * 1_000_003 + self.step * 64 + self.group.rank)
        self.model.train()
        images = normalise(torch.cat([b.images for b in batches]).to(self.device))
        mixed = gains_by_bfloat16(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            logits = self.model(images)
        losses = self.losses[recipe.stage_at(self.step)[0]]
        total = torch.zeros((), device=self.device)
        start = 0
        for batch in batches:
            end = start + len(batch.images)
            loss = losses[batch.taxonomy](logits[start:end], batch.labels.to(self.device))
            total = total + loss * ((end - start) / len(images))
            start = end
        if self.teacher is not None:
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
                taught = self.teacher(images)
            total = total + recipe.distillation * distillation(logits, taught)
        total.backward()
        self.group.average_gradients(self.model)
        self.group.average_buffers(self.model)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_clip)
        self.optimizers.step(recipe.rate_at(self.step))
        self.ema.update(self.model)
        self.step += 1
        return float(total.detach())

    def save(self, path: Path) -> None:
        """Writes a checkpoint."""
        Checkpoint(
            self.recipe,
            self.step,
            self.model.state_dict(),
            self.ema.state_dict(),
            self.optimizers.state_dict(),
        ).save(path)

    def begin(self, images: torch.Tensor) -> None:
        """Takes the weights of the recipe's `init`; images (B, 3, H, W) as training shows them."""
        weights = read_weights(Path(self.recipe.init), self.model)
        warm_start(self.model, weights, images.to(self.device))
        self.ema = Ema(self.model, self.recipe.ema)

    def resume(self, path: Path) -> bool:
        """Goes on from the checkpoint at `path`; False if there is none. Raises as `load_run`."""
        checkpoint = load_run(path, self.recipe, self.device)
        if checkpoint is None:
            return False
        self.step = checkpoint.step
        self.model.load_state_dict(checkpoint.model)
        self.ema.load_state_dict(checkpoint.ema)
        self.optimizers.load_state_dict(checkpoint.optimizers)
        return True


def load_teacher(recipe: Recipe, device: torch.device) -> SegFormer | None:
    """The network that a recipe's student learns from, in evaluation mode; None without one."""
    if not recipe.teacher:
        return None
    teacher = create_model(recipe.teacher_size)
    anything = torch.zeros(1, 3, 32, 32)  # statistics of the images matter in training alone
    warm_start(teacher, read_weights(Path(recipe.teacher), teacher), anything)
    return teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def first_images(recipe: Recipe, sources: dict[str, Source]) -> torch.Tensor:
    """(B, 3, H, W) float32: the first worker's normalised crops of some first steps."""
    loader = Loader(recipe, sources)
    steps = range(min(8, recipe.stages[0].steps))
    return normalise(torch.cat([b.images for step in steps for b in loader.make(step)]))


def mixed_counts(stage: Stage, sources: dict[str, Source]) -> dict[str, np.ndarray]:
    """Per taxonomy, (labels,) float64: how often a stage shows each label, in no unit."""
    counts: dict[str, np.ndarray] = {}
    for name, crops in stage.batch.items():
        source = sources[name]
        share = crops * source.counts / max(source.counts.sum(), 1)
        counts[source.taxonomy.name] = counts.get(source.taxonomy.name, 0) + share
    return counts


def load_sources(recipe: Recipe, out: Path) -> dict[str, Source]:
    """Every source of the recipe, checked; streets as `render_streets` left them in `out`."""
    folders = {
        name: FolderSource(str(out / name), rare=street.rare)
        for name, street in recipe.streets.items()
    }
    return {name: load_folder(name, folder) for name, folder in (recipe.folders | folders).items()}


def render_streets(recipe: Recipe, out: Path) -> None:
    """Renders what is missing of the recipe's streets: once, before its processes start."""
    for name, street in recipe.streets.items():
        render(street, out / name, os.cpu_count() or 1)


def gains_by_bfloat16(device: torch.device) -> bool:
    """True where mixed precision is faster: CUDA, and CPUs that multiply bfloat16."""
    capabilities = torch.cpu.get_capabilities()
    return device.type == 'cuda' or any(
        capabilities.get(name) for name in ('amx_bf16', 'avx512_bf16')
    )


def predictor(model: SegFormer, device: torch.device) -> Predictor:
    """The model as a function of one BGR frame of the network's size."""

    def predict(image: np.ndarray) -> np.ndarray:
        rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)
        with torch.inference_mode():
            return model(normalise(rgb[None].to(device)))[0].float().cpu().numpy()

    return predict


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a run pauses to look, to save, and to end; none of it changes the weights.

    Attributes:
        stop_after: end after so many steps of the recipe, to be resumed; None for all of them.
        checkpoint_every: steps between checkpoints.
        validate: folder pair that the averaged weights are scored on, None for no scoring.
        validate_every: steps between scores; every third frame, all of them at the end.
    """

    stop_after: int | None = None
    checkpoint_every: int = 200
    validate: Path | None = None
    validate_every: int = 500


class Journal:
    """The run's log: one JSON line now and then, and the progress bar."""

    def __init__(self, out: Path, steps: int, first_step: int, silent: bool) -> None:
        self._path = Path(os.devnull) if silent else out / 'log.jsonl'
        self._bar = tqdm(
            total=steps, initial=first_step, unit='step', dynamic_ncols=True, disable=silent
        )
        self._start = time.monotonic()
        self._loss: float | None = None

    def count(self, loss: float) -> None:
        """One more step, with its loss."""
        self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        self._bar.set_postfix(loss=f'{self._loss:.3f}', refresh=False)
        self._bar.update()

    def write(self, step: int, rate: float, score: Score | None = None) -> None:
        """One line of the log."""
        entry: dict[str, Any] = {
            'step': step,
            'loss': None if self._loss is None else round(self._loss, 4),
            'rate': rate,
            'seconds': round(time.monotonic() - self._start, 1),
        }
        if score is not None:
            entry['miou'] = round(score.miou(), 4)
            entry['iou'] = {i: round(v, 4) for i, v in score.iou().items()}
        with open(self._path, 'a') as log:
            log.write(json.dumps(entry) + '\n')

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def run(
    recipe: Recipe,
    out: Path,
    device: torch.device,
    schedule: Schedule,
    group: Group = ALONE,
    loaders: int = 1,
) -> Trainer:
    """Trains until the schedule ends; goes on from the checkpoint that `out` holds, if any."""
    out.mkdir(parents=True, exist_ok=True)
    sources = load_sources(recipe, out)
    trainer = Trainer(recipe, sources, device, group)
    checkpoint = out / 'checkpoint.pt'
    if not trainer.resume(checkpoint) and recipe.init:
        trainer.begin(first_images(recipe, sources))
    last = min(schedule.stop_after or recipe.steps, recipe.steps)
    leader = group.rank == 0
    journal = Journal(out, recipe.steps, trainer.step, silent=not leader)
    for batches in Loader(recipe, sources, loaders, group.rank).batches(trainer.step, last):
        journal.count(trainer.train_step(batches))
        step, done = trainer.step, trainer.step == last
        if leader and (step % schedule.checkpoint_every == 0 or done):
            trainer.save(checkpoint)
        if leader and schedule.validate and (step % schedule.validate_every == 0 or done):
            predict = predictor(trainer.ema.model, device)
            every = 1 if done else 3
            score = score_folder(predict, schedule.validate, INPUT_SIZE, True, every)
            journal.write(step, recipe.rate_at(step - 1), score)
        elif step % LOG_EVERY == 0 or done:
            journal.write(step, recipe.rate_at(step - 1))
    journal.close()
    return trainer


def device_named(text: str) -> torch.device:
    """Type of an argument: a device of PyTorch that can be used here."""
    kind, _, number = text.partition(':')
    count = {'cpu': 1, 'cuda': torch.cuda.device_count()}.get(kind, 0)
    if not (number or '0').isdecimal() or int(number or 0) >= count:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a device of this PyTorch, which has the CPU and '
            f'{torch.cuda.device_count()} CUDA GPUs; give cpu, cuda or cuda:N'
        )
    return torch.device(text)


def named_folder(text: str) -> tuple[str, str]:
    """Type of an argument: NAME=PATH."""
    name, equals, path = text.partition('=')
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=PATH, as in camvid=data/camvid')
    return name, path


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = ArgumentParser(prog='train', description=__doc__)
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument('--recipe', type=Path, default=RECIPES / 'street.yaml')
    recipe.add_argument('--quick', action='store_true', help='the tiny recipe: a minute')
    parser.add_argument(
        '--folder',
        type=named_folder,
        action='append',
        default=[],
        metavar='NAME=PATH',
        help="where a folder of the recipe lies here, instead of the recipe's own path",
    )
    parser.add_argument(
        '--init',
        type=Path,
        metavar='MODEL.onnx',
        help="model of tools.training.export to begin with, instead of the recipe's own",
    )
    parser.add_argument('--out', type=Path, default=Path('out/train'), help='checkpoints and log')
    parser.add_argument(
        '--device',
        type=device_named,
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='cpu, cuda or cuda:N; default: %(default)s',
    )
    parser.add_argument(
        '--threads',
        type=whole(0),
        default=0,
        help='torch threads of a single worker, 0: all cores; several have one each',
    )
    parser.add_argument('--loaders', type=whole(1), default=1, help='threads that prepare batches')
    parser.add_argument('--validate', type=Path, help='folder pair scored now and then')
    parser.add_argument('--validate-every', type=whole(1), default=500, metavar='STEPS')
    parser.add_argument('--checkpoint-every', type=whole(1), default=200, metavar='STEPS')
    parser.add_argument(
        '--stop-after', type=whole(1), metavar='STEPS', help='stop early, resumable'
    )
    return parser.parse_args(arguments)


def work(options: argparse.Namespace, recipe: Recipe, group: Group) -> None:
    """What each process does."""
    cv2.setNumThreads(0)  # the loader's threads are enough; OpenCV's own would fight torch's
    torch.use_deterministic_algorithms(options.device.type == 'cpu')
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, finds only bugs
    schedule = Schedule(
        options.stop_after, options.checkpoint_every, options.validate, options.validate_every
    )
    trainer = run(recipe, options.out, options.device, schedule, group, options.loaders)
    if group.rank == 0:
        print(next_step(options.out / 'checkpoint.pt', trainer.step, recipe.steps))


def next_step(checkpoint: Path, step: int, steps: int) -> str:
    """What a run left, and the command that goes on from there."""
    left = f'{checkpoint}: step {step} of {steps}; '
    if step < steps:
        return left + 'the same command, without --stop-after, goes on from there'
    return (
        left
        + f'`./run python -m tools.training.export {checkpoint} MODEL.onnx` makes a model of it'
    )


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `./run train`."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        recipe = load_recipe(RECIPES / 'quick.yaml' if options.quick else options.recipe)
        recipe = recipe.with_folders(options.folder)
        if options.init:
            recipe = dataclasses.replace(recipe, init=str(options.init))
        check_run(recipe, options.out, options.validate)
        render_streets(recipe, options.out)
        launch(recipe.workers, functools.partial(work, options, recipe))
    except (CheckpointError, DataError, DestinationError, RecipeError) as error:
        print(f'train: {error}', file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print(
            'train: interrupted; the same command goes on from the last step saved',
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    return 0


if __name__ == '__main__':
    sys.exit(main())
