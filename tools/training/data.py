"""Frames and labels in memory, and batches that are a function of (recipe, step) alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from segformer_ros.errors import SegformerError
from tools.training.augment import augment, paste_rare
from tools.training.recipe import Recipe
from tools.training.taxonomy import IGNORE_ID, Taxonomy, taxonomy

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')


class DataError(SegformerError, ValueError):
    """Training data that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Source:
    """Frames of one kind, decoded and held in memory.

    Attributes:
        name: what the recipe calls it.
        images: (H, W, 3) uint8 BGR each.
        labels: (H, W) uint8 each, values of the taxonomy's labels or 255.
        taxonomy: what those labels mean.
        rare: labels that crops are aimed at and that are pasted.
    """

    name: str
    images: list[np.ndarray]
    labels: list[np.ndarray]
    taxonomy: Taxonomy
    rare: tuple[int, ...]

    def pixel_counts(self) -> np.ndarray:
        """(labels,) int64: pixels of each of the taxonomy's labels in all frames."""
        counts = np.zeros(256, np.int64)
        for labels in self.labels:
            counts += np.bincount(labels.ravel(), minlength=256)
        return counts[list(self.taxonomy.labels)]


def load_folder(name: str, root: Path, taxonomy_name: str, rare: tuple[int, ...] = ()) -> Source:
    """Reads `root/images/*` and `root/labels/*.png`, paired by name and checked."""
    images, labels = [], []
    known = taxonomy(taxonomy_name)
    allowed = np.zeros(256, bool)
    allowed[[*known.labels, IGNORE_ID]] = True
    for image_path, label_path in pairs(root):
        image = read_picture(image_path, cv2.IMREAD_COLOR)
        label = read_picture(label_path, cv2.IMREAD_UNCHANGED)
        if label.shape != image.shape[:2] or label.dtype != np.uint8:
            raise DataError(
                f'{label_path}: labels are {label.dtype} {label.shape}, '
                f'the image is {image.shape[:2]}: expected uint8 of the same size'
            )
        if not allowed[label].all():
            value = int(label[~allowed[label]][0])
            raise DataError(f'{label_path}: label {value} is not in taxonomy {known.name!r}')
        images.append(image)
        labels.append(label)
    return Source(name, images, labels, known, rare)


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
    """Crops of one source within a step.

    Attributes:
        source: the source's name.
        images: (B, 3, H, W) uint8 RGB.
        labels: (B, H/stride, W/stride) uint8.
    """

    source: str
    images: Tensor
    labels: Tensor


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
        """The batches of one step, one per source of its stage."""
        stage_index, local = self._recipe.stage_at(step)
        stage = self._recipe.stages[stage_index]
        return [
            self._source_batch(
                self._sources[name], count // self._recipe.workers, stage_index, local, step
            )
            for name, count in stage.batch.items()
            if count > 0
        ]

    def _source_batch(
        self, source: Source, count: int, stage_index: int, local: int, step: int
    ) -> Batch:
        recipe = self._recipe
        crop = recipe.stages[stage_index].crop
        name_seed = sum(source.name.encode())
        rng = np.random.default_rng([recipe.seed, name_seed, step, self._rank])
        crops = []
        for slot in range(count):
            draw = (local * recipe.workers + self._rank) * count + slot
            frame = self._frame_index(source, stage_index, draw)
            crops.append(
                augment(
                    source.images[frame],
                    source.labels[frame],
                    crop,
                    source.rare,
                    recipe.augment,
                    rng,
                )
            )
        pasted = [
            paste_rare(*crops[i], *crops[i - 1], source.rare)
            if rng.random() < recipe.augment.paste
            else crops[i]
            for i in range(count)
        ]
        images = np.stack([image[..., ::-1] for image, _ in pasted])  # (B, H, W, 3) RGB
        stride = recipe.label_stride
        oy, ox = rng.integers(stride, size=2)
        labels = np.stack([label[oy::stride, ox::stride] for _, label in pasted])
        return Batch(
            source.name, torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
        )

    def _frame_index(self, source: Source, stage_index: int, draw: int) -> int:
        """Frame of the draw-th crop of a stage: every epoch shows each frame once, shuffled."""
        epoch, position = divmod(draw, len(source.images))
        seed = [self._recipe.seed, stage_index, epoch, sum(source.name.encode())]
        return int(np.random.default_rng(seed).permutation(len(source.images))[position])
