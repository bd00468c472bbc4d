# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The network as TensorRT takes it: float pixels in, their preprocessing left to the kernels.

Not every version of TensorRT's parser accepts a uint8 NHWC input, and the kernels normalise anyway
while they resize. So the nodes that turn pixels into the first layer's input (the graph's head)
are measured, described in the ModelSpec and cut off.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Optional, Set

import numpy as np

from segformer_ros.destination import write_file
from segformer_ros.model import ModelError, ModelSpec
from segformer_ros.model.model_files import read_whole_onnx
from segformer_ros.model.recognition import CONTRACT
from segformer_ros.model.sidecar import write_sidecar
from segformer_ros.model.signature import read_heads

HEAD_OPERATORS = frozenset(
    ('Add', 'Cast', 'Div', 'Gather', 'Identity', 'Mul', 'Slice', 'Squeeze', 'Sub', 'Transpose',
     'Unsqueeze')
)  # fmt: skip
"""Operators that may come between an image input and the first layer."""

INPUT = 'image'
_PROBE_SIDE = 4


class Network(NamedTuple):
    """A serialised ONNX for TensorRT, and the spec of its input and output."""

    model: bytes
    spec: ModelSpec


def tensorrt_network(spec: ModelSpec) -> Network:
    """Derive from a model's file the network that TensorRT builds; raises ModelError.

    Input: (N, 3, h, w) or (N, h, w, 3) of the spec's size, N as in the file; float32, or float16
    where the file's is.
    """
    model = read_network(spec)
    # An output that nothing reads costs memory and time, and may have an unsupported type.
    keep_output(model.graph, spec.output_name)
    if spec.output_kind == 'labels':
        _as_int32(model.graph)
    if spec.input_dtype == 'uint8':
        spec = _without_head(model, spec)
    _fix_size(model, spec)
    return Network(model.SerializeToString(), spec)


def read_network(spec: ModelSpec, path: Optional[Path] = None) -> Any:
    """The whole ModelProto of a model, its two output heads joined where the spec says so.

    path: of a file made from the model, such as its INT8 version. Raises ModelError.
    """
    model = read_whole_onnx(path or spec.path)
    names = {value.name for value in model.graph.output}
    if spec.heads and spec.output_name not in names:
        _join_heads(model, spec)
    return model


def _join_heads(model: Any, spec: ModelSpec) -> None:
    """Add the output `spec.output_name`: scores of background, drivable area and lane line.

    Each head has two classes; let a and b be the margins of drivable area and lane line over the
    other class. The scores are 0, a and b + max(a, 0), whose argmax is the lane line where b > 0,
    else the drivable area where a > 0, as the networks' own code paints one over the other.
    """
    from onnx import helper, numpy_helper

    graph, axis = model.graph, spec.output_layout.index('C')
    (drivable, lane) = spec.heads
    signature = read_heads(model)
    values = {value.name: value for value in graph.output}
    kind = helper.tensor_dtype_to_np_dtype(values[drivable].type.tensor_type.elem_type)

    def name(step: str) -> str:
        return f'{spec.output_name}/{step}'

    def constant(step: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name(step)))
        return name(step)

    first, second = constant('first', [0]), constant('second', [1])
    least = constant('least', np.array(np.finfo(kind).tiny, kind))
    nodes = []
    for head in (drivable, lane):
        scores = head
        if signature[head].kind == 'probabilities':
            nodes += [
                helper.make_node('Max', [head, least], [name(f'{head}/above')]),
                helper.make_node('Log', [name(f'{head}/above')], [name(f'{head}/logit')]),
            ]
            scores = name(f'{head}/logit')
        nodes += [
            helper.make_node('Gather', [scores, first], [name(f'{head}/0')], axis=axis),
            helper.make_node('Gather', [scores, second], [name(f'{head}/1')], axis=axis),
            helper.make_node(
                'Sub', [name(f'{head}/1'), name(f'{head}/0')], [name(f'{head}/lead')]
            ),
        ]
    ahead, line = name(f'{drivable}/lead'), name(f'{lane}/lead')
    nodes += [
        helper.make_node('Relu', [ahead], [name('positive')]),
        helper.make_node('Add', [line, name('positive')], [name('line')]),
        helper.make_node('Sub', [ahead, ahead], [name('background')]),
        helper.make_node(
            'Concat', [name('background'), ahead, name('line')], [spec.output_name], axis=axis
        ),
    ]
    graph.node.extend(nodes)
    joined = graph.output.add()
    joined.CopyFrom(values[drivable])
    joined.name = spec.output_name
    joined.type.tensor_type.shape.dim[axis].dim_value = 3


