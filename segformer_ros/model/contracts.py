"""Contracts: the exports that the field uses, and how each is known by its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from segformer_ros.model.graph import Signature, TensorSignature
from segformer_ros.model.spec import (
    HALF_MEAN,
    HALF_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ModelError,
)

OWN = 'uint8_bgr_nhwc'
"""This project's own contract: uint8 BGR pixels in, logits at a quarter of the size out."""

METADATA = 'segformer_ros.'
"""Prefix of the ONNX metadata in which this project's models describe themselves."""

CONTRACT = f'{METADATA}contract'
"""Metadata of a graph that is of this contract."""

INPUT_SIZE = f'{METADATA}input_size'
"""Metadata of the network's input size, HEIGHTxWIDTH, for graphs that take any."""


@dataclass(frozen=True)
class Shape:
    """What a signature shows of a network for images, whatever its contract.

    size and batch hold None where the graph is dynamic; class_count where it does not show.
    """

    input: TensorSignature
    output: TensorSignature
    input_layout: str
    output_layout: str
    output_kind: str
    batch: Optional[int]
    size: Tuple[Optional[int], Optional[int]]
    class_count: Optional[int]

    @property
    def quarter(self) -> bool:
        """Whether the output may be at a quarter of the input's size, as raw logits are."""
        axes = self.output_layout
        sides = [self.output.shape[axes.index(axis)] for axis in 'HW']
        return all(
            one is None or other is None or one == 4 * other
            for one, other in zip(self.size, sides)
        )


@dataclass(frozen=True)
class Contract:
    """One kind of export: how its file is known, and what the file leaves unsaid.

    output_kinds: those that the file may have to be known by itself. default_size: (height,
    width) taken where the graph is dynamic.
    """

    name: str
    title: str
    input_name: str
    output_kinds: Tuple[str, ...]
    color: str
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    default_size: Tuple[int, int]

    def fits(self, shape: Shape) -> bool:
        """Whether a file is known to be of this contract."""
        named = shape.input.name == self.input_name and shape.output_kind in self.output_kinds
        return named and (shape.output_kind == 'labels' or shape.quarter)

    def allows(self, shape: Shape) -> bool:
        """Whether a file can be of this contract, whatever its names."""
        return ('labels' in self.output_kinds) == (shape.output_kind == 'labels')


CONTRACTS: Tuple[Contract, ...] = (
    Contract(
        name='tao5',
        title='TAO 5 or earlier, the argmax inside',
        input_name='input',
        output_kinds=('labels',),
        color='rgb',
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        default_size=(1024, 1024),
    ),
    Contract(
        name='tao6',
        title='TAO 6, raw logits',
        input_name='input',
        output_kinds=('logits',),
        color='rgb',
        mean=HALF_MEAN,
        std=HALF_STD,
        default_size=(1024, 1024),
    ),
    Contract(
        name='huggingface',
        title='Hugging Face',
        input_name='pixel_values',
        output_kinds=('logits', 'probabilities'),
        color='rgb',
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        default_size=(512, 512),
    ),
)


def read_shape(
    signature: Signature, output_name: Optional[str] = None, output_kind: Optional[str] = None
) -> Shape:
    """The network's shape by its signature; raises ModelError where it is not a segmenter's."""
    source, result = _ends(signature, output_name)
    where = signature.path
    if source.dtype not in ('uint8', 'float32'):
        raise ModelError(
            f'{where}: input {source} must be uint8 or float32; export the model with float32 '
            'input (the engine takes care of half precision)'
        )
    input_layout = _input_layout(source, where)
    height, width = (source.shape[input_layout.index(axis)] for axis in 'HW')
    last_op = signature.last_ops.get(result.name, '')
    kind, output_layout = _output_form(result, last_op, (height, width), where)
    kind = output_kind or kind
    count = None if kind == 'labels' else result.shape[output_layout.index('C')]
    count = count or signature.class_counts.get(result.name)
    if count is not None and count < 2:
        raise ModelError(
            f'{where}: output {result} has {count} class; it needs at least 2, or output_kind: '
            'labels in a sidecar yaml where it holds labels'
        )
    return Shape(
        input=source,
        output=result,
        input_layout=input_layout,
        output_layout=output_layout,
        output_kind=kind,
        batch=source.shape[0],
        size=(height, width),
        class_count=count,
    )


def _ends(
    signature: Signature, output_name: Optional[str]
) -> Tuple[TensorSignature, TensorSignature]:
    where = signature.path
    if len(signature.inputs) != 1:
        raise ModelError(
            f'{where} has {len(signature.inputs)} inputs '
            f'({"; ".join(map(str, signature.inputs))}); a segmenter of images has one: '
            'export it with the image as its only input'
        )
    outputs = signature.outputs
    if output_name is not None:
        outputs = tuple(entry for entry in outputs if entry.name == output_name)
        if not outputs:
            names = ', '.join(entry.name for entry in signature.outputs)
            raise ModelError(f'{where} has no output {output_name!r}; it has {names}')
    if len(outputs) != 1:
        raise ModelError(
            f'{where} has {len(outputs)} outputs ({"; ".join(map(str, outputs))}); say which '
            'holds the segmentation by output_name in a sidecar yaml'
        )
    return signature.inputs[0], outputs[0]


def _input_layout(source: TensorSignature, where: object) -> str:
    if len(source.shape) == 4:
        layouts = [
            layout for layout, channel in (('NCHW', 1), ('NHWC', 3)) if source.shape[channel] == 3
        ]
        if len(layouts) == 1:
            return layouts[0]
    raise ModelError(
        f'{where}: input {source} is no batch of 3-channel images; export it with [N, 3, H, W] or '
        '[N, H, W, 3]'
    )


def _output_form(
    result: TensorSignature,
    last_op: str,
    size: Tuple[Optional[int], Optional[int]],
    where: object,
) -> Tuple[str, str]:
    """Kind and layout of the output."""
    shape = result.shape
    whole = 'int' in result.dtype
    if whole and len(shape) == 3:
        return 'labels', 'NHW'
    if len(shape) == 4 and whole and 1 in (shape[1], shape[3]):
        return 'labels', 'NCHW' if shape[1] == 1 else 'NHWC'
    if len(shape) == 4 and result.dtype == 'float32':
        kind = 'probabilities' if last_op == 'Softmax' else 'logits'
        return kind, _score_layout(shape, size)
    raise ModelError(
        f'{where}: output {result} is no segmentation: it must be logits [N, C, H, W] or '
        '[N, H, W, C] as float32, or labels [N, 1, H, W], [N, H, W, 1] or [N, H, W] as integers'
    )


def _score_layout(
    shape: Tuple[Optional[int], ...], size: Tuple[Optional[int], Optional[int]]
) -> str:
    """Layout of scores: the one whose sides have the input's aspect."""
    if _same_aspect(shape[1:3], size) and not _same_aspect(shape[2:4], size):
        return 'NHWC'
    return 'NCHW'


def _same_aspect(
    sides: Tuple[Optional[int], ...], size: Tuple[Optional[int], Optional[int]]
) -> bool:
    """Whether (height, width) is the input's, divided by one whole number; open sides fit."""
    pairs = list(zip(sides, size))
    if any((part is None) != (whole is None) for part, whole in pairs):
        return False
    ratios = {divmod(whole, part) for part, whole in pairs if part and whole}
    return len(ratios) <= 1 and all(rest == 0 for _, rest in ratios)
