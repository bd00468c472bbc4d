# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Layer normalisation: decomposed where the parser has no layer for it, and kept out of FP16.

TensorRT's parser knows LayerNormalization since 8.6, and sums it in FP32 by itself. A decomposed
one, which older exporters write too, squares its values: any of 256 or more overflows FP16.
"""

from __future__ import annotations

from typing import Any, Collection, Dict, Iterable, List, Sequence, Set, Tuple

import numpy as np

from segformer_ros.model.spec import ModelError

LAST_OPSET = 17
"""In later ones ReduceMean has its axes as an input, which these parsers silently ignore."""

ROUNDING = ('QuantizeLinear', 'DequantizeLinear')
"""Operators that round to INT8 and back."""

_FLOATS = {1: np.float32, 10: np.float16}  # by ONNX's number of the type


def write_out_layer_norms(model: bytes) -> bytes:
    """The same ONNX with each LayerNormalization decomposed into elementary operators.

    Raises ModelError for a graph that cannot be written for these parsers.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_from_string(model)
    except DecodeError:
        return model  # the parser says what is wrong with it
    operators = {node.op_type for node in proto.graph.node}
    if not operators & {'LayerNormalization', 'ReduceMean'}:
        return model
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ('', 'ai.onnx'))
    if opset > LAST_OPSET:
        raise ModelError(
            f'this TensorRT reads normalisations up to opset {LAST_OPSET} only, and the model has '
            f'opset {opset}; export it with an opset from 13 to {LAST_OPSET}'
        )
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants.update(
        (node.output[0], attribute.t)
        for node in proto.graph.node
        if node.op_type == 'Constant'
        for attribute in node.attribute
        if attribute.name == 'value'
    )
    nodes: List[Any] = []
    for node in proto.graph.node:
        normalises = node.op_type == 'LayerNormalization'
        nodes += _written_out(node, proto.graph, constants) if normalises else [node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return bytes(proto.SerializeToString())


def check_reductions(model: bytes) -> None:
    """Raises ModelError for a graph whose reductions have their axes as an input (opset 18 on).

    For a parser that reads axes only as an attribute: it would silently reduce over all axes.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        nodes = onnx.load_from_string(model).graph.node
    except DecodeError:
        return  # the parser says what is wrong with it
    for node in nodes:
        # ReduceSum has had its axes as an input since opset 13, which these parsers read.
        other = node.op_type.startswith('Reduce') and node.op_type != 'ReduceSum'
        if other and len(node.input) > 1 and node.input[1]:
            raise ModelError(
                f'this TensorRT ignores the axes of {node.op_type} ({node.name}) as of opset '
                f'{LAST_OPSET + 1}; export the model with an opset from 13 to {LAST_OPSET}'
            )


def single_outputs(model: bytes, more: Collection[str] = ()) -> Tuple[Set[str], Set[str]]:
    """Names of the outputs that an ONNX's FP32 nodes have beside FP16 or INT8.

    Those of its `squaring_nodes`, and more; but none of Q/DQ nodes. With them the outputs of all
    nodes that read INT8 by Q/DQ.
    """
    import onnx

    graph = onnx.load_from_string(model).graph
    squares = {name for node in squaring_nodes(graph) for name in node.output}
    rounding = {name for node in graph.node if node.op_type in ROUNDING for name in node.output}
    behind = [node for node in graph.node if not rounding.isdisjoint(node.input)]
    rounded = {name for node in behind for name in node.output}
    return squares.union(more) - rounding, rounded - rounding


def squaring_nodes(graph: Any) -> List[Any]:
    """The nodes of decomposed normalisations that stay FP32: from the square to the root."""
    makers = {name: node for node in graph.node for name in node.output}
    users: Dict[str, List[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found: List[Any] = []
    for mean in graph.node:
        square = makers.get(mean.input[0]) if mean.op_type == 'ReduceMean' else None
        if square is not None and _squares(square):
            found += [square, mean, *_until_root(mean, users)]
    return found


def _squares(node: Any) -> bool:
    return node.op_type == 'Pow' or (node.op_type == 'Mul' and node.input[0] == node.input[1])


def _until_root(mean: Any, users: Dict[str, List[Any]]) -> List[Any]:
    """The two nodes after a mean square, if they are an addition (of epsilon) and a root."""
    for addition in users.get(mean.output[0], []):
        for root in users.get(addition.output[0], []) if addition.op_type == 'Add' else []:
            if root.op_type == 'Sqrt':
                return [addition, root]
    return []


def _written_out(node: Any, graph: Any, constants: Dict[str, Any]) -> List[Any]:
    """Nodes of a decomposed LayerNormalization: (x - mean) / sqrt(var + epsilon) * scale + bias.

    Epsilon is added to the graph as an initializer.
    """
    from onnx import helper, numpy_helper

    source, scale, *bias = (name for name in node.input if name)
    result = node.output[0]
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    axes = _axes(node, attributes.get('axis', -1), constants)
    kind = _FLOATS[constants[scale].data_type if scale in constants else 1]

    def name(step: str) -> str:
        return f'{result}/{step}'

    epsilon = np.array(attributes.get('epsilon', 1e-5), kind)
    graph.initializer.append(numpy_helper.from_array(epsilon, name('epsilon')))
    scaled = name('scaled') if bias else result
    steps = [
        ('ReduceMean', [source], name('mean')),
        ('Sub', [source, name('mean')], name('centred')),
        ('Mul', [name('centred'), name('centred')], name('square')),
        ('ReduceMean', [name('square')], name('variance')),
        ('Add', [name('variance'), name('epsilon')], name('enlarged')),
        ('Sqrt', [name('enlarged')], name('deviation')),
        ('Div', [name('centred'), name('deviation')], name('normal')),
        ('Mul', [name('normal'), scale], scaled),
    ]
    if bias:
        steps.append(('Add', [scaled, bias[0]], result))
    return [
        helper.make_node(
            kind_of_step, inputs, [output], name=output,
            **({'axes': axes, 'keepdims': 1} if kind_of_step == 'ReduceMean' else {}),
        )
        for kind_of_step, inputs, output in steps
    ]  # fmt: skip


def _axes(node: Any, axis: int, constants: Dict[str, Any]) -> List[int]:
    """The axes that are normalised over, counted from the last; raises ModelError."""
    if len([name for name in node.output if name]) > 1:
        raise ModelError(
            f'the LayerNormalization {node.output[0]!r} outputs its mean or deviation too, which '
            'this TensorRT does not read; export the model without, or at opset 13 to 16'
        )
    if axis < 0:
        return list(range(axis, 0))
    if node.input[1] not in constants:
        raise ModelError(
            f'the axes of the LayerNormalization {node.output[0]!r} are not in the file; export '
            'the model at opset 13 to 16'
        )
    return list(range(-len(constants[node.input[1]].dims), 0))


QUANTIZED_OPSET = 19
"""From this opset on Q/DQ may have FP16 scales."""


def to_half(model: bytes, keep_io: bool = False, single: Collection[str] = ()) -> bytes:
    """The same ONNX computing in FP16, Q/DQ included, except `squaring_nodes`; raises ModelError.

    keep_io: leave input and output FP32, with a cast beside each. single: more tensors whose nodes
    stay FP32; so do INT8 layers that read the same INT8 as one of these.
    """
    try:
        import onnx
        from onnx import version_converter
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise ModelError(
            'this TensorRT takes the precision from the graph, and making it FP16 needs '
            f'ONNX Runtime ({error}): pip install onnxruntime'
        ) from error
    proto = onnx.load_from_string(model)
    quantized = any(node.op_type == 'QuantizeLinear' for node in proto.graph.node)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ('', 'ai.onnx'))
    if quantized and opset < QUANTIZED_OPSET:
        proto = version_converter.convert_version(proto, QUANTIZED_OPSET)
    squaring = {node.output[0] for node in squaring_nodes(proto.graph)}
    kept = squaring.union(single)
    kept |= _layers_beside(proto.graph, kept)
    exact = _named(node for node in proto.graph.node if not kept.isdisjoint(node.output))
    _give_own_steps(proto.graph, exact)
    _give_own_scales(proto.graph, exact)
    half = convert_float_to_float16(proto, keep_io_types=keep_io, node_block_list=exact)
    _join(half.graph, exact)
    OnnxModel(half).topological_sort()  # the converter leaves its casts at the end
    return bytes(half.SerializeToString())


def _named(nodes: Iterable[Any]) -> List[str]:
    """Give each node a unique name; returns the names."""
    names = []
    for node in nodes:
        node.name = f'{node.output[0]}/single'
        names.append(node.name)
    return names


def _layers_beside(graph: Any, single: Collection[str]) -> Set[str]:
    """Outputs of the INT8 layers that read the same as an FP32 one, and of their weights' Q/DQ.

    TensorRT makes one multiplication of them, and cannot if they differ in type.
    """
    makers = {name: node for node in graph.node for name in node.output}
    weights: Dict[str, Set[str]] = {}  # by output of their Q/DQ
    for node in graph.node:
        if node.op_type in ROUNDING and (node.input[0] in weights or node.input[0] not in makers):
            weights[node.output[0]] = {node.output[0], *weights.get(node.input[0], ())}
    layers = [
        node
        for node in graph.node
        if node.op_type not in ROUNDING and not weights.keys().isdisjoint(node.input)
    ]
    shared = {
        name
        for node in layers
        if not set(node.output).isdisjoint(single)
        for name in node.input
        if name in makers
    }
    found: Set[str] = set()
    for node in layers:
        if not shared.isdisjoint(node.input):
            found.update(node.output, *(weights.get(name, ()) for name in node.input))
    return found


def _give_own_steps(graph: Any, single: Sequence[str]) -> None:
    """Copy each FP32 DequantizeLinear for the FP16 nodes that read it, too.

    Behind a cast, TensorRT would refuse a layer whose weights are dequantised to FP16.
    """
    others: Dict[str, List[Any]] = {}
    for node in graph.node:
        for name in node.input if node.name not in single else ():
            others.setdefault(name, []).append(node)
    nodes = []
    for node in graph.node:
        nodes.append(node)
        readers = others.get(node.output[0], [])
        if node.op_type == 'DequantizeLinear' and node.name in single and readers:
            copy = type(node).FromString(node.SerializeToString())
            copy.name = copy.output[0] = f'{node.output[0]}/half'
            for reader in readers:
                for place, name in enumerate(reader.input):
                    reader.input[place] = copy.output[0] if name == node.output[0] else name
            nodes.append(copy)
    del graph.node[:]
    graph.node.extend(nodes)


def _give_own_scales(graph: Any, single: Sequence[str]) -> None:
    """Copy the scale of each FP32 Q/DQ node: the converter casts one that FP16 nodes share."""
    scales = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ROUNDING and node.name in single and node.input[1] in scales:
            copy = graph.initializer.add()
            copy.CopyFrom(scales[node.input[1]])
            node.input[1] = copy.name = f'{node.name}/scale'


def _join(graph: Any, single: Sequence[str]) -> None:
    """Keep tensors between two FP32 nodes FP32: the converter casts them to FP16 and back."""
    outputs = {name for node in graph.node if node.name in single for name in node.output}
    exact = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == 'Cast' and node.input[0] in outputs
    }
    results = {value.name for value in graph.output}
    direct: Dict[str, str] = {}
    nodes = []
    for node in graph.node:
        back = node.op_type == 'Cast' and node.input[0] in exact
        if back and node.output[0] not in results:
            direct[node.output[0]] = exact[node.input[0]]
            continue
        if back:
            node.op_type, node.input[0] = 'Identity', exact[node.input[0]]
            del node.attribute[:]
        nodes.append(node)
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = direct.get(name, name)
    del graph.node[:]
    graph.node.extend(nodes)