def _as_int32(graph: Any) -> None:
    """Make the labels' output INT32 unless it is INT64: every TensorRT supports these."""
    from onnx import TensorProto, helper

    (result,) = graph.output
    kind = result.type.tensor_type
    if kind.elem_type in (TensorProto.INT32, TensorProto.INT64):
        return
    (last,) = (node for node in graph.node if result.name in node.output)
    if last.op_type == 'Cast':
        del last.attribute[:]
        last.attribute.append(helper.make_attribute('to', TensorProto.INT32))
    else:
        last.output[list(last.output).index(result.name)] = f'{result.name}/uncast'
        graph.node.append(
            helper.make_node(
                'Cast', [f'{result.name}/uncast'], [result.name], to=TensorProto.INT32
            )
        )
    kind.elem_type = TensorProto.INT32


def _without_head(model: Any, spec: ModelSpec) -> ModelSpec:
    """Cut off the head's nodes; returns the spec of the rest."""
    head = _head_nodes(model.graph, spec.input_name)
    if not head:
        raise ModelError(
            f'{spec.path}: its uint8 input {spec.input_name!r} is used by a layer directly; '
            'TensorRT needs a float input, export the model with one'
        )
    boundary = head[-1].output[0]
    result = _measure_head(model, head, spec)
    for node in head:
        model.graph.node.remove(node)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == boundary:
                node.input[place] = INPUT
    drop_unused(model.graph)
    _forget_contract(model)
    return result


def _forget_contract(model: Any) -> None:
    """Remove the metadata that says the graph takes uint8 pixels: it no longer does."""
    kept = [entry for entry in model.metadata_props if entry.key != CONTRACT]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


def _head_nodes(graph: Any, name: str) -> List[Any]:
    """Chain of preprocessing nodes from an input on, as long as each is the only user."""
    constants: Set[str] = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == 'Constant'}
    head: List[Any] = []
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or users[0].op_type not in HEAD_OPERATORS:
            return head
        if any(other != name and other not in constants for other in users[0].input):
            return head
        head.append(users[0])
        name = users[0].output[0]


def _measure_head(model: Any, head: List[Any], spec: ModelSpec) -> ModelSpec:
    """The spec without the head, measured by its outputs for a black image and one of each colour.

    It must scale and shift each colour on its own: output c = (pixel k(c) - mean) / std.
    """
    try:
        return _measured(_head_function(model, head, spec), spec)
    except ModelError:
        raise
    except Exception as error:  # onnx's evaluator raises errors of any type
        raise _unknown_head(spec) from error


def _measured(run: Callable[[np.ndarray], np.ndarray], spec: ModelSpec) -> ModelSpec:
    """The spec behind a head, which is given as a function."""
    image = np.zeros((1, _PROBE_SIDE, _PROBE_SIDE, 3), np.uint8)
    layout = {1: 'NCHW', 3: 'NHWC'}.get(_color_axis(run(image)))
    if layout is None:
        raise _unknown_head(spec)

    def prepared(pixels: np.ndarray) -> np.ndarray:
        output = run(pixels)
        return output if layout == 'NHWC' else output.transpose(0, 2, 3, 1)

    # output = gain @ pixel + offset. Each row of the gain must have a single entry other than 0.
    offset = prepared(image)[0, 0, 0].astype(np.float64)  # (3,)
    gain = np.zeros((3, 3))  # (output channel, input colour)
    for color in range(3):
        image[:] = 0
        image[..., color] = 255
        gain[:, color] = (prepared(image)[0, 0, 0] - offset) / 255
    source = np.abs(gain).argmax(axis=1)  # (3,) input colour of each output channel
    order = ''.join(spec.color[index] for index in source)
    scale = gain[np.arange(3), source]  # (3,)
    random = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    if order not in ('rgb', 'bgr') or np.any(scale == 0):
        raise _unknown_head(spec)
    if not np.allclose(prepared(random), random[..., source] * scale + offset, atol=1e-3):
        raise _unknown_head(spec)
    return replace(
        spec,
        input_name=INPUT,
        input_layout=layout,
        input_dtype='float32',
        color=order,
        mean=tuple((-offset / scale).tolist()),
        std=tuple((1.0 / scale).tolist()),
    )


