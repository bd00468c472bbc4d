# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Structure: checks of an ONNX before anything walks its graph or reads its weights.

Given a cyclic graph, a tensor that claims more values than it holds, or external data in somebody
else's file, libraries hang, crash or read it. Here these are refused, for all engines alike.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

from segformer_ros.documents import LONGEST_PATH, FieldError, open_file, text, whole
from segformer_ros.model.spec import ModelError

MOST_NODES = 20_000
"""Most nodes of a graph, its functions' inlined at each call. The bundled model has 783."""

NEWEST_OPSET = 1000
"""Above any version of any operator set; OpenVINO counts up to the one that a model names."""

MOST_SPARSE = 1 << 26
"""Most values of a sparse tensor, which engines make dense."""

_AGAIN = 'export or copy it again'

_BITS: Dict[int, int] = {
    **dict.fromkeys((1, 6, 12), 32), **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16), **dict.fromkeys((7, 11, 13, 14), 64), 15: 128,
    **dict.fromkeys((21, 22, 23), 4), **dict.fromkeys((25, 26), 2),
}  # fmt: skip
"""Bits of a value, by TensorProto.DataType."""
_STRING = 8
_FIELDS = ('float_data', 'int32_data', 'int64_data', 'double_data', 'uint64_data')

_location = text(LONGEST_PATH)
_bytes = whole(0, 1 << 50)


def check_structure(path: Path, model: Any) -> None:
    """Raises ModelError for a ModelProto with a cyclic graph, or with incomplete tensors."""
    for entry in model.opset_import:
        if entry.version > NEWEST_OPSET:
            raise ModelError(
                f'{path}: it asks for version {entry.version} of the operators '
                f'{entry.domain or "ai.onnx"!r}, which does not exist; {_AGAIN}'
            )
    _check_functions(path, model)
    opset = max((entry.version for entry in model.opset_import if not entry.domain), default=0)
    for nodes in _bodies(model):
        _check_ends(path, nodes, opset)
        _check_order(path, nodes)
    for tensor in tensors(model):
        _check_tensor(path, tensor)
    for sparse in _sparse_tensors(model):
        if math.prod(sparse.dims) > MOST_SPARSE:
            raise ModelError(f'{path}: a sparse tensor of it has the shape {list(sparse.dims)}')


def outside_files(path: Path, places: Mapping[str, str]) -> List[Path]:
    """Files of an ONNX's external data, by name; raises ModelError.

    They must be files below the model's own folder, or below that of the file that the model's
    symbolic link points to, as in Hugging Face's cache. places: see `outside_places`.
    """
    return sorted({_outside_file(path, where, name) for where, name in places.items()})


def outside_places(model: Any) -> Dict[str, str]:
    """Locations of a ModelProto's external data, each with the name of one tensor in it."""
    return {_place(tensor): tensor.name for tensor in tensors(model) if is_outside(tensor)}


def tensors(model: Any) -> Iterator[Any]:
    """All tensors of a ModelProto: weights, and constants among the attributes of its nodes."""
    for graph in _graphs(model):
        yield from graph.initializer
    for attribute in _attributes(model):
        if attribute.HasField('t'):
            yield attribute.t
        yield from attribute.tensors
    for sparse in _sparse_tensors(model):
        yield from (sparse.values, sparse.indices)


def _sparse_tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.sparse_initializer
    for attribute in _attributes(model):
        if attribute.HasField('sparse_tensor'):
            yield attribute.sparse_tensor
        yield from attribute.sparse_tensors


