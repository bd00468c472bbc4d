# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""FP16 that fails its gate: the decode head in FP32 first, then the layers that cost most."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_segformer import save_tiny

from segformer_ros.engines.precision import Candidate, choose_precision
from segformer_ros.engines.trt.engine_loading import parsed_network
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.model.sidecar import quantized_path, report_path
from segformer_ros.quantization.accuracy_gate import Gate, Samples
from segformer_ros.quantization.half_precision import split_layers
from segformer_ros.quantization.quantization_report import as_json, as_markdown
from segformer_ros.quantization.quantizer import QuantizationSettings, Quantized, quantize
from segformer_ros.quantization.simulation import SimulatedEngine, round_to_half

SETTINGS = QuantizationSettings(ranges='max', gate=Gate(agreement=0.9), threads=1)


def save_longer(path: Path, names: dict[str, str], spoil: float = 1.0, last: float = 1.0) -> Path:
    """The tiny network with three layers more, one `last` times and one back; renamed."""
    model = onnx.load(save_tiny(path, spoil=spoil))
    graph = model.graph
    graph.node[-1].output[0] = 'scores'
    identity = np.eye(19, dtype=np.float32).reshape(19, 19, 1, 1)
    for name, factor in (('large', last), ('small', 1 / last)):
        graph.initializer.append(
            numpy_helper.from_array((factor * identity).astype(np.float32), name)
        )
    graph.node.extend(
        [
            helper.make_node('Conv', ['scores', 'identity'], ['first'], 'more'),
            helper.make_node('Conv', ['first', 'large'], ['second'], 'widen'),
            helper.make_node('Conv', ['second', 'small'], ['logits'], 'end'),
        ]
    )
    for node in graph.node:
        node.name = names.get(node.name, node.name)
    onnx.save(model, str(path))
    return path


def quantized(spec: ModelSpec, samples: Samples) -> Quantized:
    parts = ([sample._replace(labels=None) for sample in part] for part in samples)
    return quantize(spec, Samples(*parts), SETTINGS)


def test_the_decode_head_comes_first(tmp_path: Path, samples: Samples) -> None:
    head = {name: f'/decode_head/{name}' for name in ('widen', 'end')}
    spec = load_model(save_longer(tmp_path / 'wide.onnx', head, last=3000.0))
    made = quantized(spec, samples)
    half = made.half
    assert half.steps[0].verdict.agreement < 0.9 and not half.steps[0].single
    assert [step.single for step in half.steps[1:]] == [('/decode_head/widen', '/decode_head/end')]
    assert not half.failures and half.chosen.verdict.agreement > 0.99
    assert half.overflowing == ('/decode_head/widen',)
    assert half.single == ('second', 'logits')
    text = as_markdown(made, SETTINGS, 'wide.onnx')
    assert '**Passed** with 2 layers in FP32' in text
    assert 'the decode head: 2 of 8 layers' in text


def test_then_the_layers_that_cost_most(tmp_path: Path, samples: Samples) -> None:
    names = {'end': '/decode_head/end'}
    spec = load_model(save_longer(tmp_path / 'deep.onnx', names, spoil=3000.0))
    made = quantized(spec, samples)
    half = made.half
    assert half.steps[1].single == ('/decode_head/end',)
    assert not half.failures
    assert half.chosen.single == ('/decode_head/end', 'stem', 'fragile')
    assert 'dearest others: 3 of 8' in as_markdown(made, SETTINGS, 'deep')


def test_where_half_of_the_layers_do_not_help_it_is_refused(
    tmp_path: Path, samples: Samples
) -> None:
    head = {name: f'/decode_head/{name}' for name in ('fine', 'coarse', 'classify', 'more')}
    path = save_longer(tmp_path / 'large.onnx', head, spoil=3000.0)
    made = quantized(load_model(path), samples)
    assert made.half.failures and not made.half.single
    assert [len(step.single) for step in made.half.steps] == [0, 4]
    assert made.half.overflowing == ('stem',)
    assert made.record.half_passed is False


def test_what_an_fp16_layer_reads_is_rounded_wherever_it_was_made() -> None:
    nodes = [
        helper.make_node('Mul', ['x', 'factor'], ['large'], 'enlarge'),
        helper.make_node('Mul', ['large', 'back'], ['y'], 'reduce'),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ('x', 'y')]
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        for name, value in (('factor', 100.0), ('back', 0.01))
    ]
    graph = helper.make_graph(nodes, 'scaled', values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)

    def run(single: tuple[str, ...]) -> np.ndarray:
        rounded = round_to_half(model, single)
        onnx.checker.check_model(rounded)
        session = onnxruntime.InferenceSession(rounded.SerializeToString())
        (y,) = session.run(None, {'x': np.array([1.0, 700.0], np.float32)})
        return np.asarray(y)

    assert run(('large',))[1] == np.inf
    np.testing.assert_allclose(run(('large', 'y')), [1.0, 700.0], rtol=1e-6)


