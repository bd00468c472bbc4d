# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Wrong contracts on real frames: does `segformer inspect` notice, and never cry wolf?

The bundled model is exported under each contract and then misread on purpose. Each pairing goes
through the command line once; those that only the masks can tell are judged again on many random
sets of frames.

    python -m tools.benchmarks.pairings ../shared/camvid/val/images ../shared/camvid/train/images
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from segformer_ros.classes import load_class_map
from segformer_ros.cli import main as cli
from segformer_ros.cli.arguments import whole
from segformer_ros.engines import EngineOptions, create_engine
from segformer_ros.engines.self_check import Evidence, examine, findings, rival_specs
from segformer_ros.errors import EXIT_REFUSED
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, load_model
from tools.benchmarks.contracts import (
    DEEPSTREAM,
    HALF_SCALE,
    IMAGENET_SCALE,
    SIZE,
    markdown,
    pick_images,
    read_images,
)
from tools.benchmarks.exports import HUGGINGFACE, TAO5, TAO6, Export, save_told

SET = 5
"""Frames that doc/models.md asks for."""
SETS = 500

HALF = 'mean: [127.5, 127.5, 127.5]\nstd: [127.5, 127.5, 127.5]\n'
IMAGENET = 'mean: [123.675, 116.28, 103.53]\nstd: [58.395, 57.12, 57.375]\n'


@dataclass(frozen=True)
class Pairing:
    """A file and what is said of it. words: those of the verdict; none where all is right."""

    export: Export
    words: str = ''
    sidecar: str = ''
    config: str = ''
    classes: int = 19

    def write(self, folder: Path) -> Path:
        """Write the files; the path that a user would give."""
        names = [*load_class_map('cityscapes').names, 'background', 'other'][: self.classes]
        return save_told(
            folder, SIZE, self.export, names, sidecar=self.sidecar, config=self.config
        )


_LABELS = 'classes: labels.txt\n'
_RAW = DEEPSTREAM.replace('net-scale-factor={scale}\noffsets={offsets}\n', '')
_BGR = IMAGENET_SCALE.replace('model-color-format=0', 'model-color-format=1')
_TURNED = HALF_SCALE.replace('3;384;512', '3;512;384')

PAIRINGS: dict[str, Pairing] = {
    'TAO 5, right': Pairing(TAO5),
    'TAO 5, BGR for RGB': Pairing(TAO5, 'colours as rgb', 'color: bgr\n'),
    'TAO 5, BGR for RGB, DeepStream': Pairing(TAO5, 'colours alone as rgb', config=_BGR),
    'TAO 5, -1..1 for ImageNet': Pairing(TAO5, 'statistics of ImageNet', HALF),
    'TAO 5, 12 labels': Pairing(TAO5, 'has 19 classes', _LABELS, classes=12),
    'TAO 5, 20 labels': Pairing(TAO5, 'has 19 classes', _LABELS, classes=20),
    'TAO 5, 12 labels, count hidden': Pairing(
        replace(TAO5, background=True), 'which the class map has no name', _LABELS, classes=12
    ),
    'TAO 6, right': Pairing(TAO6),
    'TAO 6, BGR for RGB': Pairing(TAO6, 'colours as rgb', 'color: bgr\n'),
    'TAO 6, ImageNet for -1..1': Pairing(TAO6, 'statistics of -1..1', IMAGENET),
    'TAO 6, no normalisation': Pairing(TAO6, 'is std (net-scale-factor) missing', config=_RAW),
    'TAO 6, 18 labels': Pairing(TAO6, 'has 19 classes', _LABELS, classes=18),
    'TAO 6, sides swapped': Pairing(TAO6, 'are the sides swapped?', 'size: [512, 384]\n'),
    'TAO 6, sides swapped, DeepStream': Pairing(TAO6, 'are the sides swapped?', config=_TURNED),
    'TAO 6, sides swapped, any size': Pairing(
        replace(TAO6, dynamic_size=True), 'are the sides of its size', 'size: [512, 384]\n'
    ),
    'Hugging Face, right': Pairing(HUGGINGFACE),
    'Hugging Face, BGR for RGB': Pairing(HUGGINGFACE, 'colours as rgb', 'color: bgr\n'),
    'Hugging Face, -1..1 for ImageNet': Pairing(HUGGINGFACE, 'statistics of ImageNet', HALF),
    'Hugging Face, as TAO 6': Pairing(HUGGINGFACE, 'statistics of ImageNet', 'contract: tao6\n'),
}


