# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames of the street generator, rendered once into a folder pair.

`python -m tools.training.streets FOLDER --first-seed 900000 --drives 200` makes the held-out
streets of the model card; the training command renders its own (other seeds) when they are
missing.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
from pathlib import Path

import cv2
from tqdm import tqdm

from segformer_ros.cli.arguments import whole
from tools.street import random_drive
from tools.training.recipe import StreetSource

JPEG_QUALITY = 95  # as the real frames: the network shall not tell the two apart by the codec
FRAME_RATE = 0.33  # about 25 m of street between frames, so that each shows something else


def render(source: StreetSource, folder: Path, workers: int = 1) -> Path:
    """Renders what is missing of `source` below `folder` (images/, labels/); returns `folder`.

    A frame depends on its drive's seed and its number only, so neither the number of workers nor
    an interruption changes a byte.
    """
    for part in ('images', 'labels'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    last = source.frames_per_drive - 1
    missing = [
        seed
        for seed in range(source.first_seed, source.first_seed + source.drives)
        if not _label_path(folder, seed, last).exists()
    ]
    if not missing:
        return folder
    job = functools.partial(_render_drive, source, folder)
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        for _ in tqdm(
            pool.imap_unordered(job, missing), total=len(missing), unit='drive', desc='streets'
        ):
            pass
    return folder


def _render_drive(source: StreetSource, folder: Path, seed: int) -> None:
    cv2.setNumThreads(0)
    height, width = source.size
    frames = source.frames_per_drive
    for i, frame in enumerate(random_drive(seed, width, height, FRAME_RATE, frames)):
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        label = _label_path(folder, seed, i)
        cv2.imwrite(str(folder / 'images' / f'{label.stem}.jpg'), frame.image, quality)
        # The labels come last and in one go: where they are, the whole frame is.
        part = label.with_suffix('.part.png')
        cv2.imwrite(str(part), frame.labels)
        os.replace(part, label)


def _label_path(folder: Path, seed: int, index: int) -> Path:
    return folder / 'labels' / f'{seed:06d}_{index:03d}.png'


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog='python -m tools.training.streets', description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--first-seed', type=whole(0), default=900_000)
    parser.add_argument('--drives', type=whole(1), default=200)
    parser.add_argument('--frames-per-drive', type=whole(1), default=1)
    parser.add_argument('--height', type=whole(32), default=360)
    parser.add_argument('--width', type=whole(32), default=480)
    parser.add_argument('--workers', type=whole(1), default=1)
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    source = StreetSource(
        options.drives,
        options.frames_per_drive,
        options.first_seed,
        (options.height, options.width),
    )
    render(source, options.folder, options.workers)
    return 0


if __name__ == '__main__':
    sys.exit(main())
