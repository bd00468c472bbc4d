# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames and labels in memory, and batches that are a function of (recipe, step) alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from segformer_ros.errors import SegformerError
from tools.training.augment import augment, paste_rare
from tools.training.recipe import FolderSource, Recipe, Stage
from tools.training.taxonomy import COARSE, IGNORE_ID, Taxonomy, taxonomy

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')


class DataError(SegformerError, ValueError):
    """Training data that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Source:
    """Frames of one kind, read from their files when they are drawn.

    Attributes:
        name: what the recipe calls it.
        files: image, labels and coarse labels (None where the folder has none) of each frame.
        counts: (labels,) int64, pixels of each of the taxonomy's labels in all frames.
        taxonomy: what the labels mean.
        rare: labels that crops are aimed at and that are pasted.
        unsure: labels that count as none.
    """

    name: str
    files: list[tuple[Path, Path, Path | None]]
    counts: np.ndarray
    taxonomy: Taxonomy
    rare: tuple[int, ...]
    unsure: tuple[int, ...] = ()

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 BGR, and (H, W) uint8 of the taxonomy's labels or 255."""
        image_path, label_path, coarse_path = self.files[index]
        image = read_picture(image_path, cv2.IMREAD_COLOR)
        labels = read_labels(label_path, coarse_path, self.unsure)
        if labels.shape != image.shape[:2]:
            raise DataError(f'{label_path}: labels of {labels.shape}, image of {image.shape[:2]}')
        return image, labels

    def check(self) -> None:
        """Reads every frame once; raises DataError."""
        for index in range(len(self.files)):
            self.frame(index)


def load_folder(name: str, folder: FolderSource) -> Source:
    """All of `images/*` with their `labels/*.png`, but frames of places that are held out."""
    known = taxonomy(folder.taxonomy)
    allowed = np.zeros(256, bool)
    allowed[[*known.labels, IGNORE_ID]] = True
    counts = np.zeros(256, np.int64)
    root = Path(folder.path)
    files: list[tuple[Path, Path, Path | None]] = []
    for image_path, label_path in pairs(root):
        if held_out_place(folder, image_path):
            continue
        coarse_path = root / folder.coarse / label_path.name if folder.coarse else None
        labels = read_labels(label_path, coarse_path, folder.unsure)
        if not allowed[labels].all():
            value = int(labels[~allowed[labels]][0])
            raise DataError(f'{label_path}: label {value} is not in taxonomy {known.name!r}')
        counts += np.bincount(labels.ravel(), minlength=256)
        files.append((image_path, label_path, coarse_path))
    if not files:
        raise DataError(f'{root}: all its frames are held out; hold out fewer places')
    return Source(name, files, counts[list(known.labels)], known, folder.rare, folder.unsure)


def held_out_place(folder: FolderSource, image: Path) -> str:
    """The place that an image of the folder shows, if it is held out; '' for one to train on."""
    for place, patterns in folder.held_out.items():
        if any(fnmatch(image.stem, pattern) for pattern in patterns):
            return place
    return ''


