# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Structure: graphs that cannot be walked and tensors that are not whole are refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segformer_ros.engines import EngineError, create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import ModelError, load_model
from segformer_ros.model.model_files import model_files, read_onnx, read_whole_onnx
from segformer_ros.model.onnx_network import tensorrt_network
from segformer_ros.model.sidecar import find_quantized, quantized_path
from tiny_models import HUGGINGFACE, export_network, painting, save_external_network, save_network

WEIGHTS = 19 * 3 * 4 * 4 * 4
"""Bytes of the network's kernel."""


def turn_round(model: Any) -> None:
    """A circle of steps that keep the classes, in front of the output."""
    model.graph.node[-1].output[0] = 'before'
    model.graph.node.append(helper.make_node('Identity', ['there'], ['logits']))
    model.graph.node.append(helper.make_node('Identity', ['logits'], ['there']))


def feed_itself(model: Any) -> None:
    model.graph.node[0].input[0] = model.graph.node[0].output[0]


def circle_within(model: Any) -> None:
    inner = helper.make_graph(
        [helper.make_node('Identity', ['y'], ['x']), helper.make_node('Identity', ['x'], ['y'])],
        'inner', [], [],
    )  # fmt: skip
    model.graph.node.append(helper.make_node('If', ['image'], ['z'], then_branch=inner))


def circle_through_a_branch(model: Any) -> None:
    inner = helper.make_graph([helper.make_node('Identity', ['z'], ['y'])], 'inner', [], [])
    model.graph.node.append(helper.make_node('If', ['image'], ['z'], then_branch=inner))


def made_twice(model: Any) -> None:
    model.graph.node.append(helper.make_node('Identity', ['image'], ['logits']))


def no_inputs(model: Any) -> None:
    del model.graph.node[-1].input[:]


def too_few_inputs(model: Any) -> None:
    next(node for node in model.graph.node if node.op_type == 'Conv').input.pop()
    next(node for node in model.graph.node if node.op_type == 'Conv').input.pop()


def no_output(model: Any) -> None:
    model.graph.node.append(helper.make_node('Mul', ['image', 'image'], []))


def endless(model: Any) -> None:
    body = helper.make_graph([], 'body', [], [])
    model.graph.node.append(helper.make_node('Loop', ['', 'image'], ['z'], body=body))


def function_of_itself(model: Any) -> None:
    add_functions(model, {'f': ['g'], 'g': ['f']})


def functions_without_end(model: Any) -> None:
    add_functions(model, {f'f{level}': [f'f{level + 1}'] * 10 for level in range(8)})
    model.graph.node.append(helper.make_node('f0', ['image'], ['z'], domain='own'))


def add_functions(model: Any, calls: dict[str, list[str]]) -> None:
    imports = [helper.make_opsetid('own', 1)]
    for name, called in calls.items():
        nodes = [
            helper.make_node(other, ['x'], [f'y{place}'], domain='own')
            for place, other in enumerate(called)
        ]
        model.functions.append(helper.make_function('own', name, ['x'], ['y0'], nodes, imports))
    model.opset_import.extend(imports)


def opset_without_end(model: Any) -> None:
    model.opset_import[0].version = 2**62


def opset_of_others(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid('own', 1001))


def negative_shape(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -19


def huge_claim(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 2**38


def short_weights(model: Any) -> None:
    model.graph.initializer[0].raw_data = b'1234'


def few_listed_values(model: Any) -> None:
    model.graph.initializer.append(
        TensorProto(name='w', data_type=TensorProto.FLOAT, dims=[4], float_data=[1.0])
    )


def unknown_type(model: Any) -> None:
    model.graph.initializer[0].data_type = 99


def constant_claim(model: Any) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32))
    tensor.dims[0] = 1000
    model.graph.node.append(helper.make_node('Constant', [], ['c'], value=tensor))


def sparse_claim(model: Any) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[1 << 20, 1 << 20])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), 's'))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))


FAULTS: list[tuple[Callable[[Any], None], str]] = [
    (turn_round, "has a cycle at the node '' .Identity."),
    (feed_itself, 'has a cycle'),
    (circle_within, 'has a cycle'),
    (circle_through_a_branch, 'has a cycle at the node .* .If.'),
    (made_twice, "two nodes of its graph make 'logits'"),
    (no_inputs, r'node .* \(Identity\) has 0 inputs, where 1 are needed'),
    (too_few_inputs, r'node .* \(Conv\) has 1 inputs, where 2 are needed'),
    (no_output, r'\(Mul\) has 0 outputs, where 1 are needed'),
    (endless, 'has a Loop .*, which may never end'),
    (function_of_itself, 'a function of its graph calls itself'),
    (functions_without_end, r'has \d+ nodes; the limit is 20000'),
    (opset_without_end, "version 4611686018427387904 of the operators 'ai.onnx'"),
    (opset_of_others, "version 1001 of the operators 'own'"),
    (negative_shape, r"tensor 'kernel' has the shape \[-19, 3, 4, 4\]"),
    (huge_claim, "tensor 'kernel' has the shape"),
    (short_weights, f"'kernel' claims 912 values in {WEIGHTS} bytes and holds 4 bytes"),
    (few_listed_values, "'w' claims 4 values in 16 bytes and holds 1 values"),
    (unknown_type, "'kernel' is of the unknown type 99"),
    (constant_claim, 'claims 1000 values'),
    (sparse_claim, r'a sparse tensor of it has the shape \[1048576, 1048576\]'),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(('spoil', 'words'), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_what_cannot_be_walked_is_refused(
    tmp_path: Path, spoil: Callable[[Any], None], words: str
) -> None:
    model = export_network((64, 128))
    spoil(model)
    path = tmp_path / 'model.onnx'
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=words):
        load_model(path)


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    model = export_network((64, 128))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path = tmp_path / 'model.onnx'
    path.write_bytes(model.SerializeToString())
    assert len(load_model(path).class_map) == 19


def test_functions_that_are_called_are_read(tmp_path: Path) -> None:
    model = export_network((64, 128))
    add_functions(model, {'f': ['g', 'g'], 'g': ['h']})
    path = tmp_path / 'model.onnx'
    path.write_bytes(model.SerializeToString())
    assert len(load_model(path).class_map) == 19


@pytest.mark.parametrize('side', [1 << 15, 1 << 40])
def test_an_input_that_is_too_large_is_refused(tmp_path: Path, side: int) -> None:
    model = export_network((64, 128), replace(HUGGINGFACE, dynamic_size=True))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = side
    path = tmp_path / 'model.onnx'
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match='is not a whole number from 1 to 16384'):
        load_model(path)


