"""ModelSpec: what a network wants and gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Tuple

from segformer_ros.classes import ClassMap
from segformer_ros.errors import SegformerError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""RGB statistics on 0..255 of ImageNet, as SegFormer's training code and TAO <= 5 use them."""
HALF_MEAN = (127.5, 127.5, 127.5)
HALF_STD = (127.5, 127.5, 127.5)
"""What TAO 6 uses: 0..255 to -1..1."""

STRIDE = 4
"""Input pixels for each cell of SegFormer's logits."""

COLORS = ('rgb', 'bgr')
FITS = ('stretch', 'letterbox')
OUTPUT_KINDS = ('logits', 'probabilities', 'labels')
ENGINE_SUFFIXES = ('.engine', '.plan', '.trt')


class ModelError(SegformerError, ValueError):
    """A model file that cannot be used: says what is wrong and what to do."""


@dataclass(frozen=True)
class ModelSpec:
    """What a network wants and gives.

    path: the ONNX or engine file.
    contract: name of the export that it was recognised as.
    size: (height, width) of the network's input in pixels.
    batch: frames that one inference takes; None where the graph takes any number.
    input_layout: 'NCHW' or 'NHWC'. input_dtype: 'uint8' or 'float32'.
    color: 'rgb' or 'bgr', the order of the input's channels.
    mean, std: input = (pixel - mean) / std, pixels 0..255, in the order of `color`.
    output_kind: 'logits', 'probabilities' or 'labels'.
    output_layout: 'NCHW', 'NHWC' or 'NHW'.
    fit: how a frame fills the input: 'stretch' (both sides scaled on their own) or 'letterbox'
        (one scale, the rest of the input padded).
    threshold: a pixel whose best score is below it carries no class (255); 0 for none.
    dynamic_size: whether the graph takes other sizes than `size`.
    engine_file: a built engine that goes with the ONNX, where one is named.
    precision, max_batch: what a configuration asks of a built engine; None where it does not.
    notes: what was taken for granted, in words.
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
        """Raise ModelError for a built engine, of which nothing else can be made."""
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
    """Refuse a (height, width) that halves unevenly on the way through an encoder."""
    if size[0] % 32 or size[1] % 32 or min(size) < 32:
        raise ModelError(
            f'input size {size[1]}x{size[0]} (width x height): both sides must be multiples of '
            '32 pixels'
        )
