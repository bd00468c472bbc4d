# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""LayerNormalization written out: the same numbers, of operators that every parser reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_segformer import save_tiny

from segformer_ros.model import ModelError, load_model
from segformer_ros.model.normalization import single_outputs, to_half, write_out_layer_norms
from segformer_ros.model.onnx_network import tensorrt_network
from segformer_ros.quantization.layer_selection import roundings_of, select_nodes
from segformer_ros.quantization.qdq import (
    activation_names,
    choose_limits,
    measure_ranges,
    prepare,
    quantize_nodes,
)
from segformer_ros.quantization.simulation import round_to_half
from tiny_models import normalization_in_steps, painting


def normalising(
    axis: int = -1, bias: bool = True, opset: int = 17, outputs: tuple[str, ...] = ('y',)
) -> bytes:
    """A network of one LayerNormalization over (2, 5, 8)."""
    rng = np.random.default_rng(0)
    shape = (2, 5, 8)[axis:]
    constants = {'scale': rng.normal(size=shape), 'bias': rng.normal(size=shape)}
    graph = helper.make_graph(
        [
            helper.make_node(
                'LayerNormalization',
                ['x', 'scale', *(['bias'] if bias else [])],
                list(outputs),
                axis=axis,
                epsilon=1e-3,
            )
        ],
        'normalising',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [2, 5, 8])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [2, 5, 8])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in constants.items()
        ],
    )
    opsets = [helper.make_opsetid('', opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def run(model: bytes, values: np.ndarray) -> Any:
    options = onnxruntime.SessionOptions()
    # As it is written: ONNX Runtime would make it a LayerNormalization again.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options)
    return session.run(None, {session.get_inputs()[0].name: values})[0]


@pytest.mark.parametrize(('axis', 'bias'), [(-1, True), (-1, False), (-2, True), (1, True)])
def test_the_numbers_are_the_same(axis: int, bias: bool) -> None:
    model = normalising(axis, bias)
    written = write_out_layer_norms(model)
    onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
    values = 3 + 2 * np.random.default_rng(1).normal(size=(2, 5, 8)).astype(np.float32)
    np.testing.assert_allclose(run(written, values), run(model, values), atol=1e-5)


def test_what_the_parsers_would_misread_is_refused() -> None:
    with pytest.raises(ModelError, match='opset 18; export it with an opset from 13 to 17'):
        write_out_layer_norms(normalising(opset=18))
    with pytest.raises(ModelError, match="LayerNormalization 'y' outputs its mean"):
        write_out_layer_norms(normalising(outputs=('y', 'mean')))


WIDE = ['square', 'variance', 'enlarged', 'deviation']


def test_what_may_overflow_is_found() -> None:
    assert single_outputs(normalization_in_steps()) == (set(WIDE), set())
    assert not single_outputs(normalising())[0], 'a layer of its own sums in FP32'
    found, _ = single_outputs(write_out_layer_norms(normalising()))
    assert found == {f'y/{name}' for name in WIDE}


@pytest.mark.parametrize('keep_io', [False, True])
def test_half_precision_survives_values_whose_squares_do_not_fit(keep_io: bool) -> None:
    values = (1000 * np.random.default_rng(1).normal(size=(2, 5, 8))).astype(np.float32)
    half = to_half(normalization_in_steps(), keep_io)
    onnx.checker.check_model(onnx.load_from_string(half), full_check=True)
    result = run(half, values if keep_io else values.astype(np.float16))
    np.testing.assert_allclose(
        result.astype(np.float32), run(normalization_in_steps(), values), atol=3e-3
    )
    rounded = run(
        round_to_half(onnx.load_from_string(normalization_in_steps())).SerializeToString(), values
    )
    np.testing.assert_allclose(rounded, run(normalization_in_steps(), values), atol=3e-3)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, 64, 128)).astype(np.float32)


@pytest.fixture
def street() -> bytes:
    """The bundled model as TensorRT takes it."""
    return tensorrt_network(load_model().resized(64, 128)).model


def operators(model: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(model).graph.node}


def test_the_bundled_model_keeps_its_numbers(street: bytes, pixels: np.ndarray) -> None:
    written = write_out_layer_norms(street)
    assert 'LayerNormalization' not in operators(written)
    np.testing.assert_allclose(run(written, pixels), run(street, pixels), atol=1e-5)


def test_a_quantised_model_keeps_its_numbers(street: bytes, pixels: np.ndarray) -> None:
    quantised = _quantised(street, pixels)
    written = write_out_layer_norms(quantised)
    assert 'LayerNormalization' not in operators(written)
    assert 'QuantizeLinear' in operators(written)
    first = next(
        node.output[0]
        for node in onnx.load_from_string(quantised).graph.node
        if node.op_type == 'LayerNormalization'
    )
    found, exact = (run(_until(model, first), pixels) for model in (written, quantised))
    np.testing.assert_allclose(found, exact, atol=1e-5)
    # Further on the last bit decides where a value lies between two levels of INT8.
    found, exact = (run(model, pixels).ravel() for model in (written, quantised))
    assert np.corrcoef(found, exact)[0, 1] > 0.999


@pytest.mark.parametrize(('alone', 'layers'), [('seen', set()), ('fine', {'fine', 'coarse'})])
def test_layers_that_read_the_same_int8_have_no_cast_behind_it(
    tmp_path: Path, alone: str, layers: set[str]
) -> None:
    """TensorRT would refuse it, and layers that differ in type, if both have weights."""
    size = (32, 64)
    pixels = painting(*size)[0][None]
    path = save_tiny(tmp_path / 'tiny.onnx', size)
    quantised = onnx.load_from_string(_quantised(path.read_bytes(), pixels))
    convolutions = {node.name: node for node in quantised.graph.node if node.op_type == 'Conv'}
    shared = convolutions['fine'].input[0]
    assert shared == convolutions['coarse'].input[0]
    quantised.graph.node.append(helper.make_node('Neg', [shared], ['seen'], 'seen'))
    quantised.graph.output.append(
        helper.make_tensor_value_info('seen', TensorProto.FLOAT, [1, 19, 8, 16])
    )
    model = quantised.SerializeToString()
    half = to_half(model, True, (alone, *roundings_of(quantised, [alone])))
    proto = onnx.load_from_string(half)
    onnx.checker.check_model(proto, full_check=True)
    makers = {name: node for node in proto.graph.node for name in node.output}
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type == 'Conv':
            steps = [makers[name] for name in node.input[:2]]
            assert {step.op_type for step in steps} == {'DequantizeLinear'}, node.name
            (found[node.name.split('/')[0]],) = {kinds[step.input[1]] for step in steps}
    assert {name for name, kind in found.items() if kind == TensorProto.FLOAT} == layers
    assert len(found) == len(convolutions)
    assert np.corrcoef(run(half, pixels).ravel(), run(model, pixels).ravel())[0, 1] > 0.99


def _until(model: bytes, name: str) -> bytes:
    proto = onnx.load_from_string(model)
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    return bytes(proto.SerializeToString())


def _quantised(model: bytes, pixels: np.ndarray) -> bytes:
    prepared = prepare(onnx.load_from_string(model))
    nodes = select_nodes(prepared).all
    ranges = measure_ranges(prepared, activation_names(prepared, nodes), iter([pixels]))
    limits = choose_limits(ranges, 'max', 100.0)
    return bytes(quantize_nodes(prepared, nodes, limits).SerializeToString())
