# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The bundled model in every contract of the field: are its masks the same on real frames?

Each form is written to a file of its own, recognised as a user's file is (by itself, by a sidecar
or by a DeepStream configuration), run, and compared with the bundled model pixel by pixel.

    python -m tools.benchmarks.contracts ../shared/camvid/val/images ../shared/camvid/train/images

Labels that leave a graph are compared at the network's size, where they are made.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from tqdm import tqdm

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.cli.arguments import whole
from segformer_ros.engines import EngineOptions, Wanted, create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, bundled_model, load_model
from tools.benchmarks.exports import HUGGINGFACE, OWN, TAO5, TAO6, Export, save_told

ALL = 1.0
"""Share of equal pixels asked of equal arithmetic."""
ALMOST_ALL = 0.99999
"""Where the logits went through a softmax."""
NEARLY_ALL = 0.999
"""Where a normalisation in floating point comes before the network."""

SIZE = (384, 512)
WIDE = (384, 640)
"""(height, width); frames of 4:3 fill the one and are letterboxed or stretched in the other."""

DEEPSTREAM = """[property]
gpu-id=0
net-scale-factor={scale}
offsets={offsets}
model-color-format=0
onnx-file=model.onnx
model-engine-file=model.onnx_b1_gpu0_fp16.engine
labelfile-path=labels.txt
infer-dims=3;384;512
batch-size=1
network-mode=2
network-type=2
num-detected-classes=19
segmentation-threshold=0.0
output-blob-names=output
segmentation-output-order=0
"""
IMAGENET_SCALE = DEEPSTREAM.format(scale=0.01735207357, offsets='123.675;116.28;103.53')
HALF_SCALE = DEEPSTREAM.format(scale=0.00784313725, offsets='127.5;127.5;127.5')

BACKGROUND = 'background'


@dataclass(frozen=True)
class Case:
    """One form of the bundled model, and what is told of it beside the file.

    sidecar, config: contents of `model.onnx.yaml` and of the nvinfer configuration, if any. size,
    fit: what the file and what is told add up to. floor: share of the pixels that must be equal
    where the wrapper's own arithmetic is equal.
    """

    export: Export
    sidecar: str = ''
    config: str = ''
    size: tuple[int, int] = SIZE
    fit: str = 'stretch'
    floor: float = ALL

    def write(self, folder: Path, whole_pixels: bool) -> Path:
        """Write the model and what is told of it; the path that a user would give."""
        names = load_class_map('cityscapes').names
        if self.export.background:
            names = (BACKGROUND, *names)
        return save_told(
            folder,
            self.size,
            self.export,
            names,
            sidecar=self.sidecar,
            config=self.config,
            whole_pixels=whole_pixels,
        )


def _sidecar_of(export: Export, **more: object) -> str:
    lines = {'color': export.color, 'mean': list(export.mean), 'std': list(export.std), **more}
    return ''.join(f'{key}: {value}\n' for key, value in lines.items())


_FOREIGN = replace(TAO6, input_name='x', output_name='y')
_TAO6_LAST = replace(TAO6, layout='NHWC', output_layout='NHWC')
_HF_SOFTMAX = replace(HUGGINGFACE, output='softmax')

CASES: dict[str, Case] = {
    "this project's": Case(OWN, fit='letterbox'),
    "this project's, batch 1, one size": Case(replace(OWN, batch=1), fit='letterbox'),
    'TAO 5, int64 [N,1,H,W]': Case(TAO5),
    'TAO 5, batch 1': Case(replace(TAO5, batch=1)),
    'TAO 5, batch 4': Case(replace(TAO5, batch=4)),
    'TAO 5, int64 [N,H,W,1]': Case(replace(TAO5, output_layout='NHWC')),
    'TAO 5, int32 [N,1,H,W]': Case(replace(TAO5, output='int32')),
    'TAO 5, uint8 [N,H,W]': Case(replace(TAO5, output='uint8', output_layout='NHW')),
    'TAO 5, int8 [N,1,H,W]': Case(replace(TAO5, output='int8')),
    'TAO 5, channels first and last': Case(replace(TAO5, layout='NHWC', output_layout='NHWC')),
    'TAO 5, any size': Case(replace(TAO5, dynamic_size=True), sidecar='size: [384, 512]\n'),
    'TAO 6': Case(TAO6),
    'TAO 6, batch 1': Case(replace(TAO6, batch=1)),
    'TAO 6, any size': Case(replace(TAO6, dynamic_size=True), sidecar='size: [384, 512]\n'),
    'TAO 6, channels last': Case(_TAO6_LAST),
    'TAO 6, stretched': Case(TAO6, size=WIDE),
    'TAO 6, letterboxed': Case(TAO6, sidecar='fit: letterbox\n', size=WIDE, fit='letterbox'),
    'TAO 6, 20 classes': Case(
        replace(TAO6, background=True), sidecar='contract: tao6\nclasses: labels.txt\n'
    ),
    'TAO 5, 20 classes': Case(replace(TAO5, background=True), sidecar='classes: labels.txt\n'),
    'Hugging Face': Case(HUGGINGFACE),
    'Hugging Face, batch 2': Case(replace(HUGGINGFACE, batch=2)),
    'Hugging Face, any size': Case(
        replace(HUGGINGFACE, dynamic_size=True), sidecar='size: [384, 512]\n'
    ),
    # Its logarithm gives the logits but for their last bit.
    'Hugging Face, softmax': Case(_HF_SOFTMAX, floor=ALMOST_ALL),
    'Hugging Face, softmax, channels last': Case(
        replace(_HF_SOFTMAX, output_layout='NHWC'), floor=ALMOST_ALL
    ),
    'foreign names': Case(_FOREIGN, sidecar='contract: tao6\n'),
    'foreign names, BGR': Case(
        replace(_FOREIGN, color='bgr'), sidecar=_sidecar_of(replace(_FOREIGN, color='bgr'))
    ),
    'TAO 5, DeepStream': Case(TAO5, config=IMAGENET_SCALE),
    'TAO 5, DeepStream to the letter': Case(
        TAO5, sidecar='std: [57.63, 57.63, 57.63]\n', config=IMAGENET_SCALE, floor=0.99
    ),
    'TAO 6, DeepStream': Case(TAO6, config=HALF_SCALE),
}


