# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""ModelSpec: a network's input and output; Declared: what other sources say about them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from segformer_ros.classes import ClassMap
from segformer_ros.documents import Check, FieldError, items, number, whole
from segformer_ros.errors import SegformerError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""RGB statistics on 0..255 of ImageNet, as SegFormer's training code and TAO <= 5 use them."""
HALF_MEAN = (127.5, 127.5, 127.5)
HALF_STD = (127.5, 127.5, 127.5)
"""What TAO 6 uses: 0..255 to -1..1."""

STRIDE = 4
"""Input pixels for each cell of SegFormer's logits, along both sides."""

COLORS = ('rgb', 'bgr')
FITS = ('stretch', 'letterbox')
OUTPUT_KINDS = ('logits', 'probabilities', 'labels')
ENGINE_SUFFIXES = ('.engine', '.plan', '.trt')


class ModelError(SegformerError, ValueError):
    """A model file that cannot be used: says what is wrong and what to do."""


@dataclass(frozen=True)
class ModelSpec:
    """A network's input and output.

    path: the ONNX or engine file.
    contract: name of the kind of export that it was recognised as.
    size: (height, width) of the network's input in pixels.
    batch: frames that one inference takes; None where the graph takes any number.
    input_layout: 'NCHW' or 'NHWC'. input_dtype: 'uint8', 'float32' or 'float16'.
    color: 'rgb' or 'bgr', the order of the input's channels.
    mean, std: input = (pixel - mean) / std, pixels 0..255, in the order of `color`.
    output_kind: 'logits', 'probabilities' or 'labels'.
    output_layout: 'NCHW', 'NHWC' or 'NHW'.
    heads: outputs of the file that are joined to `output_name`: those of the drivable area and of
        the lane lines, two classes each; empty for a network of one head.
    stride: input pixels for each cell of the output, along both sides; 0 where that is not a whole
        number. For a graph of any size SegFormer's is assumed until an engine has run it.
    fit: how a frame fills the input: 'stretch' (both sides scaled on their own) or 'letterbox'
        (one scale, the rest of the input padded).
    threshold: a pixel whose best score is below it carries no class (255); 0 for none.
    dynamic_size: whether the graph takes other sizes than `size`.
    engine_file: a built engine that goes with the ONNX, where one is named.
    precision, max_batch: what a configuration asks of a built engine; None where it does not.
    notes: assumptions that were made, in words.
    """

    path: Path
    contract: str
    class_map: ClassMap
    size: Tuple[int, int]
    batch: Optional[int] = 1
    input_name: str = 'image'
    input_layout: str = 'NHWC'
    input_dtype: str = 'uint8'
    color: str = 'bgr'
    mean: Tuple[float, ...] = (0.0, 0.0, 0.0)
    std: Tuple[float, ...] = (1.0, 1.0, 1.0)
    output_name: str = 'logits'
    output_kind: str = 'logits'
    output_layout: str = 'NCHW'
    heads: Tuple[str, ...] = ()
    stride: int = STRIDE
    fit: str = 'stretch'
    threshold: float = 0.0
    dynamic_size: bool = False
    engine_file: Optional[Path] = None
    precision: Optional[str] = None
    max_batch: Optional[int] = None
    notes: Tuple[str, ...] = ()

    @property
    def built(self) -> bool:
        """Whether `path` is a built engine, without the ONNX that it was made from."""
        return self.path == self.engine_file

    def require_graph(self) -> None:
        """Raise ModelError for a built engine, which nothing else can be made from."""
        if self.built:
            raise ModelError(f'{self.path} is built already; give the ONNX that it was built from')

    @property
    def size_in_words(self) -> str:
        """The input's size as users read it everywhere: '512x384 (width x height)'."""
        return f'{self.size[1]}x{self.size[0]} (width x height)'

    def resized(self, height: int, width: int) -> ModelSpec:
        """The same model at another input size; raises ModelError where the graph has one size."""
        if (height, width) == self.size:
            return self
        if not self.dynamic_size:
            raise ModelError(
                f'{self.path} takes {self.size_in_words} only, not '
                f'{width}x{height}; export it with a dynamic size'
            )
        check_size((height, width))
        return replace(self, size=(height, width))