def _attributes(model: Any) -> Iterator[Any]:
    """Attributes of all nodes."""
    for nodes in _bodies(model):
        for node in nodes:
            yield from node.attribute


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, and the subgraphs of its nodes and functions."""
    yield model.graph
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from _inner_graphs(nodes)


def _inner_graphs(nodes: Iterable[Any]) -> Iterator[Any]:
    left = list(nodes)
    while left:
        for attribute in left.pop().attribute:
            for graph in (*([attribute.g] if attribute.HasField('g') else ()), *attribute.graphs):
                yield graph
                left += graph.node


def _bodies(model: Any) -> Iterator[Sequence[Any]]:
    """The nodes of each graph and function."""
    for graph in _graphs(model):
        yield graph.node
    for function in model.functions:
        yield function.node


def _check_ends(path: Path, nodes: Sequence[Any], opset: int) -> None:
    """Check that nodes have the inputs and outputs that their operators need, and terminate."""
    for node in nodes:
        if node.op_type == 'Loop':
            raise ModelError(
                f'{path}: its graph has a Loop ({node.name!r}), which may never end; export it by '
                'tracing, which unrolls loops'
            )
        least = _least_ends(node.op_type, opset)
        for count, needed, ends in zip((len(node.input), len(node.output)), least, ('in', 'out')):
            if count < needed:
                raise ModelError(
                    f'{path}: its node {node.name!r} ({node.op_type}) has {count} {ends}puts, '
                    f'where {needed} are needed; {_AGAIN}'
                )


@lru_cache(maxsize=None)
def _least_ends(operator: str, opset: int) -> Tuple[int, int]:
    """Least number of inputs and of outputs of an operator; (0, 1) for a non-standard one."""
    from onnx import defs

    try:
        schema = defs.get_schema(operator, opset) if opset else defs.get_schema(operator)
    except Exception:  # not of the standard, or not yet in this version
        return 0, 1
    return schema.min_input, schema.min_output


def _check_order(path: Path, nodes: Sequence[Any]) -> None:
    """Check that each value is made once, and that the nodes have no cycle."""
    makers: Dict[str, int] = {}
    for place, node in enumerate(nodes):
        for name in node.output:
            if name and makers.setdefault(name, place) != place:
                raise ModelError(f'{path}: two nodes of its graph make {name!r}; {_AGAIN}')
    waits = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    order = _in_order(waits)
    if len(order) < len(nodes):
        stuck = min(set(range(len(nodes))).difference(order))
        raise ModelError(
            f'{path}: its graph has a cycle at the node {nodes[stuck].name!r} '
            f'({nodes[stuck].op_type}); {_AGAIN}'
        )


def _reads(node: Any) -> Iterator[str]:
    """Names that a node reads, those in its subgraphs too."""
    yield from node.input
    for graph in _inner_graphs([node]):
        for inner in graph.node:
            yield from inner.input


def _in_order(waits: Sequence[Set[int]]) -> List[int]:
    """Indices in topological order, each after those that it waits for (Kahn, 1962).

    Those in a cycle, or after one, are left out.
    """
    followers: List[List[int]] = [[] for _ in waits]
    open_ends = [len(before) for before in waits]
    for place, before in enumerate(waits):
        for other in before:
            followers[other].append(place)
    order = [place for place, number in enumerate(open_ends) if not number]
    for place in order:  # which grows meanwhile
        for follower in followers[place]:
            open_ends[follower] -= 1
            if not open_ends[follower]:
                order.append(follower)
    return order


def _check_functions(path: Path, model: Any) -> None:
    """Check that no function calls itself, and that few enough nodes remain with all inlined."""
    functions = list(model.functions)
    places = {(entry.domain, entry.name): place for place, entry in enumerate(functions)}
    called = [_calls(entry.node, places) for entry in functions]
    order = _in_order([set(calls) for calls in called])
    if len(order) < len(functions):
        raise ModelError(f'{path}: a function of its graph calls itself; {_AGAIN}')
    sizes = [0] * len(functions)
    for place in order:
        sizes[place] = _inlined_size(functions[place].node, called[place], sizes)
    total = _inlined_size(model.graph.node, _calls(model.graph.node, places), sizes)
    if total > MOST_NODES:
        raise ModelError(f'{path}: its graph has {total} nodes; the limit is {MOST_NODES}')


def _calls(nodes: Sequence[Any], places: Mapping[Tuple[str, str], int]) -> List[int]:
    """Indices of the functions that nodes call, each once for every call."""
    every = [*nodes, *(node for graph in _inner_graphs(nodes) for node in graph.node)]
    keys = ((node.domain, node.op_type) for node in every)
    return [places[key] for key in keys if key in places]


def _inlined_size(nodes: Sequence[Any], calls: Sequence[int], sizes: Sequence[int]) -> int:
    inner = sum(len(graph.node) for graph in _inner_graphs(nodes))
    return len(nodes) + inner + sum(sizes[place] for place in calls)


def _check_tensor(path: Path, tensor: Any) -> None:
    """Check that a tensor has as many values as its shape says, in itself or in its file."""
    values = 1
    for side in tensor.dims:
        values *= side
        if side < 0 or values > 1 << 40:
            raise ModelError(
                f'{path}: its tensor {tensor.name!r} has the shape {list(tensor.dims)}; {_AGAIN}'
            )
    if is_outside(tensor) and tensor.data_type == _STRING:
        raise ModelError(f'{path}: its tensor {tensor.name!r} has external strings; {_AGAIN}')
    if tensor.data_type == _STRING or (not values and not tensor.data_type):
        return
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise ModelError(
            f'{path}: its tensor {tensor.name!r} is of the unknown type {tensor.data_type}; '
            f'{_AGAIN}'
        )
    size = -(-values * bits // 8)
    if is_outside(tensor):
        _check_outside(path, tensor, size)
        return
    raw = len(tensor.raw_data)
    listed = sum(len(getattr(tensor, field)) for field in _FIELDS)
    per_entry = max(1, 8 // bits) if bits < 8 else 1
    if raw != size if raw else listed < -(-values // per_entry):
        raise ModelError(
            f'{path}: its tensor {tensor.name!r} claims {values} values in {size} bytes and holds '
            f'{f"{raw} bytes" if raw else f"{listed} values"}; {_AGAIN}'
        )


def is_outside(tensor: Any) -> bool:
    """Whether a tensor keeps its values in another file."""
    return tensor.data_location == tensor.EXTERNAL or bool(tensor.external_data)


def _check_outside(path: Path, tensor: Any, size: int) -> None:
    """Check that a tensor's external data are complete."""
    file = _outside_file(path, _place(tensor), tensor.name)
    start, length = _extent(path, tensor, size)
    if length != size:
        raise ModelError(
            f'{path}: its tensor {tensor.name!r} needs {size} bytes and keeps {length} in '
            f'{file.name!r}; {_AGAIN}'
        )
    there = file.stat().st_size
    if there < start + length:
        raise ModelError(
            f'{path} keeps its weights in {file.name!r}, which is cut short: it has {there} bytes '
            f'and needs {start + length}; copy it again'
        )


