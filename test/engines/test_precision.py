# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which precision is built: by what the GPU is fast at, and what the model allows."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock, call

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segformer_ros.engines import EngineError
from segformer_ros.engines.precision import (
    choose_precision,
    has_fast_fp16,
    has_fast_int8,
)
from segformer_ros.model import ModelSpec, load_model, model_files
from segformer_ros.model.model_files import file_hash
from segformer_ros.model.sidecar import QuantizationRecord, quantized_path, report_path
from tiny_models import export_network, save_network

NANO, TX2, GTX1080, XAVIER, ORIN = 53, 62, 61, 72, 87


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return load_model(save_network(tmp_path / 'street.onnx'))


def add_int8(
    spec: ModelSpec,
    gate: str = 'passed',
    source: str | None = None,
    half: str = 'passed',
    pair: str = 'passed',
) -> Path:
    """An INT8 model beside the model, as `segformer quantize` writes it."""
    model = export_network(spec.size)
    model.graph.node.insert(0, helper.make_node('QuantizeLinear', ['scale', 'scale'], ['unused']))
    model.graph.initializer.append(helper.make_tensor('scale', TensorProto.FLOAT, [], [1.0]))
    path = quantized_path(spec.path)
    origin = source or file_hash(spec.path)
    verdicts = gate == 'passed', half == 'passed', (), pair == 'passed'
    record = QuantizationRecord(origin, *verdicts)
    for key, value in record.as_metadata().items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path


def test_a_damaged_int8_model_is_left_out_and_said(spec: ModelSpec) -> None:
    path = add_int8(spec)
    path.write_bytes(path.read_bytes()[:200])
    (chosen,) = choose_precision('auto', spec, ORIN)
    assert chosen.precision == 'fp16'
    assert f'no INT8, since {path} is not an ONNX file, or cut short' in chosen.reason
    assert 'make one with: segformer quantize' in chosen.reason
    with pytest.raises(EngineError, match='int8 needs an INT8 model, and .* cut short'):
        choose_precision('int8', spec, ORIN)


def test_of_an_fp16_graph_no_int8_model_is_asked_for(spec: ModelSpec) -> None:
    model = onnx.load(str(spec.path))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    onnx.save(model, str(spec.path))
    (chosen,) = choose_precision('auto', spec, ORIN)
    assert chosen.precision == 'fp16'
    assert chosen.reason.endswith('is FP16 itself, and an INT8 model is made of the FP32 one')


def test_what_each_gpu_is_fast_at() -> None:
    assert [has_fast_int8(sm) for sm in (NANO, TX2, 60, 70, GTX1080, XAVIER, 75, ORIN)] == [
        False, False, False, False, True, True, True, True
    ]  # fmt: skip
    assert [has_fast_fp16(sm) for sm in (NANO, TX2, 60, GTX1080, 50, XAVIER, ORIN)] == [
        True, True, True, False, False, True, True
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('sm', 'precision', 'reason'),
    [
        (ORIN, 'int8', 'sm_87 has fast INT8, and the model passed its gate'),
        (GTX1080, 'int8', 'sm_61 has fast INT8'),
        (NANO, 'fp16', 'sm_53 is fast in FP16; it has no fast INT8'),
        (TX2, 'fp16', 'no fast INT8'),
        (50, 'fp32', 'sm_50 is not faster in FP16; it has no fast INT8'),
    ],
)
def test_auto_takes_what_the_gpu_is_fast_at(
    spec: ModelSpec, sm: int, precision: str, reason: str
) -> None:
    quantized = add_int8(spec)
    (choice,) = choose_precision('auto', spec, sm)
    assert choice.precision == precision and reason in choice.reason
    assert choice.model == (quantized if precision == 'int8' else spec.path)


def test_auto_without_an_int8_model_is_fp16_and_says_how_to_make_one(spec: ModelSpec) -> None:
    (choice,) = choose_precision('auto', spec, ORIN)
    assert choice.precision == 'fp16'
    assert 'no INT8, since' in choice.reason and 'segformer quantize' in choice.reason


def test_fp16_that_failed_its_gate_is_used_when_asked_for_alone(spec: ModelSpec) -> None:
    add_int8(spec, half='failed')
    (choice,) = choose_precision('auto', spec, NANO)
    assert choice.precision == 'fp32' and 'in FP16 the model failed its gate' in choice.reason
    assert [each.precision for each in choose_precision('fastest', spec, ORIN)] == ['int8', 'fp32']
    assert choose_precision('fp16', spec, ORIN)[0].precision == 'fp16'
    add_int8(spec, half='failed', source='another')
    assert choose_precision('auto', spec, NANO)[0].precision == 'fp16'