def check_size(size: Tuple[int, int]) -> None:
    """Raise ModelError for a (height, width) that an encoder cannot halve five times."""
    if size[0] % 32 or size[1] % 32 or min(size) < 32:
        raise ModelError(
            f'input size {size[1]}x{size[0]} (width x height): both sides must be multiples of '
            '32 pixels'
        )


LARGEST_SIDE = 16384
"""Most pixels along a side of a network's input."""
MOST_PIXELS = 1 << 25
"""Most pixels of a network's input: a little more than 8K."""

MOST_FRAMES = 1024
"""Most frames of a batch."""
_FURTHEST = 1e6
_sides = items(whole(1, LARGEST_SIDE), 2, 2)
offset = number(-_FURTHEST, _FURTHEST)

mean_values: Check[Tuple[float, ...]] = items(offset, 3, 3)
"""Checks of declared values, from whatever file: they raise documents.FieldError."""
class_count = whole(1, 1 << 20)
batch_size = whole(1, MOST_FRAMES)
share = number(0, 1)


def divisor(value: Any) -> float:
    """A number that is not too close to 0 to divide by."""
    divided_by = offset(value)
    if abs(divided_by) < 1 / _FURTHEST:
        raise FieldError(value, f'cannot be divided by; it must be {1 / _FURTHEST:g} or more')
    return divided_by


deviations: Check[Tuple[float, ...]] = items(divisor, 3, 3)


def input_size(value: Any) -> Tuple[int, int]:
    """(height, width) of a network's input in pixels."""
    height, width = _sides(value)
    if height * width > MOST_PIXELS:
        raise FieldError(value, f'has more than {MOST_PIXELS} pixels')
    return height, width


@dataclass(frozen=True)
class Declared:
    """Declarations about a model from one origin, as in ModelSpec; None where it has none."""

    origin: str = ''
    contract: Optional[str] = None
    color: Optional[str] = None
    mean: Optional[Tuple[float, ...]] = None
    std: Optional[Tuple[float, ...]] = None
    fit: Optional[str] = None
    size: Optional[Tuple[int, int]] = None
    input_layout: Optional[str] = None
    output_name: Optional[str] = None
    """One output, or those of drivable area and lane lines as 'DRIVABLE;LANES'."""
    output_kind: Optional[str] = None
    output_layout: Optional[str] = None
    classes: Optional[str] = None
    """Preset's name or path of a class map."""
    class_names: Optional[Tuple[str, ...]] = None
    """In train-id order, where there is no class map with them."""
    class_count: Optional[int] = None
    usual_size: Optional[Tuple[int, int]] = None
    """Size that its training code resizes to; `size` and the graph take precedence."""
    threshold: Optional[float] = None
    engine_file: Optional[Path] = None
    precision: Optional[str] = None
    max_batch: Optional[int] = None
    notes: Tuple[str, ...] = ()


def combine(declarations: Sequence[Declared]) -> Declared:
    """Merge declarations, the more trusted first; notes say where a later one disagrees."""
    values = {}
    notes: List[str] = []
    for field in fields(Declared):
        if field.name in ('origin', 'notes'):
            continue
        candidates = [
            (entry.origin, getattr(entry, field.name))
            for entry in declarations
            if getattr(entry, field.name) is not None
        ]
        if not candidates:
            continue
        origin, chosen = candidates[0]
        values[field.name] = chosen
        notes += [
            f'{field.name} {value} of {other} gives way to {chosen} of {origin}'
            for other, value in candidates[1:]
            if value != chosen
        ]
    origins = ', '.join(entry.origin for entry in declarations if entry.origin)
    every = [note for entry in declarations for note in entry.notes]
    return Declared(origin=origins, notes=(*every, *notes), **values)
