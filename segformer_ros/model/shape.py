# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Shape: which input and output of a graph are image and segmentation, and their layouts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import FrozenSet, List, Optional, Sequence, Tuple

from segformer_ros.model.signature import Head, Signature, TensorSignature
from segformer_ros.model.spec import Declared, ModelError

JOINED = 'drivable_lane'
"""Output of a network whose two heads were joined; also the name of its class map."""

_DRIVABLE = frozenset(('da', 'drivable', 'driveable', 'drive'))
_LANE = frozenset(('ll', 'lane', 'lanes', 'line', 'lines'))
_AUXILIARY = frozenset(('aux', 'auxiliary'))
"""Words in the names of such outputs, see `_words`."""

Size = Tuple[Optional[int], Optional[int]]


@dataclass(frozen=True)
class Shape:
    """What a signature says about a segmentation network, whatever its contract.

    size and batch hold None where the graph is dynamic; class_count is None where it is not known.
    stride: input pixels for each cell of the output, 0 where that is not a whole number, None
    where the graph is dynamic. heads: outputs for drivable area and lane lines, which are joined
    to `output`; empty for a network of one head. notes: assumptions that were made, in words.
    """

    input: TensorSignature
    output: TensorSignature
    input_layout: str
    output_layout: str
    output_kind: str
    batch: Optional[int]
    size: Size
    class_count: Optional[int]
    stride: Optional[int]
    heads: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()


def cell_stride(size: Sequence[int], cells: Sequence[int]) -> int:
    """Input pixels for each cell of an output, the same along both sides; 0 if not a whole number.

    size, cells: (height, width) of input and output.
    """
    (down, rest), (across, other) = (divmod(side, part) for side, part in zip(size, cells))
    return down if down == across and not rest and not other else 0


def read_shape(signature: Signature, declared: Declared = Declared()) -> Shape:
    """The network's shape by its signature; raises ModelError where it is not a segmenter's.

    declared: decides what the graph leaves open.
    """
    where = signature.path
    if len(signature.inputs) != 1:
        raise ModelError(
            f'{where} has {len(signature.inputs)} inputs '
            f'({"; ".join(map(str, signature.inputs))}); a segmenter of images has one: '
            'export it with the image as its only input'
        )
    source = signature.inputs[0]
    if source.dtype not in ('uint8', 'float32', 'float16'):
        raise ModelError(
            f'{where}: input {source} must be uint8, float32 or float16; export the model with '
            'float32 input (the engine takes care of half precision)'
        )
    layout = _input_layout(signature, declared)
    size = (source.shape[layout.index('H')], source.shape[layout.index('W')])
    results, notes = _outputs(signature, size, declared)
    shapes = [_of_output(signature, one, layout, size, declared) for one in results]
    shape = shapes[0] if len(shapes) == 1 else _joined(signature, shapes)
    count = shape.class_count
    if count is not None and count < 2:
        raise ModelError(
            f'{where}: output {shape.output} has {count} class; it needs at least 2, or '
            'output_kind: labels in a sidecar yaml where it holds labels'
        )
    return replace(shape, notes=tuple(notes))


def _input_layout(signature: Signature, declared: Declared) -> str:
    source, where = signature.inputs[0], signature.path
    channel = {'NCHW': 1, 'NHWC': 3}
    if len(source.shape) == 4:
        layouts = [key for key, axis in channel.items() if source.shape[axis] == 3]
        if len(layouts) == 1:
            return layouts[0]
        layouts = [key for key, axis in channel.items() if source.shape[axis] in (None, 3)]
        by_graph = [key for key in layouts if channel[key] == signature.input_channel]
        by_declaration = [key for key in layouts if key == declared.input_layout]
        if by_graph or by_declaration:
            return (by_graph or by_declaration)[0]
        if len(layouts) == 2:
            raise ModelError(
                f'{where}: input {source} does not tell which axis its colours are on; say '
                f'`input_layout: NCHW` or `NHWC` in a sidecar {where.name}.yaml'
            )
        if layouts:
            return layouts[0]
    raise ModelError(
        f'{where}: input {source} is not a batch of 3-channel images; export it with '
        '[N, 3, H, W] or [N, H, W, 3]'
    )


def _outputs(
    signature: Signature, size: Size, declared: Declared
) -> Tuple[List[TensorSignature], List[str]]:
    """The output that holds the segmentation, or the two heads that do, and notes."""
    where = signature.path
    outputs = {entry.name: entry for entry in signature.outputs}
    if declared.output_name is not None:
        names = [name.strip() for name in declared.output_name.split(';') if name.strip()]
        unknown = [name for name in names if name not in outputs]
        if unknown or not 1 <= len(names) <= 2:
            raise ModelError(
                f'{where} has no output {declared.output_name!r}; it has {", ".join(outputs)} '
                '(one, or those of drivable area and lane lines as DRIVABLE;LANES)'
            )
        return [outputs[name] for name in names], []
    if len(outputs) == 1:
        return list(outputs.values()), []
    masks = [entry for entry in outputs.values() if _is_mask(signature, entry, size)]
    heads = [
        [entry for entry in masks if words & _words(entry.name) and not other & _words(entry.name)]
        for words, other in ((_DRIVABLE, _LANE), (_LANE, _DRIVABLE))
    ]
    main = [entry for entry in masks if not _AUXILIARY & _words(entry.name)]
    named = [entry for entry in main if entry.name == 'logits']
    if all(len(entries) == 1 for entries in heads):
        chosen = [entries[0] for entries in heads]
    elif len(main) == 1 or named:
        chosen = (named or main)[:1]
    else:
        listed = '; '.join(map(str, signature.outputs))
        raise ModelError(
            f'{where} has {len(outputs)} outputs ({listed}), '
            + ('none of which is a segmentation' if not masks else 'of which several may be one')
            + '; say which holds the segmentation by output_name in a sidecar yaml (two of a '
            'drivable area and lane lines as DRIVABLE;LANES)'
        )
    unread = ', '.join(name for name, entry in outputs.items() if entry not in chosen)
    read = ' and '.join(entry.name for entry in chosen)
    return chosen, [f'{read} was taken for the segmentation; not read: {unread}'] if unread else []