def read_labels(
    path: Path, coarse_path: Path | None = None, unsure: tuple[int, ...] = ()
) -> np.ndarray:
    """(H, W) uint8 labels; where there are none, those of `coarse_path`, from COARSE on.

    Labels that are `unsure` count as none.
    """
    labels = read_picture(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(f'{path}: labels are {labels.dtype} {labels.shape}, not uint8 (H, W)')
    if unsure:
        labels[np.isin(labels, unsure)] = IGNORE_ID
    if not coarse_path:
        return labels
    coarse = read_labels(coarse_path)
    if coarse.shape != labels.shape:
        raise DataError(f'{coarse_path}: labels of {coarse.shape}, finer ones {labels.shape}')
    known = (labels != IGNORE_ID) | (coarse == IGNORE_ID)
    return np.where(known, labels, coarse + COARSE)


def read_picture(path: Path, flags: int) -> np.ndarray:
    """Decodes one file with OpenCV's `flags`; DataError where it is no picture."""
    picture = cv2.imread(str(path), flags)
    if picture is None:
        raise DataError(f'{path}: cannot be read as a picture')
    return picture


def pairs(root: Path) -> list[tuple[Path, Path]]:
    """Sorted (image, label) paths below `root`; DataError where one has no partner."""
    folder = Path(root) / 'images'
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder: give one that has images/ and labels/ in it')
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(f'{folder}: no {", ".join(IMAGE_SUFFIXES)} file in it')
    result = [(p, Path(root) / 'labels' / f'{p.stem}.png') for p in found]
    for image, label in result:
        if not label.is_file():
            raise DataError(f'{label}: missing, the labels of {image}')
    return result


@dataclass(frozen=True)
class Batch:
    """Crops of one taxonomy within a step.

    Attributes:
        taxonomy: the name of what the labels mean.
        images: (B, 3, H, W) uint8 RGB.
        labels: (B, H/stride, W/stride) uint8.
    """

    taxonomy: str
    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Crop:
    """One augmented crop: (H, W, 3) uint8 BGR and (H, W) uint8 labels."""

    source: Source
    image: np.ndarray
    labels: np.ndarray


class Loader:
    """Makes each step's batches ahead of time in threads.

    Which frames a step shows and how they are changed depends on the recipe's seed and the step
    only: not on the number of threads, nor on where a run was interrupted.
    """

    def __init__(
        self, recipe: Recipe, sources: dict[str, Source], threads: int = 1, rank: int = 0
    ) -> None:
        self._recipe = recipe
        self._sources = sources
        self._threads = threads
        self._rank = rank

    def batches(self, first_step: int, last_step: int) -> Iterator[list[Batch]]:
        """Batches of steps first_step .. last_step - 1, in order."""
        with ThreadPoolExecutor(self._threads) as pool:
            ahead = 1 + self._threads
            queue = [
                pool.submit(self.make, step)
                for step in range(first_step, min(last_step, first_step + ahead))
            ]
            for step in range(first_step, last_step):
                batch = queue.pop(0).result()
                if step + ahead < last_step:
                    queue.append(pool.submit(self.make, step + ahead))
                yield batch

    def make(self, step: int) -> list[Batch]:
        """The batches of one step, one per taxonomy that it has crops of."""
        recipe = self._recipe
        index, local = recipe.stage_at(step)
        rng = np.random.default_rng([recipe.seed, step, self._rank])
        count = recipe.stages[index].crops_per_step
        crops = [
            self._crop(index, local * count + slot, rng)
            for slot in range(self._rank, count, recipe.workers)
        ]
        groups: dict[str, list[Crop]] = {}
        for crop in crops:
            groups.setdefault(crop.source.taxonomy.name, []).append(crop)
        return [self._batch(name, group, rng) for name, group in sorted(groups.items())]

    def _crop(self, stage_index: int, number: int, rng: np.random.Generator) -> Crop:
        """The `number`-th crop of a stage."""
        stage = self._recipe.stages[stage_index]
        name, draw = _draw(stage, number, [self._recipe.seed, stage_index])
        source = self._sources[name]
        image, labels = source.frame(self._frame_index(source, stage_index, draw))
        config = self._recipe.augment
        return Crop(source, *augment(image, labels, stage.crop, source.rare, config, rng))

    def _batch(self, taxonomy: str, crops: list[Crop], rng: np.random.Generator) -> Batch:
        pasted = [
            paste_rare(crop.image, crop.labels, donor.image, donor.labels, donor.source.rare)
            if rng.random() < self._recipe.augment.paste
            else (crop.image, crop.labels)
            for crop, donor in zip(crops, crops[-1:] + crops, strict=False)
        ]
        images = np.stack([image[..., ::-1] for image, _ in pasted])  # (B, H, W, 3) RGB
        stride = self._recipe.label_stride
        oy, ox = rng.integers(stride, size=2)
        labels = np.stack([label[oy::stride, ox::stride] for _, label in pasted])
        return Batch(
            taxonomy, torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
        )

    def _frame_index(self, source: Source, stage_index: int, draw: int) -> int:
        """Frame of the draw-th crop of a stage: every epoch shows each frame once, shuffled."""
        epoch, position = divmod(draw, len(source.files))
        seed = [self._recipe.seed, stage_index, epoch, sum(source.name.encode())]
        return int(np.random.default_rng(seed).permutation(len(source.files))[position])


def _draw(stage: Stage, number: int, seed: list[int]) -> tuple[str, int]:
    """Source of the `number`-th crop of a stage, and how many crops of it came before.

    The crops come in blocks of the whole of `stage.batch`, each in an order of its own.
    """
    block = [name for name, count in stage.batch.items() for _ in range(count)]
    index, position = divmod(number, len(block))
    order = np.random.default_rng([*seed, index]).permutation(len(block))
    name = block[order[position]]
    before = sum(block[i] == name for i in order[:position])
    return name, index * stage.batch[name] + before
