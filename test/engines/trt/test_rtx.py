# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Real engines: TensorRT-RTX parses and builds without a GPU, for one that is named."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segformer_ros.cli.main import main
from segformer_ros.engines import EngineError
from segformer_ros.engines.precision import Candidate
from segformer_ros.engines.trt.adapter import TensorRt, load_tensorrt
from segformer_ros.engines.trt.builder import BuildOptions, BuiltEngine, build_engine
from segformer_ros.engines.trt.engine_loading import parsed_network
from segformer_ros.model import Declared, ModelSpec, bundled_model, load_model
from segformer_ros.quantization.half_precision import split_layers
from segformer_ros.quantization.layer_selection import roundings_of, select_nodes
from segformer_ros.quantization.qdq import (
    activation_names,
    choose_limits,
    measure_ranges,
    prepare,
    quantize_nodes,
)
from segformer_ros.quantization.simulation import float_outputs
from tiny_models import HUGGINGFACE, TAO6, Export, save_network

ADA = 89

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('tensorrt_rtx') is None,
    reason='no TensorRT-RTX: pip install --no-deps -r requirements/tensorrt.txt',
)


@pytest.fixture(scope='module')
def library() -> TensorRt:
    return load_tensorrt(('tensorrt_rtx',))


@pytest.fixture(scope='module')
def quantized(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """The bundled model in INT8; its ranges, of noise, are good enough for building."""
    path = tmp_path_factory.mktemp('int8') / 'street.int8.onnx'
    spec = load_model()
    model = prepare(onnx.load(str(bundled_model())))
    nodes = select_nodes(model).all
    ranges = measure_ranges(model, activation_names(model, nodes), _noise(spec.size))
    onnx.save(quantize_nodes(model, nodes, choose_limits(ranges, 'max', 100.0)), str(path))
    return load_model(path)


def _noise(size: tuple[int, int]) -> Iterator[np.ndarray]:
    yield np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)


def build(
    library: TensorRt,
    spec: ModelSpec,
    precision: str,
    batches: tuple[int, int, int],
    single: tuple[str, ...] = (),
) -> BuiltEngine:
    candidate = Candidate(precision, spec.path, '', single=single)
    network = parsed_network(spec, candidate, library.strongly_typed)
    built = build_engine(library, network.model, BuildOptions(precision, batches, target_sm=ADA))
    assert len(built.plan) > 100_000
    built.layers.check(precision)
    return built


@pytest.mark.slow
@pytest.mark.parametrize('batches', [(1, 1, 1), (1, 2, 4)], ids=['one', 'dynamic'])
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_the_bundled_model_builds(
    library: TensorRt, precision: str, batches: tuple[int, int, int]
) -> None:
    layers = build(library, load_model(), precision, batches).layers
    assert len(layers.layers) > 50
    assert layers.count(precision) == len(layers.layers)


@pytest.mark.slow
@pytest.mark.parametrize('batches', [(1, 1, 1), (1, 2, 4)], ids=['one', 'dynamic'])
def test_the_bundled_model_builds_in_int8(
    library: TensorRt, quantized: ModelSpec, batches: tuple[int, int, int]
) -> None:
    layers = build(library, quantized, 'int8', batches).layers
    # Every layer with weights, and nothing in FP32.
    assert layers.count('int8') > 60
    assert layers.count('int8') + layers.count('fp16') == len(layers.layers)


@pytest.mark.slow
@pytest.mark.parametrize(
    'start',
    [
        '/decoder/',
        '/encoder/embeddings.0/',
        '/encoder/stages.3/stages.3.0/attention/query/',
    ],
)
def test_layers_that_give_fp32_are_int8_all_the_same(
    library: TensorRt, quantized: ModelSpec, start: str
) -> None:
    """The decode head, and single layers that read what others read, which stay in FP16."""
    parts = split_layers(prepare(onnx.load(str(bundled_model()))))
    inside = set().union(*(nodes for name, nodes in parts.items() if name.startswith(start)))
    model = onnx.load(str(quantized.path))
    made = {name for node in model.graph.node if node.name in inside for name in node.output}
    single = (*(made & float_outputs(model)), *roundings_of(model, inside))
    plain = build(library, quantized, 'int8', (1, 1, 1)).layers
    layers = build(library, quantized, 'int8', (1, 1, 1), single).layers
    assert layers.count('fp32') and not plain.count('fp32')
    found, wanted = (
        [layer.precision for layer in one.layers if layer.weighted] for one in (layers, plain)
    )
    assert found.count('int8') == wanted.count('int8') > 60