def _words(name: str) -> FrozenSet[str]:
    """Lower-case words of an output's name: drive, area, seg of 'drive_area_seg'."""
    spaced = re.sub('([a-z])([A-Z])', r'\1 \2', name)
    return frozenset(re.split('[^a-z]+', spaced.lower()))


def _is_mask(signature: Signature, result: TensorSignature, size: Size) -> bool:
    """Whether an output can be a segmentation: of two or more classes, and not one of queries."""
    if 'queries' in _words(result.name):  # MaskFormer and the like
        return False
    try:
        shape = _of_output(signature, result, '', size, Declared())
    except ModelError:
        return False
    return shape.class_count is None or shape.class_count > 1


def _of_output(
    signature: Signature, result: TensorSignature, layout: str, size: Size, declared: Declared
) -> Shape:
    """The network's shape by one of its outputs; raises ModelError where that is not a mask."""
    source = signature.inputs[0]
    head = signature.heads.get(result.name, Head())
    whole = result.dtype.startswith(('int', 'uint', 'bool'))
    kind = declared.output_kind or head.kind or ('labels' if whole else 'logits')
    axes = _output_layout(result, head, kind, size, declared)
    if axes is None or result.dtype == 'unknown' or (whole and kind != 'labels'):
        raise ModelError(
            f'{signature.path}: output {result} is not a segmentation: it must be logits '
            '[N, C, H, W] or [N, H, W, C] as float32 or float16, or labels [N, 1, H, W], '
            '[N, H, W, 1] or [N, H, W] as integers; where it leaves its sides open, say '
            'output_kind and output_layout in a sidecar yaml'
        )
    count = None if kind == 'labels' else result.shape[axes.index('C')]
    sides = [result.shape[axes.index(axis)] for axis in 'HW']
    known = [side for side in (*size, *sides) if side is not None]
    return Shape(
        input=source,
        output=result,
        input_layout=layout,
        output_layout=axes,
        output_kind=kind,
        batch=source.shape[0],
        size=size,
        class_count=count or head.class_count,
        stride=cell_stride(known[:2], known[2:]) if len(known) == 4 else None,
    )


def _output_layout(
    result: TensorSignature, head: Head, kind: str, size: Size, declared: Declared
) -> Optional[str]:
    """Layout of an output; None where it is not a segmentation's."""
    shape = result.shape
    if kind == 'labels' and len(shape) == 3:
        return 'NHW'
    if len(shape) != 4 or (kind != 'labels' and result.dtype not in ('float32', 'float16')):
        return None
    by_axis = {1: 'NCHW', 3: 'NHWC'}
    fitting = [
        layout for axis, layout in by_axis.items() if kind != 'labels' or shape[axis] in (None, 1)
    ]
    by_graph = by_axis.get(head.channel or 0)
    if by_graph in fitting:
        return by_graph
    if kind == 'labels':
        by_shape = [layout for axis, layout in by_axis.items() if shape[axis] == 1]
        by_declaration = [layout for layout in fitting if layout == declared.output_layout]
        return next(iter(by_shape or by_declaration), None)
    if None in shape[1:] and declared.output_layout in fitting:
        return declared.output_layout
    if _same_aspect(shape[1:3], size) and not _same_aspect(shape[2:4], size):
        return 'NHWC'
    return 'NCHW'


def _same_aspect(sides: Tuple[Optional[int], ...], size: Size) -> bool:
    """Whether (height, width) is the input's divided by one whole number; dynamic sides match."""
    pairs = list(zip(sides, size))
    if any((part is None) != (whole is None) for part, whole in pairs):
        return False
    ratios = {divmod(whole, part) for part, whole in pairs if part and whole}
    return len(ratios) <= 1 and all(rest == 0 for _, rest in ratios)


def _joined(signature: Signature, shapes: Sequence[Shape]) -> Shape:
    """The shape of two heads joined; raises ModelError unless both have two classes."""
    one, other = shapes
    if (
        any(entry.class_count != 2 or entry.output_kind == 'labels' for entry in shapes)
        or one.output_layout != other.output_layout
        or one.output.shape != other.output.shape
    ):
        raise ModelError(
            f'{signature.path}: outputs {one.output} and {other.output} are not heads of a '
            'drivable area and of lane lines: each must give scores of 2 classes, at one size'
        )
    axis = one.output_layout.index('C')
    sides = tuple(3 if place == axis else side for place, side in enumerate(one.output.shape))
    return replace(
        one,
        output=TensorSignature(JOINED, one.output.dtype, sides),
        output_kind='logits',
        class_count=3,
        heads=(one.output.name, other.output.name),
    )