def test_int8_has_fp32_beside_it_where_fp16_failed(spec: ModelSpec) -> None:
    add_int8(spec)
    assert choose_precision('auto', spec, ORIN)[0].half
    add_int8(spec, half='failed')
    for wanted in ('auto', 'int8', 'fastest'):
        choice = choose_precision(wanted, spec, ORIN)[0]
        assert choice.precision == 'int8' and not choice.half
        assert choice.reason.endswith('beside it FP32, since FP16 failed its gate')
    add_int8(spec, pair='failed')
    choice = choose_precision('int8', spec, ORIN)[0]
    assert choice.precision == 'int8' and not choice.half
    assert choice.reason.endswith('since FP16 and INT8 together failed their gate')
    assert choose_precision('fp16', spec, ORIN)[0].precision == 'fp16'


@pytest.mark.parametrize('judged', [True, False])
def test_int8_that_was_never_judged_with_those_fp32_layers_has_fp32_beside_it(
    spec: ModelSpec, judged: bool
) -> None:
    path = add_int8(spec)
    model = onnx.load(str(path))
    record = QuantizationRecord(file_hash(spec.path), True, True, ('one',), True, ('one', 'two'))
    entries = record.as_metadata()
    del model.metadata_props[:]
    for key, value in entries.items():
        if judged or not key.endswith('int8_fp16_single'):
            model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    (choice,) = choose_precision('int8', spec, ORIN)
    assert choice.half == judged
    assert choice.single == (('one', 'two') if judged else ())
    words = 'since FP16 and INT8 were not judged together; segformer quantize, run again, judges'
    assert (words in choice.reason) is not judged and 'failed' not in choice.reason


@pytest.mark.parametrize(
    ('report', 'precision'),
    [
        ('{"source": "HASH", "fp16": {"passed": false}}', 'fp32'),
        ('{"source": "HASH", "fp16": {"passed": true}}', 'fp16'),
        ('{"source": "another", "fp16": {"passed": false}}', 'fp16'),
        ('{"fp16": {"passed": false}}', 'fp16'),
        ('half a repo', 'fp16'),
        ('{"source": "HASH", "fp16": [false]}', 'fp16'),
        ('{"source": "HASH", "fp16": {"passed": "no"}}', 'fp16'),
        ('[' * 100_000, 'fp16'),
    ],
)
def test_the_report_tells_of_fp16_where_int8_was_refused(
    spec: ModelSpec, report: str, precision: str
) -> None:
    path = report_path(quantized_path(spec.path))
    path.write_text(report.replace('HASH', file_hash(spec.path)))
    assert choose_precision('auto', spec, NANO)[0].precision == precision


def test_fastest_builds_both(spec: ModelSpec) -> None:
    add_int8(spec)
    choices = choose_precision('fastest', spec, ORIN)
    assert [choice.precision for choice in choices] == ['int8', 'fp16']
    assert len(choose_precision('fastest', spec, NANO)) == 1


def test_int8_without_a_model_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match='int8 needs an INT8 model, and .*int8.onnx does not ex'):
        choose_precision('int8', spec, ORIN)


def test_an_int8_model_of_another_model_is_not_used(spec: ModelSpec) -> None:
    add_int8(spec, source='0' * 64)
    with pytest.raises(EngineError, match='was not made from this model; make one with: segform'):
        choose_precision('int8', spec, ORIN)


def test_an_int8_model_below_its_gate_is_not_used(spec: ModelSpec) -> None:
    add_int8(spec, gate='failed')
    with pytest.raises(EngineError, match='did not pass its accuracy gate; make one with'):
        choose_precision('int8', spec, ORIN)


def test_a_model_that_is_quantised_itself_is_int8(spec: ModelSpec) -> None:
    quantized = load_model(add_int8(spec))
    (choice,) = choose_precision('auto', quantized, ORIN)
    assert choice.precision == 'int8' and choice.model == quantized.path
    with pytest.raises(EngineError, match='is quantised itself and cannot be built in fp16'):
        choose_precision('fp16', quantized, ORIN)


@pytest.mark.parametrize('wanted', ['auto', 'int8', 'fastest'])
def test_the_int8_model_is_parsed_once(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    quantized = add_int8(spec)
    parse = Mock(wraps=model_files.read_onnx)
    monkeypatch.setattr(model_files, 'read_onnx', parse)
    for _ in range(2):
        choices = choose_precision(wanted, spec, ORIN)
        assert choices[0].model == quantized
    assert parse.mock_calls.count(call(quantized)) == 1
    add_int8(spec, gate='failed')  # another file of the same name
    with pytest.raises(EngineError, match='did not pass its accuracy gate'):
        choose_precision('int8', spec, ORIN)
