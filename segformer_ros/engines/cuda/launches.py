# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Launches of the kernels in `kernels.cu`, from what an engine knows to their arguments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines.placement import Fit, Window
from segformer_ros.model import ModelSpec

KERNELS = Path(__file__).with_name('kernels.cu')

_COMMENT = re.compile(r'//.*')
_CONSTANT = re.compile(r'^ +([A-Z_]+) = (\d+),', re.MULTILINE)
_KERNEL = re.compile(r'^KERNEL (\w+)\(', re.MULTILINE)
_STRUCT = re.compile(r'^struct (\w+) \{([^{}]*)\};', re.MULTILINE)
_DECLARATION = re.compile(r'\s*(?:const )?(\w+) (.+)', re.DOTALL)
_FIELD = re.compile(r'(\*?)(\w+)(?:\[(\w+)\])?')
_TYPES = {'int': np.int32, 'unsigned': np.uint32, 'float': np.float32}


def read_constants(source: str) -> Dict[str, int]:
    """The enumerated constants of a kernel source."""
    return {name: int(value) for name, value in _CONSTANT.findall(source)}


def read_kernels(source: str) -> Tuple[str, ...]:
    """The names of the kernels in a kernel source."""
    return tuple(_KERNEL.findall(source))


def read_structs(source: str) -> Dict[str, np.dtype]:
    """The structs of a kernel source, laid out as C does; pointers are 64 bit numbers."""
    constants = read_constants(source)
    structs: Dict[str, np.dtype] = {}
    for name, body in _STRUCT.findall(_COMMENT.sub('', source)):
        fields = [
            field
            for declaration in body.split(';')
            if declaration.strip()
            for field in _fields(declaration, structs, constants)
        ]
        structs[name] = np.dtype(fields, align=True)
    return structs


def _fields(
    declaration: str, structs: Dict[str, np.dtype], constants: Dict[str, int]
) -> Iterator[Tuple[Any, ...]]:
    """The fields of one declaration such as 'const byte *a' or 'int b, c[3]'."""
    match = _DECLARATION.match(declaration)
    assert match, declaration
    kind, names = match.groups()
    for pointer, name, count in _FIELD.findall(names):
        dtype = np.uint64 if pointer else _TYPES.get(kind) or structs[kind]
        length = (constants.get(count) or int(count),) if count else ()
        yield (name, dtype, *length)


_SOURCE = KERNELS.read_text(encoding='utf-8')
CONSTANTS = read_constants(_SOURCE)
KERNEL_NAMES = read_kernels(_SOURCE)
STRUCTS = read_structs(_SOURCE)


BLOCK = CONSTANTS['BLOCK']
MAX_BATCH = CONSTANTS['MAX_BATCH']
ROWS = CONSTANTS['ROWS']

# Colours of a pixel in the order of its bytes; the one byte of mono8 is all three.
BYTE_ORDER: Dict[str, str] = {
    'bgr8': 'bgr',
    'rgb8': 'rgb',
    'bgra8': 'bgra',
    'rgba8': 'rgba',
    'mono8': 'm',
}


class Launch(NamedTuple):
    """One launch: the kernel's name, its only argument and its grid of blocks of BLOCK threads.

    argument: an np.void of the kernel's struct, which PyCUDA passes by value.
    """

    kernel: str
    argument: Any
    grid: Tuple[int, int, int]


class Image(NamedTuple):
    """A packed uint8 image in device memory: address, bytes between rows, pixels, encoding."""

    address: int
    step: int
    height: int
    width: int
    encoding: str

    def part(self, window: Window, size: Tuple[int, int]) -> Image:
        """What a window of a (height, width) sees of the image."""
        start = window.row * self.step + window.column * len(BYTE_ORDER[self.encoding])
        return self._replace(
            address=self.address + start,
            height=min(size[0], self.height - window.row),
            width=min(size[1], self.width - window.column),
        )


