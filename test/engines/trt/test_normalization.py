"""LayerNormalization written out: the same numbers, of operators that every parser reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from engine_rig import agreement
from fake_gpu import MakeMachine
from onnx import TensorProto, helper, numpy_helper

from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.engines.trt.builder import build_engine
from segformer_ros.engines.trt.half import to_half
from segformer_ros.engines.trt.network import tensorrt_network
from segformer_ros.engines.trt.normalization import squares, write_out_layer_norms
from segformer_ros.frame import Frame
from segformer_ros.model import load_model_spec
from segformer_ros.quantization.half import round_to_half
from segformer_ros.quantization.qdq import (
    activation_names,
    measure_ranges,
    prepare,
    quantize_nodes,
)
from segformer_ros.quantization.ranges import choose_limits
from segformer_ros.quantization.selection import select_nodes
from tiny_models import painting


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
    with pytest.raises(EngineError, match='opset 18; export it with an opset from 13 to 17'):
        write_out_layer_norms(normalising(opset=18))
    with pytest.raises(EngineError, match="LayerNormalization 'y' gives its mean"):
        write_out_layer_norms(normalising(outputs=('y', 'mean')))


def steps(opset: int = 17) -> bytes:
    """A normalisation as older exporters write it: Sub, Pow, ReduceMean, Add, Sqrt, Div."""
    nodes = [
        helper.make_node('ReduceMean', ['x'], ['mean'], axes=[-1]),
        helper.make_node('Sub', ['x', 'mean'], ['centred']),
        helper.make_node('Pow', ['centred', 'two'], ['square']),
        helper.make_node('ReduceMean', ['square'], ['variance'], axes=[-1]),
        helper.make_node('Add', ['variance', 'epsilon'], ['enlarged']),
        helper.make_node('Sqrt', ['enlarged'], ['deviation']),
        helper.make_node('Div', ['centred', 'deviation'], ['y']),
    ]
    constants = {'two': 2.0, 'epsilon': 1e-5}
    graph = helper.make_graph(
        nodes,
        'steps',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [2, 5, 8])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [2, 5, 8])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid('', opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


WIDE = ['square', 'variance', 'enlarged', 'deviation']


def test_what_may_overflow_is_found() -> None:
    assert squares(steps()) == set(WIDE)
    assert squares(normalising()) == set(), 'a layer of its own sums in FP32'
    assert squares(write_out_layer_norms(normalising())) == {f'y/{name}' for name in WIDE}


@pytest.mark.parametrize('keep_io', [False, True])
def test_half_precision_survives_values_whose_squares_do_not_fit(keep_io: bool) -> None:
    values = (1000 * np.random.default_rng(1).normal(size=(2, 5, 8))).astype(np.float32)
    half = to_half(steps(), keep_io)
    onnx.checker.check_model(onnx.load_from_string(half), full_check=True)
    result = run(half, values if keep_io else values.astype(np.float16))
    np.testing.assert_allclose(result.astype(np.float32), run(steps(), values), atol=3e-3)
    rounded = run(round_to_half(onnx.load_from_string(steps())).SerializeToString(), values)
    np.testing.assert_allclose(rounded, run(steps(), values), atol=3e-3)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, 64, 128)).astype(np.float32)


@pytest.fixture
def street() -> bytes:
    """The bundled model as TensorRT takes it."""
    return tensorrt_network(load_model_spec().resized(64, 128)).model


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


@pytest.mark.parametrize('precision', ['fp16', 'fp32'])
def test_squares_are_kept_in_fp32_where_there_is_no_layer(
    make_machine: MakeMachine, precision: str
) -> None:
    fake = make_machine('8.5.2', sm=53).tensorrt
    spec = load_model_spec().resized(64, 128)
    with create_engine(spec, 'tensorrt', EngineOptions(precision=precision)):
        kept = fake.called('layer')
        wanted = {'Mul', 'ReduceMean', 'Add', 'Sqrt'} if precision == 'fp16' else set()
        assert {kind for kind, *types in kept} == wanted
        assert all(types == ['FLOAT', 'FLOAT'] for kind, *types in kept)
        obeyed = ('OBEY_PRECISION_CONSTRAINTS',) in fake.called('set_flag')
        assert obeyed == (precision == 'fp16')


@pytest.mark.parametrize('version', ['8.2.1.8', '8.5.2', '8.6.1'])
def test_the_bundled_model_runs_on_old_versions(make_machine: MakeMachine, version: str) -> None:
    make_machine(version, sm=53)
    spec = load_model_spec().resized(64, 128)
    with create_engine(spec, 'tensorrt', EngineOptions(precision='fp32')) as engine:
        assert agreement(engine, [Frame.from_array(painting(64, 128)[0])]) > 0.99


@pytest.mark.parametrize(
    ('version', 'reads'), [('8.5.2', False), ('8.6.1', False), ('10.3.0', True)]
)
def test_axes_that_a_parser_passes_over_are_refused(
    make_machine: MakeMachine, version: str, reads: bool
) -> None:
    """Before TensorRT 10 a ReduceMean of opset 18 was over all axes, without a word."""
    library = TensorRt(make_machine(version).tensorrt.module)
    model = onnx.load_from_string(steps(opset=18))
    for node in model.graph.node:
        if node.op_type == 'ReduceMean':
            del node.attribute[:]
            node.input.append('axes')
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), 'axes'))
    if reads:
        assert build_engine(library, model.SerializeToString()).plan
        return
    with pytest.raises(EngineError, match='opset 18.* an opset from 13 to 17'):
        build_engine(library, model.SerializeToString())