def _extent(path: Path, tensor: Any, size: int) -> Tuple[int, int]:
    """Offset and length in bytes of a tensor in its external file."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        return _bytes(entries.get('offset') or 0), _bytes(entries.get('length') or size)
    except FieldError as error:
        raise ModelError(f'{path}: place of its tensor {tensor.name!r}: {error}') from error


def fill(path: Path, tensor: Any) -> None:
    """Load the external data of a checked tensor into it."""
    size = -(-math.prod(tensor.dims) * _BITS[tensor.data_type] // 8)
    start, length = _extent(path, tensor, size)
    with open_file(_outside_file(path, _place(tensor), tensor.name)) as file:
        file.seek(start)
        tensor.raw_data = file.read(length)
    del tensor.external_data[:]
    tensor.data_location = tensor.DEFAULT


def _place(tensor: Any) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == 'location'), '')


def _outside_file(path: Path, where: str, name: str) -> Path:
    try:
        location = PurePosixPath(_location(where))
    except FieldError as error:
        raise ModelError(f'{path}: file of its tensor {name!r}: {error}') from error
    file = path.parent / location
    folders = (path.parent.resolve(), path.resolve().parent)
    above = location.is_absolute() or '..' in location.parts
    if above or not any(folder in file.resolve().parents for folder in folders):
        raise ModelError(
            f'{path} keeps weights in {where!r}, outside its own folder, which is not allowed; '
            'export it with its weights beside it'
        )
    if not file.is_file():
        raise ModelError(
            f'{path} keeps its weights in {where!r}, which is not beside it; copy both files '
            'together'
        )
    return file