# --- weights in another file


def external(folder: Path, location: str, **place: str) -> Path:
    """A network that keeps its kernel elsewhere."""
    model = export_network((64, 128))
    tensor = model.graph.initializer[0]
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {'location': location, **place}.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / 'model.onnx'
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder for the model, with the weights in one beside it."""
    (tmp_path / 'model').mkdir()
    (tmp_path / 'secret.bin').write_bytes(bytes(WEIGHTS))
    return tmp_path


@pytest.mark.parametrize('location', ['../secret.bin', 'a/../../secret.bin', 'ABSOLUTE', 'link'])
def test_weights_outside_the_folder_are_read_by_nothing(folders: Path, location: str) -> None:
    secret = folders / 'secret.bin'
    (folders / 'model' / 'link').symlink_to(secret)
    path = external(folders / 'model', str(secret) if location == 'ABSOLUTE' else location)
    for read in (load_model, read_onnx, read_whole_onnx, model_files):
        with pytest.raises(ModelError, match='outside its own folder, which is not allowed'):
            read(path)
    # Where the file was another when the model was recognised, too.
    spec = replace(load_model(save_network(folders / 'good.onnx')), path=path)
    with pytest.raises(ModelError, match='outside its own folder'):
        tensorrt_network(spec)
    with pytest.raises((ModelError, EngineError), match='outside its own folder'):
        create_engine(spec, 'openvino').activate()


def test_weights_of_the_int8_model_are_looked_at_too(folders: Path) -> None:
    path = save_network(folders / 'model' / 'net.onnx')
    external(folders / 'model', '../secret.bin').rename(quantized_path(path))
    found, lack = find_quantized(path)
    assert found is None and 'outside its own folder' in lack


@pytest.mark.parametrize(
    ('location', 'place', 'words'),
    [
        ('none.bin', {}, "in 'none.bin', which is not beside it"),
        ('.', {}, 'keeps weights|not beside it'),
        ('', {}, "'' is not text"),
        ('weights.bin', {'offset': '-1'}, 'is not a whole number'),
        ('weights.bin', {'offset': '9' * 5000}, 'is not a whole number'),
        ('weights.bin', {'offset': 'x'}, 'is not a whole number'),
        ('weights.bin', {'offset': '1'}, f'cut short: it has {WEIGHTS} bytes and needs'),
        ('weights.bin', {'length': '4'}, f'needs {WEIGHTS} bytes and keeps 4'),
    ],
)
def test_odd_places_of_weights_are_refused(
    tmp_path: Path, location: str, place: dict[str, str], words: str
) -> None:
    (tmp_path / 'weights.bin').write_bytes(bytes(WEIGHTS))
    with pytest.raises(ModelError, match=words):
        load_model(external(tmp_path, location, **place))


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_weights_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'weights.bin')
    with pytest.raises(ModelError, match='not beside it'):
        load_model(external(tmp_path, 'weights.bin'))


def test_weights_in_another_part_of_a_file_are_read(tmp_path: Path) -> None:
    model = export_network((64, 128))
    kernel = numpy_helper.to_array(model.graph.initializer[0])
    (tmp_path / 'weights.bin').write_bytes(bytes(64) + kernel.tobytes() + bytes(9))
    path = external(tmp_path, 'weights.bin', offset='64', length=str(WEIGHTS))
    tensor = read_whole_onnx(path).graph.initializer[0]
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), kernel)


def test_links_of_the_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    """There the snapshot's files are links to blobs, the model's as well as its weights'."""
    (tmp_path / 'blobs').mkdir()
    save_external_network(tmp_path / 'blobs' / 'model.onnx')
    (tmp_path / 'snapshots').mkdir()
    for name in ('model.onnx', 'weights.bin'):
        (tmp_path / 'snapshots' / name).symlink_to(f'../blobs/{name}')
    spec = load_model(tmp_path / 'snapshots' / 'model.onnx')
    assert len(tensorrt_network(spec).model) > WEIGHTS
    image, labels = painting(64, 128)
    with create_engine(spec, 'openvino') as engine:
        found = engine.segment([Frame.from_array(image)])[0].labels
    assert (found == labels).mean() > 0.8


def test_weights_that_are_no_numbers_give_no_class(tmp_path: Path) -> None:
    model = export_network((64, 128))
    kernel = model.graph.initializer[0]
    kernel.raw_data = struct.pack('<f', float('nan')) * (WEIGHTS // 4)
    path = tmp_path / 'model.onnx'
    onnx.save(model, str(path))
    with create_engine(load_model(path), 'openvino') as engine:
        labels = engine.segment([Frame.from_array(painting(64, 128)[0])])[0].labels
    assert np.all(labels == 255)