def _head_function(
    model: Any, head: List[Any], spec: ModelSpec
) -> Callable[[np.ndarray], np.ndarray]:
    """The head as a function of (1, h, w, 3) uint8 pixels in the spec's colour order."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    used = {name for node in head for name in node.input}
    constants = [
        node for node in model.graph.node if node.op_type == 'Constant' and node.output[0] in used
    ]
    graph = helper.make_graph(
        constants + head,
        'head',
        [helper.make_tensor_value_info(spec.input_name, TensorProto.UINT8, None)],
        [helper.make_tensor_value_info(head[-1].output[0], TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    evaluator = ReferenceEvaluator(
        helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=8)
    )

    def run(pixels: np.ndarray) -> np.ndarray:
        if spec.input_layout == 'NCHW':
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        return np.asarray(evaluator.run(None, {spec.input_name: pixels})[0])

    return run


def _color_axis(output: np.ndarray) -> int:
    """Axis of the three colours of a (1, 3, h, w) or (1, h, w, 3) array; -1 for another shape."""
    return output.shape.index(3) if output.ndim == 4 and output.shape.count(3) == 1 else -1


def _unknown_head(spec: ModelSpec) -> ModelError:
    return ModelError(
        f'{spec.path}: what its graph does to the uint8 pixels is not a scale and a shift of each '
        'colour; export it with a float input and give mean and std in a sidecar file'
    )


def _fix_size(model: Any, spec: ModelSpec) -> None:
    """Declare the one input at the spec's size, its batch unchanged, and outputs of any shape."""
    from onnx import TensorProto, helper

    graph = model.graph
    sides = {'N': 'N' if spec.batch is None else spec.batch, 'C': 3}
    sides['H'], sides['W'] = spec.size
    kind = TensorProto.FLOAT16 if spec.input_dtype == 'float16' else TensorProto.FLOAT
    value = helper.make_tensor_value_info(
        spec.input_name, kind, [sides[axis] for axis in spec.input_layout]
    )
    del graph.input[:]
    graph.input.append(value)
    # Shapes recorded for the former input may contradict the new one; parsers infer their own.
    del graph.value_info[:]
    for output in graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            dimension.Clear()


def save_network(network: Network, path: Path) -> Path:
    """Write the ONNX, and a sidecar with what its file cannot say; returns the sidecar's path."""
    write_file(path, network.model)
    return write_sidecar(network.spec, path)


def keep_output(graph: Any, name: str) -> None:
    """Reduce an ONNX graph to this output, and the nodes and constants that it depends on.

    A graph without an output of this name is left unchanged.
    """
    kept = [value for value in graph.output if value.name == name]
    if not kept:
        return
    del graph.output[:]
    graph.output.extend(kept)
    drop_unused(graph)


def drop_unused(graph: Any) -> None:
    """Remove the nodes and constants that no output of an ONNX graph depends on."""
    needed = {value.name for value in graph.output}
    nodes: List[Any] = []
    for node in reversed(graph.node):  # sorted topologically
        if needed.intersection(node.output):
            nodes.append(node)
            needed |= _read_by(node)
    del graph.node[:]
    graph.node.extend(reversed(nodes))
    for tensor in [one for one in graph.initializer if one.name not in needed]:
        graph.initializer.remove(tensor)


def _read_by(node: Any) -> Set[str]:
    """Tensors that a node reads, including those that its subgraphs take from outside."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in [*attribute.graphs, attribute.g]:
            names |= {value.name for value in inner.output}
            for part in inner.node:
                names |= _read_by(part)
    return names
