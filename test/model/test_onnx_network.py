# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What TensorRT is given: the head cut off, its arithmetic in the spec, the numbers unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import ModelError, ModelSpec, load_model
from segformer_ros.model.normalization import to_half
from segformer_ros.model.onnx_network import Network, drop_unused, save_network, tensorrt_network
from segformer_ros.model.spec import IMAGENET_MEAN, IMAGENET_STD
from tiny_models import HUGGINGFACE, OWN, export_network, painting
from tiny_models import save_network as save_palette

SIZE = (32, 64)


def run(model: bytes, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model)
    output: np.ndarray = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return output


def prepared(network: Network, bgr: np.ndarray) -> np.ndarray:
    """The pixels as the spec says that the network wants them."""
    spec = network.spec
    colors = bgr if spec.color == 'bgr' else bgr[..., ::-1]
    floats = ((colors - np.array(spec.mean)) / np.array(spec.std)).astype(np.float32)
    return np.ascontiguousarray(
        floats.transpose(0, 3, 1, 2) if spec.input_layout == 'NCHW' else floats
    )


def headed(path: Path, head: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> ModelSpec:
    """A model whose uint8 input goes through `head` (to 'ready') into a convolution."""
    graph = helper.make_graph(
        [*head, helper.make_node('Conv', ['ready', 'kernel'], ['logits'], strides=[4, 4])],
        'headed',
        [helper.make_tensor_value_info('pixels', TensorProto.UINT8, ['N', *SIZE, 3])],
        [helper.make_tensor_value_info('logits', TensorProto.FLOAT, ['N', 19, 8, 16])],
        [
            numpy_helper.from_array(
                np.random.default_rng(0).normal(size=(19, 3, 4, 4)).astype(np.float32), 'kernel'
            ),
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, str(path))
    spec = load_model(save_palette(path.with_suffix('.other.onnx'), SIZE, OWN))
    return replace(spec, path=path, input_name='pixels')


def floats(values: object) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.fixture
def bgr() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, *SIZE, 3), np.uint8)


def test_the_head_is_cut_off_and_its_arithmetic_kept(tmp_path: Path, bgr: np.ndarray) -> None:
    head = [
        helper.make_node('Cast', ['pixels'], ['floats'], to=TensorProto.FLOAT),
        helper.make_node('Gather', ['floats', 'order'], ['rgb'], axis=3),
        helper.make_node('Sub', ['rgb', 'mean'], ['centred']),
        helper.make_node('Div', ['centred', 'std'], ['scaled']),
        helper.make_node('Transpose', ['scaled'], ['ready'], perm=[0, 3, 1, 2]),
    ]
    constants = {
        'order': np.array([2, 1, 0]), 'mean': floats(IMAGENET_MEAN), 'std': floats(IMAGENET_STD)
    }  # fmt: skip
    spec = headed(tmp_path / 'rgb.onnx', head, constants)
    network = tensorrt_network(spec)
    assert network.spec.color == 'rgb'
    assert network.spec.input_layout == 'NCHW' and network.spec.input_dtype == 'float32'
    np.testing.assert_allclose(network.spec.mean, IMAGENET_MEAN, rtol=1e-5)
    np.testing.assert_allclose(network.spec.std, IMAGENET_STD, rtol=1e-5)
    graph = onnx.load_from_string(network.model).graph
    assert [node.op_type for node in graph.node] == ['Conv']
    assert [tensor.name for tensor in graph.initializer] == ['kernel']
    np.testing.assert_allclose(
        run(network.model, prepared(network, bgr)),
        run(spec.path.read_bytes(), bgr),
        rtol=1e-4,
        atol=1e-3,
    )


