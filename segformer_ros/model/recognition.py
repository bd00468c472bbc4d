# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Recognition: which kind of export a model file is, and so what its input and output are.

A contract is one kind of export. Each is recognised by the names and shapes of a graph's input and
output; where these fit several contracts, the user has to say which it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from segformer_ros.classes import (
    ClassMap,
    SegClass,
    class_map_of_names,
    load_class_map,
    spread_color,
)
from segformer_ros.documents import FieldError
from segformer_ros.model.shape import JOINED, Shape, read_shape
from segformer_ros.model.signature import Signature
from segformer_ros.model.spec import (
    HALF_MEAN,
    HALF_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MOST_FRAMES,
    STRIDE,
    Declared,
    ModelError,
    ModelSpec,
    check_size,
    combine,
    input_size,
)

OWN = 'uint8_bgr_nhwc'
"""This project's own contract: uint8 BGR pixels in, logits at a quarter of the size out."""

METADATA = 'segformer_ros.'
"""Prefix of the ONNX metadata in which this project's models describe themselves."""

CONTRACT = f'{METADATA}contract'
"""Metadata key whose value is the contract's name."""

INPUT_SIZE = f'{METADATA}input_size'
"""Metadata key of the network's input size, HEIGHTxWIDTH, for graphs that take any."""

DEFAULT_SIZE = (512, 512)
"""(height, width) for a graph of any size where nothing declares one."""


class UnknownContractError(ModelError):
    """A file whose contract is ambiguous or unknown. contracts: names of the possible ones."""

    def __init__(self, message: str, contracts: Tuple[str, ...]) -> None:
        super().__init__(message)
        self.contracts = contracts


@dataclass(frozen=True)
class Contract:
    """One kind of export: how its file is recognised, and what the file does not say.

    output_kinds: those with which it is recognised. weights: prefix of its weights' names, if that
    identifies it whatever its input is called; '' for none. alone: whether the names of its input
    and output identify it; other exports use the same ones where not. default_size:
    (height, width) where the graph is dynamic.
    """

    name: str
    title: str
    input_name: str
    output_kinds: Tuple[str, ...]
    color: str
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    default_size: Tuple[int, int]
    weights: str = ''
    alone: bool = True

    def fits(self, signature: Signature, shape: Shape) -> bool:
        """Whether a file has the names of this contract."""
        if shape.output_kind not in self.output_kinds or shape.heads:
            return False
        return self.has_weights(signature) or shape.input.name == self.input_name

    def has_weights(self, signature: Signature) -> bool:
        """Whether the weights' names identify this contract."""
        return bool(self.weights) and any(
            name.startswith(self.weights) for name in signature.weights
        )

    def tells(self, signature: Signature, shape: Shape) -> bool:
        """Whether a file that `fits` can be of no other contract."""
        if self.has_weights(signature) or shape.output_kind == 'labels':
            return True
        return self.alone and shape.stride in (None, STRIDE)

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
        alone=False,
    ),
    Contract(
        name='huggingface',
        title='Hugging Face',
        input_name='pixel_values',
        output_kinds=('logits', 'probabilities'),
        color='rgb',
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        default_size=DEFAULT_SIZE,
        weights='segformer.encoder.',
    ),
)


def recognise(
    signature: Signature, declared: Declared = Declared(), class_map: Optional[ClassMap] = None
) -> ModelSpec:
    """ModelSpec of a signature, and of what is declared in addition.

    Raises ModelError; UnknownContractError where the contract is ambiguous.
    """
    if signature.metadata.get(CONTRACT) == OWN:
        declared = combine([_own_declaration(signature), declared])
    shape = read_shape(signature, declared)
    _check_layout(signature, shape, declared)
    contract = _contract(signature, shape, declared)
    notes = [*declared.notes, *shape.notes]
    if not (declared.mean or declared.contract or contract.has_weights(signature)):
        notes.append(
            f'the names of its input and output are those of {contract.title}: {contract.color} '
            f'and the statistics {_numbers(contract.mean)} / {_numbers(contract.std)} were taken'
        )
    size = _size(signature, shape, declared, contract.default_size, notes)
    if shape.batch is not None and shape.batch > MOST_FRAMES:
        raise ModelError(
            f'{signature.path} takes {shape.batch} frames at once; export it with a dynamic '
            f'batch, or one of {MOST_FRAMES} at most'
        )
    color = declared.color or contract.color
    order = 1 if color == contract.color else -1
    return ModelSpec(
        path=signature.path,
        contract=contract.name,
        class_map=_class_map(signature, shape, declared, class_map, notes),
        size=size,
        batch=shape.batch,
        input_name=shape.input.name,
        input_layout=shape.input_layout,
        input_dtype=shape.input.dtype,
        color=color,
        mean=declared.mean or contract.mean[::order],
        std=declared.std or contract.std[::order],
        output_name=shape.output.name,
        output_kind=shape.output_kind,
        output_layout=shape.output_layout,
        heads=shape.heads,
        stride=STRIDE if shape.stride is None else shape.stride,
        fit=declared.fit or 'stretch',
        threshold=declared.threshold or 0.0,
        dynamic_size=None in shape.size,
        engine_file=declared.engine_file,
        precision=declared.precision,
        max_batch=declared.max_batch,
        notes=tuple(notes),
    )


def _numbers(values: Sequence[float]) -> str:
    return f'({", ".join(f"{value:g}" for value in values)})'