class Tensor(NamedTuple):
    """A network's input or output in device memory; `layout` names the axes of `shape`.

    probabilities: whether the values are probabilities of the classes, not logits.
    """

    address: int
    shape: Tuple[int, ...]
    layout: str
    dtype: np.dtype
    probabilities: bool = False

    def side(self, axis: str) -> int:
        """Length along 'N', 'C', 'H' or 'W'; an axis that the tensor lacks has length 1."""
        return self.shape[self.layout.index(axis)] if axis in self.layout else 1

    def stride(self, axis: str) -> int:
        """Elements between neighbours along an axis; 0 along one that the tensor lacks."""
        if axis not in self.layout:
            return 0
        return int(np.prod(self.shape[self.layout.index(axis) + 1 :], dtype=np.int64))

    @property
    def half(self) -> bool:
        """Whether the elements are FP16."""
        return self.dtype == np.float16


class Mosaic(NamedTuple):
    """Where the logits of a frame's windows are gathered, as device addresses.

    logits: `tensor`'s. seen: (height, width) float32 of the cells. stride: pixels of the frame
    that each of them spans.
    """

    tensor: Tensor
    seen: int
    stride: int


class FrameOutput(NamedTuple):
    """Where the results of one frame go, as device addresses; 0 is not wanted.

    labels, confidence: (height, width) uint8. overlay: (height, width, 3) uint8 BGR over `image`,
    which then has this size. blocked: (width,) int32, the lowest row that is not drivable, to be
    set to -1 before. frame: size of the frame where `fit` is that of a mosaic, whose cells lie
    a whole number of its pixels apart; None where the cells span the result itself.
    """

    height: int
    width: int
    fit: Fit
    labels: int
    confidence: int = 0
    overlay: int = 0
    blocked: int = 0
    image: Optional[Image] = None
    frame: Optional[Tuple[int, int]] = None


class Coloring(NamedTuple):
    """What overlay and blocked rows need: the palette's address, opacity 0..1, drivable ids."""

    palette: int = 0
    opacity: float = 0.5
    drivable: Tuple[int, ...] = ()


def preprocess_job(
    images: Sequence[Image], fits: Sequence[Fit], tensor: Tensor, spec: ModelSpec
) -> Launch:
    """Resize and normalise images into the first frames of the network's input."""
    job = np.zeros((), STRUCTS['PreprocessJob'])
    for source, image, fit in zip(job['sources'], images, fits):
        _describe(source, image, spec.color)
        source['content_height'], source['content_width'] = fit.content
    job['input'] = tensor.address
    job['half'] = tensor.half
    job['height'], job['width'] = tensor.side('H'), tensor.side('W')
    _set_strides(job, tensor, 'frame channel row pixel')
    job['mean'] = spec.mean
    job['scale'] = 1.0 / np.asarray(spec.std)
    grid = _grid(tensor.side('W'), tensor.side('H'), len(images), ROWS)
    return Launch('segformer_preprocess', job[()], grid)


def cells_job(
    scores: Tensor, count: int, labels: int = 0, best: int = 0, rivals: int = 0
) -> Launch:
    """For each cell of the first `count` frames of the scores, what the pixels' kernel needs.

    Addresses, 0 for what is not wanted: labels: uint8, the best class. best: float32, its
    probability. rivals: uint32, the classes that compete between the cell and the next ones.
    """
    job = np.zeros((), STRUCTS['CellsJob'])
    job['labels'], job['best'], job['rivals'] = labels, best, rivals
    _set_scores(job['scores'], scores)
    return Launch('segformer_cells', job[()], _grid(scores.side('W'), scores.side('H'), count))