class Comparison:
    """The bundled model's masks of some frames, to hold other masks against."""

    def __init__(self, frames: Sequence[Frame], engine: str, threads: int = 0) -> None:
        self._frames = frames
        self._engine = engine
        self._options = EngineOptions(threads=threads)
        self._masks: dict[tuple[object, ...], np.ndarray] = {}

    def agreement(self, case: Case, spec: ModelSpec) -> float:
        """Share of the pixels that carry the same class."""
        wanted = Wanted(size=None if case.export.scores else case.size)
        labels = _by_name(self._labels(spec, wanted), spec.class_map)
        return float(np.mean(labels == self._own(case, wanted)))

    def _own(self, case: Case, wanted: Wanted) -> np.ndarray:
        key = (case.size, case.fit, wanted)
        if key not in self._masks:
            spec = replace(load_model(bundled_model()).resized(*case.size), fit=case.fit)
            self._masks[key] = self._labels(spec, wanted)
        return self._masks[key]

    def _labels(self, spec: ModelSpec, wanted: Wanted) -> np.ndarray:
        with create_engine(spec, self._engine, self._options) as engine:
            return np.stack([result.labels for result in engine.segment(self._frames, wanted)])


def _by_name(labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """Labels of any class map as those of Cityscapes, by the classes' names."""
    names = load_class_map('cityscapes').names
    table = np.full(256, 255, np.uint8)
    for index, name in enumerate(class_map.names):
        if name in names:
            table[index] = names.index(name)
    return table[labels]


def compare(case: Case, comparison: Comparison, whole_pixels: bool) -> tuple[str, float]:
    """Write a form and run it: the contract that it was recognised as, and its agreement."""
    with TemporaryDirectory() as folder:
        spec = load_model(case.write(Path(folder), whole_pixels))
        if (spec.size, spec.fit) != (case.size, case.fit):
            raise ValueError(f'{spec.size} {spec.fit} instead of {case.size} {case.fit}')
        return spec.contract, comparison.agreement(case, spec)


def pick_images(folders: Sequence[Path], count: int, seed: int = 0) -> list[Path]:
    """Choose some images of all folders at random."""
    files = [file for folder in folders for file in sorted(folder.glob('*.[jp][pn]g'))]
    return random.Random(seed).sample(files, min(count, len(files)))


def read_images(files: Sequence[Path]) -> list[Frame]:
    """Read images as frames."""
    return [Frame.from_array(np.asarray(cv2.imread(str(file)))) for file in files]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table for a document."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def told(case: Case) -> str:
    """Who says what the file does not."""
    parts = ['DeepStream'] * bool(case.config) + ['sidecar'] * bool(case.sidecar)
    return ', '.join(parts) or 'the file alone'


def main() -> int:
    """Run all forms; the exit code is 1 where one falls short."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('images', type=Path, nargs='+', help='folder of frames')
    parser.add_argument('--frames', type=whole(1), default=50)
    parser.add_argument('--engine', default='openvino')
    parser.add_argument('--threads', type=whole(0), default=0)
    options = parser.parse_args()
    frames = read_images(pick_images(options.images, options.frames))
    comparison = Comparison(frames, options.engine, options.threads)
    rows, short = [], 0
    for name, case in tqdm(CASES.items(), unit='form'):
        contract, equal = compare(case, comparison, whole_pixels=True)
        near = compare(case, comparison, whole_pixels=False)[1]
        fine = equal >= case.floor and near >= min(case.floor, NEARLY_ALL)
        short += not fine
        shares = [f'{100 * share:.5f}' for share in (equal, near)]
        rows.append((name, told(case), contract, *shares, 'yes' if fine else 'NO'))
    print(f'{len(frames)} frames, engine {options.engine}\n')
    print(markdown(('form', 'told by', 'contract', 'equal %', 'unrounded %', 'as asked'), rows))
    return int(short > 0)


if __name__ == '__main__':
    sys.exit(main())