@pytest.mark.parametrize('kept', ['model', 'report'])
def test_the_engine_is_built_so(tmp_path: Path, samples: Samples, kept: str) -> None:
    head = {name: f'/decode_head/{name}' for name in ('widen', 'end')}
    spec = load_model(save_longer(tmp_path / 'wide.onnx', head, last=3000.0))
    made = quantized(spec, samples)
    path = quantized_path(spec.path)
    if kept == 'model':
        onnx.save(made.model, str(path))
    else:
        report_path(path).write_text(json.dumps(as_json(made, SETTINGS)))
    (candidate,) = choose_precision('auto', spec, 53)
    assert candidate.precision == 'fp16' and candidate.single == made.half.single
    assert 'the layers of 2 tensors are FP32, as its gate needs them' in candidate.reason
    assert choose_precision('fp16', spec, 87)[0].single == made.half.single

    def labels(half: bool) -> list[np.ndarray]:
        chosen = candidate if half else candidate._replace(precision='fp32')
        network = parsed_network(spec, chosen, strongly_typed=True, keep_io=True)
        proto = onnx.load_from_string(network.model)
        kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
        assert kinds['large'] == kinds['small'] == TensorProto.FLOAT
        assert kinds['half'] == (TensorProto.FLOAT16 if half else TensorProto.FLOAT)
        with SimulatedEngine(network.spec, proto) as engine:
            return [engine.segment([sample.frame])[0].labels for sample in samples.held_out]

    for exact, mixed in zip(labels(half=False), labels(half=True), strict=True):
        assert np.mean(exact == mixed) > 0.99


def test_int8_begins_with_the_layers_that_fp16_needs(tmp_path: Path, samples: Samples) -> None:
    """They multiply in INT8, and what goes into and comes out of them is FP32."""
    head = {name: f'/decode_head/{name}' for name in ('widen', 'end')}
    spec = load_model(save_longer(tmp_path / 'wide.onnx', head, last=3000.0))
    made = quantized(spec, samples)
    assert made.pair and made.record.pair_passed
    assert [step.single for step in made.pair.steps] == [made.half.chosen.single]
    onnx.save(made.model, str(quantized_path(spec.path)))
    (int8,) = choose_precision('auto', spec, 87)
    assert int8.precision == 'int8' and int8.half
    assert {'second', 'logits'} < set(int8.single) == set(made.record.pair_single)
    assert f'the layers of {len(int8.single)} tensors are FP32' in int8.reason

    def labels(candidate: Candidate) -> list[np.ndarray]:
        network = parsed_network(spec, candidate, strongly_typed=True, keep_io=True)
        proto = onnx.load_from_string(network.model)
        onnx.checker.check_model(proto, full_check=True)
        kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
        makers = {name: node for node in proto.graph.node for name in node.output}
        for node in proto.graph.node:
            if node.op_type == 'Conv':  # no cast between: TensorRT makes one INT8 layer of it
                data, weights = (makers[name] for name in node.input[:2])
                assert data.op_type == weights.op_type == 'DequantizeLinear'
                exact = kinds[data.input[1]] == kinds[weights.input[1]] == TensorProto.FLOAT
                single = node.name in ('second/single', 'logits/single')
                assert exact is (single or not candidate.half), node.name
        with SimulatedEngine(network.spec, proto) as engine:
            return [engine.segment([sample.frame])[0].labels for sample in samples.held_out]

    exact = labels(int8._replace(half=False))
    # ONNX Runtime before 1.24, Python 3.10's newest, rounds float16 to other INT8 steps.
    for one, other in zip(exact, labels(int8), strict=True):
        assert np.mean(one == other) > 0.75
    for one, other in zip(exact, labels(int8._replace(single=())), strict=True):
        assert np.mean(one == other) < 0.6


def test_every_node_belongs_to_one_layer(tmp_path: Path) -> None:
    model = onnx.load(save_tiny(tmp_path / 'tiny.onnx'))
    layers = split_layers(model)
    assert list(layers) == ['stem', 'fragile', 'fine', 'coarse', 'classify']
    assert layers['stem'] == {'cast', 'transpose', 'stem', 'spoil'}
    assert sum(map(len, layers.values())) == len(model.graph.node)