def inspect(model: Path, images: Sequence[Path], options: Sequence[str]) -> tuple[int, list[str]]:
    """Run `segformer inspect`: its exit code and the lines that say what is wrong."""
    out, err = StringIO(), StringIO()
    arguments = ['inspect', str(model), *options, '--out', str(model.with_suffix('.png'))]
    for image in images:
        arguments += ['--image', str(image)]
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(arguments)
    wrong = [line for line in out.getvalue().splitlines() if line.startswith('looks wrong')]
    return code, [*wrong, *err.getvalue().splitlines()]


class Masks:
    """Evidence of files on some frames, gathered once for each way of reading the pixels."""

    def __init__(self, frames: Sequence[Frame], engine: str, threads: int) -> None:
        self._frames = frames
        self._make = partial(create_engine, name=engine, options=EngineOptions(threads=threads))
        self._seen: dict[object, Evidence] = {}

    def of(self, pairing: Pairing, spec: ModelSpec) -> list[Evidence]:
        """Evidence of a pairing: as declared, then under each rival."""
        every = {'as declared': spec, **rival_specs(spec)}
        return [self._of(name, pairing, entry) for name, entry in every.items()]

    def _of(self, name: str, pairing: Pairing, spec: ModelSpec) -> Evidence:
        key = (pairing.export, spec.color, spec.mean, spec.std)
        if key not in self._seen:
            self._seen[key] = examine(name, spec, self._frames, self._make)
        return self._seen[key]._replace(name=name)


def alarms(evidence: Sequence[Evidence], size: int) -> float:
    """Share of the random sets of frames on which something looks wrong."""
    count = len(evidence[0].changes)
    return sum(
        bool(findings([_only(entry, chosen) for entry in evidence]))
        for chosen in _sets(count, size)
    ) / (SETS if size > 1 else count)


def _sets(count: int, size: int) -> Iterator[list[int]]:
    if size == 1:
        yield from ([index] for index in range(count))
        return
    chooser = random.Random(0)
    for _ in range(SETS):
        yield chooser.sample(range(count), min(size, count))


def _only(entry: Evidence, chosen: Sequence[int]) -> Evidence:
    return entry._replace(changes=tuple(entry.changes[index] for index in chosen))


def main() -> int:
    """Run all pairings; the exit code is 1 where one is not judged as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('images', type=Path, nargs='+', help='folder of frames')
    parser.add_argument('--frames', type=whole(1), default=30, help='to draw the sets from')
    parser.add_argument('--engine', default='openvino')
    parser.add_argument('--threads', type=whole(0), default=0)
    options = parser.parse_args()
    images = pick_images(options.images, options.frames)
    masks = Masks(read_images(images), options.engine, options.threads)
    engine = ['--engine', options.engine, '--threads', str(options.threads)]
    rows, wrong = [], 0
    for name, pairing in tqdm(PAIRINGS.items(), unit='pairing'):
        with TemporaryDirectory() as folder:
            model = pairing.write(Path(folder))
            code, lines = inspect(model, images[:SET], engine)
            shares = ['-', '-', '-']
            if code < EXIT_REFUSED:
                evidence = masks.of(pairing, load_model(model))
                shares = [f'{100 * alarms(evidence, size):.0f}' for size in (1, SET)]
                shares.append(' '.join(f'{100 * entry.change:.2f}' for entry in evidence))
        said = next((line for line in lines if pairing.words in line), '') if lines else ''
        fine = bool(said) == bool(pairing.words) and bool(code) == bool(pairing.words)
        wrong += not fine
        verdict = {0: 'passes', 1: 'looks wrong', 2: 'refused'}[code]
        rows.append((name, verdict, *shares, 'yes' if fine else 'NO'))
    print(f'{len(images)} frames, engine {options.engine}\n')
    header = ('pairing', 'inspect', '1 frame: %', f'{SET} frames: %', 'changes %', 'as asked')
    print(markdown(header, rows))
    return int(wrong > 0)


if __name__ == '__main__':
    sys.exit(main())