def mosaic_job(
    scores: Tensor, windows: Sequence[Window], mosaic: Mosaic, first: bool, last: bool
) -> Launch:
    """Add the logits of a batch of windows to their frame's mosaic, which the last one averages.

    first, last: whether it is the frame's first batch, or its last.
    """
    job = np.zeros((), STRUCTS['MosaicJob'])
    _set_scores(job['scores'], scores)
    job['mosaic'], job['seen'] = mosaic.tensor.address, mosaic.seen
    job['height'], job['width'] = mosaic.tensor.side('H'), mosaic.tensor.side('W')
    job['windows'] = len(windows)
    job['row'][: len(windows)] = [window.row // mosaic.stride for window in windows]
    job['column'][: len(windows)] = [window.column // mosaic.stride for window in windows]
    job['first'], job['last'] = first, last
    grid = _grid(mosaic.tensor.side('W'), mosaic.tensor.side('H'))
    return Launch('segformer_mosaic', job[()], grid)


def postprocess_job(
    outputs: Sequence[FrameOutput],
    scores: Tensor,
    labels: Optional[Tensor] = None,
    rivals: int = 0,
    best: int = 0,
    threshold: float = 0.0,
    coloring: Coloring = Coloring(),
) -> Launch:
    """Scores, or the labels given instead of them, to what each frame's FrameOutput names.

    rivals: address of the cells' rivals, see `cells_job`; for scores.
    best: address of the cells' probabilities, where there is a threshold (pixels below this
    probability carry no class) or a FrameOutput wants its confidence.
    """
    job = np.zeros((), STRUCTS['PostprocessJob'])
    _set_scores(job['scores'], labels or scores)
    if labels is not None:
        job['scores']['data'] = 0
        job['labels'] = labels.address
        job['label_bytes'] = labels.dtype.itemsize
    for target, output in zip(job['targets'], outputs):
        _set_target(target, output, labels or scores)
    job['rivals'], job['best'] = rivals, best
    job['threshold'] = round(255 * threshold)
    job['palette'], job['opacity'] = coloring.palette, coloring.opacity
    for train_id in coloring.drivable:
        job['drivable'][train_id // 32] |= np.uint32(1 << train_id % 32)
    widest = max(output.width for output in outputs)
    highest = max(output.height for output in outputs)
    return Launch('segformer_postprocess', job[()], _grid(widest, highest, len(outputs), ROWS))


def _describe(source: np.void, image: Image, colors: str) -> None:
    order = BYTE_ORDER[image.encoding]
    source['pixels'] = image.address
    source['step'] = image.step
    source['height'], source['width'] = image.height, image.width
    source['channels'] = len(order)
    source['offset'] = [max(0, order.find(color)) for color in colors]


def _set_scores(scores: np.ndarray, tensor: Tensor) -> None:
    scores['data'] = tensor.address
    scores['height'], scores['width'] = tensor.side('H'), tensor.side('W')
    scores['classes'] = tensor.side('C')
    scores['half'] = tensor.half
    scores['probabilities'] = tensor.probabilities
    _set_strides(scores, tensor, 'frame class row cell')


def _set_strides(struct: np.ndarray, tensor: Tensor, names: str) -> None:
    for name, axis in zip(names.split(), 'NCHW'):
        struct[f'{name}_stride'] = tensor.stride(axis)


def _set_target(target: np.void, output: FrameOutput, cells: Tensor) -> None:
    for name in ('labels', 'confidence', 'overlay', 'blocked', 'height', 'width'):
        target[name] = getattr(output, name)
    size = (output.height, output.width)
    target['frame_height'], target['frame_width'] = output.frame or size
    target['span_height'], target['span_width'] = output.fit.content if output.frame else size
    target['rows'], target['columns'] = output.fit.cells((cells.side('H'), cells.side('W')))
    if output.image is not None:
        _describe(target['image'], output.image, 'bgr')


def _grid(width: int, height: int, frames: int = 1, rows: int = 1) -> Tuple[int, int, int]:
    """The blocks that cover so many columns and rows; a block makes `rows` rows."""
    return _blocks(width, BLOCK), _blocks(height, rows), frames


def _blocks(items: int, per_block: int) -> int:
    return -(-items // per_block)