def _own_declaration(signature: Signature) -> Declared:
    """What the metadata of this project's models declare; the graph normalises by itself."""
    metadata = signature.metadata
    size = metadata.get(INPUT_SIZE, '')
    height, _, width = size.partition('x')
    sides: Optional[Tuple[int, int]] = None
    if size:
        try:
            sides = input_size((height, width))
        except FieldError as error:
            raise ModelError(
                f'{signature.path}: metadata input_size {size!r} is not HEIGHTxWIDTH in pixels'
            ) from error
    return Declared(
        origin='its own metadata',
        contract=OWN,
        color='bgr',
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        fit=metadata.get(f'{METADATA}fit'),
        size=sides,
        classes=metadata.get(f'{METADATA}classes'),
    )


def _check_layout(signature: Signature, shape: Shape, declared: Declared) -> None:
    if declared.input_layout not in (None, shape.input_layout):
        raise ModelError(
            f'{signature.path}: input {shape.input} is {shape.input_layout}, but '
            f'{declared.origin} says {declared.input_layout}; correct input_layout'
        )
    wanted = declared.output_layout
    if wanted and shape.output_kind != 'labels' and wanted != shape.output_layout:
        raise ModelError(
            f'{signature.path}: output {shape.output} is {shape.output_layout}, but '
            f'{declared.origin} says {wanted}; correct segmentation-output-order'
        )


def _contract(signature: Signature, shape: Shape, declared: Declared) -> Contract:
    """The one contract of a network; raises ModelError where there is not exactly one."""
    known = {entry.name: entry for entry in CONTRACTS}
    if declared.contract in known:
        contract = known[declared.contract]
        if not contract.allows(shape):
            raise ModelError(
                f'{signature.path}: output {shape.output} holds {shape.output_kind}, as no model '
                f'of contract {contract.name} does ({contract.title}); correct {declared.origin}, '
                'or say color, mean and std instead'
            )
        return contract
    normalised = declared.color and declared.mean and declared.std
    fitting = [entry for entry in CONTRACTS if entry.fits(signature, shape)]
    certain = [entry for entry in fitting if normalised or entry.tells(signature, shape)]
    if len(certain) == 1 and not declared.contract:
        return certain[0]
    if declared.color and declared.mean and declared.std:
        return Contract(
            name=declared.contract or 'declared',
            title='as declared',
            input_name=shape.input.name,
            output_kinds=(shape.output_kind,),
            color=declared.color,
            mean=declared.mean,
            std=declared.std,
            default_size=DEFAULT_SIZE,
        )
    if declared.contract:
        raise ModelError(
            f'no contract {declared.contract!r}; use one of {", ".join(known)}, or say color, '
            'mean and std'
        )
    possible = tuple(entry.name for entry in CONTRACTS if entry.allows(shape))
    raise UnknownContractError(
        f'{signature.path}: input {shape.input} and output {shape.output} do not tell which '
        'colours and statistics the network was trained with'
        + (f' ({fitting[0].title} and others name them so)' if fitting else '')
        + f'; say it in a sidecar {signature.path.name}.yaml: `contract: {"|".join(possible)}`, '
        'or color, mean and std; which contract fits real frames is told by segformer inspect '
        f'{signature.path.name} --image FRAME.jpg --image ...',
        possible,
    )


def _size(
    signature: Signature,
    shape: Shape,
    declared: Declared,
    default: Tuple[int, int],
    notes: List[str],
) -> Tuple[int, int]:
    usual = declared.usual_size
    if declared.size is None and None in shape.size and usual is None:
        notes.append(
            f'the graph takes any size; {default[1]}x{default[0]} (width x height) was taken'
        )
    wanted = declared.size or usual or default
    size = tuple(side if fixed is None else fixed for side, fixed in zip(wanted, shape.size))
    if declared.size and size != declared.size:
        raise ModelError(
            f'{signature.path} takes {size[1]}x{size[0]} pixels, but {declared.origin} says '
            f'{wanted[1]}x{wanted[0]} (width x height); are the sides swapped?'
        )
    try:
        height, width = input_size(size)
    except FieldError as error:
        raise ModelError(
            f'{signature.path}: the size {size} of its input {error.words}'
        ) from error
    if None in shape.size and wanted != usual:
        check_size((height, width))
    return height, width


def _class_map(
    signature: Signature,
    shape: Shape,
    declared: Declared,
    given: Optional[ClassMap],
    notes: List[str],
) -> ClassMap:
    """The class map: the caller's, the declared one, or one for the number of classes."""
    count = shape.class_count or declared.class_count
    if declared.class_count not in (None, count):
        raise ModelError(
            f'{signature.path} has {count} classes, but {declared.origin} says '
            f'{declared.class_count}; correct num-detected-classes'
        )
    class_map = given or (load_class_map(declared.classes) if declared.classes else None)
    if class_map is None and declared.class_names:
        class_map = class_map_of_names(declared.class_names, signature.path.stem)
    if class_map is None and shape.heads:
        class_map = load_class_map(JOINED)
    if class_map is None:
        if count is None:
            notes.append('the file does not say how many classes it has; Cityscapes was taken')
        if count in (None, 19):
            return load_class_map('cityscapes')
        notes.append(f'no names are known for its {count} classes; give a class map')
        return _numbered(count or 0)
    if count is not None and len(class_map) != count:
        raise ModelError(
            f'{signature.path} has {count} classes, but class map {class_map.name!r} has '
            f'{len(class_map)}; give the labels file that belongs to the model'
        )
    return class_map


def _numbered(count: int) -> ClassMap:
    entries: Sequence[SegClass] = [
        SegClass(index, f'class {index}', spread_color(index, count)) for index in range(count)
    ]
    return ClassMap(f'{count} classes', tuple(entries))