def test_a_head_that_is_no_scale_and_shift_is_refused(tmp_path: Path) -> None:
    head = [
        helper.make_node('Cast', ['pixels'], ['floats'], to=TensorProto.FLOAT),
        helper.make_node('Mul', ['floats', 'bits'], ['product']),
        helper.make_node('Cast', ['product'], ['whole'], to=TensorProto.INT32),
        helper.make_node('Cast', ['whole'], ['rounded'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['rounded'], ['ready'], perm=[0, 3, 1, 2]),
    ]
    spec = headed(tmp_path / 'coarse.onnx', head, {'bits': floats([0.01] * 3)})
    with pytest.raises(ModelError, match='not a scale and a shift of each colour'):
        tensorrt_network(spec)


def test_a_head_that_swaps_two_colours_of_three_is_refused(tmp_path: Path) -> None:
    head = [
        helper.make_node('Cast', ['pixels'], ['floats'], to=TensorProto.FLOAT),
        helper.make_node('Gather', ['floats', 'order'], ['mixed'], axis=3),
        helper.make_node('Transpose', ['mixed'], ['ready'], perm=[0, 3, 1, 2]),
    ]
    spec = headed(tmp_path / 'gbr.onnx', head, {'order': np.array([1, 0, 2])})
    with pytest.raises(ModelError, match='not a scale and a shift of each colour'):
        tensorrt_network(spec)


def test_outputs_that_nothing_reads_are_cut_off(tmp_path: Path, bgr: np.ndarray) -> None:
    spec = load_model(save_palette(tmp_path / 'own.onnx', SIZE, OWN))
    model = onnx.load(str(spec.path))
    nodes = model.graph.node
    (convolution,) = [node for node in nodes if node.op_type == 'Conv']
    nodes.append(helper.make_node('Mul', [convolution.input[0], 'gain'], ['louder']))
    nodes.append(helper.make_node('MyOp', ['louder'], ['aux'], domain='mine'))
    model.opset_import.append(helper.make_opsetid('mine', 1))
    model.graph.initializer.append(numpy_helper.from_array(floats([2]), 'gain'))
    model.graph.output.insert(0, helper.make_tensor_value_info('aux', TensorProto.FLOAT, None))
    expected = run(spec.path.read_bytes(), bgr)
    onnx.save(model, str(spec.path))
    network = tensorrt_network(spec)
    graph = onnx.load_from_string(network.model).graph
    assert [value.name for value in graph.output] == [spec.output_name]
    assert {node.op_type for node in graph.node} == {'Conv', 'Identity'}
    assert 'gain' not in [tensor.name for tensor in graph.initializer]
    np.testing.assert_allclose(run(network.model, prepared(network, bgr)), expected, atol=1e-3)


def test_what_a_graph_within_takes_from_outside_stays() -> None:
    branch = helper.make_graph(
        [helper.make_node('Add', ['doubled', 'one'], ['inner'])],
        'branch',
        [],
        [helper.make_tensor_value_info('inner', TensorProto.FLOAT, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node('Add', ['x', 'x'], ['doubled']),
            helper.make_node('Relu', ['x'], ['unused']),
            helper.make_node('If', ['which'], ['y'], then_branch=branch, else_branch=branch),
        ],
        'branching',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1])],
        [
            numpy_helper.from_array(np.array(True), 'which'),
            numpy_helper.from_array(floats([1]), 'one'),
        ],
    )
    drop_unused(graph)
    assert [node.op_type for node in graph.node] == ['Add', 'If']
    assert [tensor.name for tensor in graph.initializer] == ['which', 'one']


def test_a_float_model_is_given_as_it_is(tmp_path: Path) -> None:
    spec = load_model(save_palette(tmp_path / 'hf.onnx', SIZE, HUGGINGFACE))
    network = tensorrt_network(spec)
    assert network.spec == spec
    nodes = onnx.load_from_string(network.model).graph.node
    assert [node.op_type for node in nodes] == [
        node.op_type for node in onnx.load(str(spec.path)).graph.node
    ]


def test_a_written_network_is_recognised_with_its_sidecar(tmp_path: Path, bgr: np.ndarray) -> None:
    spec = load_model(save_palette(tmp_path / 'own.onnx', SIZE, OWN))
    network = tensorrt_network(spec)
    sidecar = save_network(network, tmp_path / 'exported.onnx')
    assert sidecar.name == 'exported.onnx.yaml'
    again = load_model(tmp_path / 'exported.onnx')
    assert (again.color, again.fit, again.size) == ('bgr', spec.fit, SIZE)
    np.testing.assert_allclose(again.mean, network.spec.mean, atol=1e-6)
    written = (tmp_path / 'exported.onnx').read_bytes()
    np.testing.assert_allclose(
        run(written, prepared(network, bgr)), run(spec.path.read_bytes(), bgr), atol=1e-3
    )


def test_the_bundled_model_is_recognised_without_its_head(tmp_path: Path) -> None:
    """Its metadata says that it takes pixels, which is true no longer."""
    spec = load_model()
    network = tensorrt_network(spec)
    save_network(network, tmp_path / 'cut.onnx')
    found = load_model(tmp_path / 'cut.onnx')
    assert (found.color, found.mean, found.std) == (
        network.spec.color, network.spec.mean, network.spec.std,
    )  # fmt: skip
    assert found.mean != spec.mean
    assert (found.fit, found.size, found.class_map) == (spec.fit, spec.size, spec.class_map)
    picture = Frame.from_array(painting(*spec.size)[0])
    labels = []
    for each in (spec, found):
        with create_engine(each, 'openvino') as engine:
            labels.append(engine.segment([picture])[0].labels)
    assert (labels[0] == labels[1]).mean() > 0.999


@pytest.mark.parametrize('keep_io', [False, True])
def test_half_precision_is_in_the_graph(tmp_path: Path, bgr: np.ndarray, keep_io: bool) -> None:
    spec = load_model(save_palette(tmp_path / 'hf.onnx', SIZE, HUGGINGFACE))
    network = tensorrt_network(spec)
    half = to_half(network.model, keep_io)
    graph = onnx.load_from_string(half).graph
    kind = TensorProto.FLOAT if keep_io else TensorProto.FLOAT16
    assert graph.input[0].type.tensor_type.elem_type == kind
    assert {tensor.data_type for tensor in graph.initializer} == {TensorProto.FLOAT16}
    pixels = prepared(network, bgr)
    result = run(half, pixels if keep_io else pixels.astype(np.float16))
    exact = run(network.model, pixels)
    assert np.corrcoef(result.ravel().astype(float), exact.ravel())[0, 1] > 0.9999


def test_a_head_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    model = export_network((64, 128))
    model.opset_import[0].domain = 'another'
    path = tmp_path / 'model.onnx'
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match='is not a scale and a shift of each colour'):
        tensorrt_network(load_model(path))