@pytest.mark.parametrize('export', [TAO6, HUGGINGFACE], ids=['tao6', 'huggingface'])
def test_the_contracts_of_the_field_build(
    library: TensorRt, tmp_path: Path, export: Export
) -> None:
    path = save_network(tmp_path / 'model.onnx', (64, 128), export)
    declared = Declared(mean=(127.5,) * 3, std=(127.5,) * 3, color='rgb')
    spec = load_model(path, parameters=declared)
    assert build(library, spec, 'fp16', (1, 1, 4)).layers.count('fp16')


def test_what_rtx_says_of_an_operator_it_lacks(library: TensorRt) -> None:
    graph = helper.make_graph(
        [helper.make_node('Uncommon', ['x'], ['y'], domain='mine')],
        'tiny',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    opsets = [helper.make_opsetid('', 17), helper.make_opsetid('mine', 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(EngineError, match=r'operator Uncommon .*Plugin not found'):
        build_engine(library, model.SerializeToString(), BuildOptions(target_sm=ADA))


@pytest.mark.parametrize('mib', [1, 8])
def test_a_workspace_that_is_too_small_for_a_gpu_that_is_not_here(
    mib: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'street.engine'
    asked = ['build', '--sm', '86', '--out', str(out), '--precision', 'fp16']
    assert main([*asked, '--workspace', str(mib)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f'a layer needs more scratch memory than {mib} MiB' in error
    assert error.endswith(
        f'build it with a larger workspace: segformer build --workspace {2 * mib}'
    )
    assert not out.exists()


def test_a_gpu_that_rtx_does_not_build_for_is_named(library: TensorRt, tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'palette.onnx'))
    network = parsed_network(spec, Candidate('fp32', spec.path, ''), True)
    with pytest.raises(EngineError, match='does not build for sm_53; it can for .*SM86'):
        build_engine(library, network.model, BuildOptions(target_sm=53))


def test_rtx_has_no_dla(library: TensorRt, tmp_path: Path) -> None:
    path = save_network(tmp_path / 'palette.onnx', (32, 64))
    options = BuildOptions('fp16', target_sm=87, dla_core=0)
    with pytest.raises(EngineError, match='finds no DLA on this machine .*TensorRT-RTX uses none'):
        build_engine(library, path.read_bytes(), options)


def test_an_engine_that_is_none_is_refused(library: TensorRt) -> None:
    with pytest.raises(EngineError, match='cannot load the engine: MALFORMED_ENGINE'):
        library.load(b'x' * 1000)


def test_the_command_builds_for_a_named_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_network(tmp_path / 'palette.onnx')
    out = tmp_path / 'engines' / 'palette.engine'
    asked = ['build', str(model), '--build-only', '--sm', '86', '--out', str(out)]
    assert main([*asked, '--precision', 'fp16']) == 0
    assert out.stat().st_size > 10_000 and out.stat().st_mode & 0o777 == 0o600
    printed = capsys.readouterr().out
    assert 'sm_86' in printed and 'fp16 (as asked)' in printed and ' fp16\n' in printed


@pytest.mark.slow
def test_ctrl_c_ends_a_build_whenever_it_comes(library: TensorRt) -> None:
    network = parsed_network(load_model(), Candidate('fp32', bundled_model(), ''), True)
    began = threading.Event()

    def interrupt() -> None:
        began.wait()
        time.sleep(0.3)  # amid the native code, which logs all the time
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        build_engine(library, network.model, BuildOptions(target_sm=ADA), lambda *_: began.set())
    interrupter.join()
