# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""From a model and frames to an INT8 model, and its gate."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_segformer import save_tiny

from segformer_ros.engines.precision import choose_precision
from segformer_ros.model import load_model
from segformer_ros.model.model_files import model_hash
from segformer_ros.model.sidecar import QuantizationRecord, quantized_path
from segformer_ros.quantization import half_precision
from segformer_ros.quantization.accuracy_gate import Gate, GateResult, QuantizationError, Samples
from segformer_ros.quantization.layer_selection import Attempt, LayerCost, exclude_until_passed
from segformer_ros.quantization.quantization_report import advice, as_json, as_markdown
from segformer_ros.quantization.quantizer import QuantizationSettings, quantize
from segformer_ros.quantization.simulation import round_to_half

EASY = QuantizationSettings(ranges='max', gate=Gate(agreement=0.9, loss=0.02))


def unlabelled(samples: Samples) -> Samples:
    parts = ([sample._replace(labels=None) for sample in part] for part in samples)
    return Samples(*parts)


def test_an_easy_model_passes_whole(tmp_path: Path, samples: Samples) -> None:
    spec = load_model(save_tiny(tmp_path / 'tiny.onnx'))
    quantized = quantize(spec, samples, EASY)
    assert not quantized.failures and not quantized.excluded and not quantized.costs
    verdict = quantized.verdict
    assert verdict.frames == 4
    assert verdict.miou_fp32 is not None and verdict.miou_fp32 > 0.4
    assert verdict.loss is not None and abs(verdict.loss) < 0.02
    assert 0.9 < verdict.agreement < 1 and verdict.pixel_agreement > 0.95
    # INT8 and FP16 as one engine has them: rounded twice, and hardly another mask.
    assert quantized.pair is not None and quantized.record.pair_passed
    assert len(quantized.pair.steps) == 1 and not quantized.record.pair_single
    pair = quantized.pair.chosen.verdict
    assert pair.agreement < 1 and abs(pair.agreement - verdict.agreement) < 0.02
    text = as_markdown(quantized, EASY, 'tiny.onnx')
    _, _, section = text.partition('## INT8 with FP16 beside it, as engines have it\n\n')
    assert section.startswith('**Passed** (gate:')
    assert f'| nothing | {pair.agreement:.4f} |' in section
    assert as_json(quantized, EASY)['int8_fp16']['agreement_miou'] == pair.agreement


def spoil_pairs(monkeypatch: pytest.MonkeyPatch, unless: str) -> None:
    """Have INT8 with FP16 beside it give nothing, unless the layer of a tensor is FP32."""

    def spoiled(model: Any, single: Collection[str] = ()) -> Any:
        quantized = any(node.op_type == 'QuantizeLinear' for node in model.graph.node)
        model = round_to_half(model, single)
        if not quantized or unless in single:
            return model
        model = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
                zeros = np.zeros(tensor.dims, np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
        return model

    monkeypatch.setattr(half_precision, 'round_to_half', spoiled)


@pytest.mark.parametrize(
    ('needed', 'steps'),
    [
        ('logits', [(), ('/decode_head/classify',)]),
        ('mended', [(), ('/decode_head/classify',), ('/decode_head/classify', 'fragile')]),
    ],
)
def test_int8_and_fp16_have_the_steps_that_fp16_has(
    tmp_path: Path,
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
    needed: str,
    steps: list[tuple[str, ...]],
) -> None:
    spoil_pairs(monkeypatch, unless=needed)
    path = save_tiny(tmp_path / 'tiny.onnx', spoil=1.5)
    model = onnx.load(str(path))
    model.graph.node[-1].name = '/decode_head/classify'
    onnx.save(model, str(path))
    settings = QuantizationSettings(ranges='max', gate=Gate(agreement=0.8))
    quantized = quantize(load_model(path), unlabelled(samples), settings)
    half, pair, record = quantized.half, quantized.pair, quantized.record
    assert len(half.steps) == 1 and pair
    assert [step.single for step in pair.steps] == steps
    assert record.pair_passed and not record.single and needed in record.pair_single
    text = as_markdown(quantized, settings, 'tiny.onnx')
    _, _, section = text.partition('## INT8 with FP16 beside it, as engines have it\n\n')
    assert section.startswith(f'**Passed** with {len(steps[-1])} layers in FP32')
    assert section.count(' of 5 layers | ') == len(steps) - 1
    assert f'- `{steps[-1][-1]}`' in section
    numbers = as_json(quantized, settings)['int8_fp16']['steps']
    assert [tuple(step['fp32_layers']) for step in numbers] == steps
    int8 = quantized_path(path)
    onnx.save(quantized.model, str(int8))
    assert QuantizationRecord.of_model(int8) == record
    (chosen,) = choose_precision('auto', load_model(path), 87)
    assert chosen.half and chosen.single == record.pair_single


def test_int8_and_fp16_may_fail_together(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_pairs(monkeypatch, unless='nothing')
    spec = load_model(save_tiny(tmp_path / 'tiny.onnx'))
    quantized = quantize(spec, unlabelled(samples), EASY)
    assert not quantized.failures and not quantized.half.failures
    assert quantized.record.passed and quantized.record.half_passed
    assert not quantized.record.pair_passed
    text = as_markdown(quantized, EASY, 'tiny.onnx')
    assert '**Refused**: agreement with FP32 is 0.' in text
    assert 'engines have FP32 beside INT8' in text
    path = quantized_path(spec.path)
    onnx.save(quantized.model, str(path))
    assert QuantizationRecord.of_model(path) == quantized.record


def test_the_layer_that_costs_is_found_and_left_out(tmp_path: Path, samples: Samples) -> None:
    spec = load_model(save_tiny(tmp_path / 'fragile.onnx', spoil=300.0))
    quantized = quantize(spec, unlabelled(samples), EASY)
    assert quantized.first_verdict.agreement < 0.5
    assert quantized.costs[0].name == 'fragile'
    assert quantized.costs[0].error > 3 * quantized.costs[1].error
    assert quantized.excluded == ('fragile',)
    assert not quantized.failures and quantized.verdict.agreement > 0.9
    text = as_markdown(quantized, EASY, 'fragile.onnx')
    assert '**Passed** (gate: agreement of at least 0.9)' in text
    assert 'In floating point:\n\n- `fragile`' in text


def test_a_gate_that_nothing_passes_refuses_with_reasons(tmp_path: Path, samples: Samples) -> None:
    spec = load_model(save_tiny(tmp_path / 'fragile.onnx', spoil=300.0))
    strict = QuantizationSettings(ranges='max', gate=Gate(agreement=1.0))
    quantized = quantize(spec, unlabelled(samples), strict)
    assert quantized.failures[0].startswith('agreement with FP32 is 0.')
    assert 'fragile' in advice(quantized, strict)
    assert '--ranges percentile' in advice(quantized, strict)
    assert '--ranges entropy' in advice(quantized, QuantizationSettings())
    by_others = QuantizationSettings(ranges='entropy', backend='modelopt')
    assert '--ranges max' in advice(quantized, by_others)
    path = quantized_path(spec.path)
    onnx.save(quantized.model, str(path))
    assert QuantizationRecord.of_model(path) == quantized.record
    assert not quantized.record.passed and quantized.record.source == model_hash(spec.path)


def test_a_quantised_model_is_not_quantised_again(tmp_path: Path, samples: Samples) -> None:
    spec = load_model(save_tiny(tmp_path / 'tiny.onnx'))
    path = quantized_path(spec.path)
    onnx.save(quantize(spec, samples, EASY).model, str(path))
    with pytest.raises(QuantizationError, match='is quantised already'):
        quantize(load_model(path), samples, EASY)


@pytest.mark.parametrize('fewest', [0, 1, 2, 3, 5, 8])
def test_the_fewest_layers_are_left_out(fewest: int) -> None:
    names = tuple(f'layer{number}' for number in range(16))
    tried: list[int] = []

    def attempt(excluded: tuple[str, ...]) -> Attempt:
        tried.append(len(excluded))
        agreement = 1.0 if len(excluded) >= fewest else 0.5 + len(excluded) / 100
        return Attempt(excluded, None, GateResult(1, agreement, 1.0, {}))

    costs = [LayerCost(name, 1.0) for name in names]
    best = exclude_until_passed(costs, len(names) // 2, attempt, Gate())
    assert best.excluded == names[: max(fewest, 1)]
    assert len(tried) <= 7


def test_half_of_the_layers_is_the_most(tmp_path: Path) -> None:
    names = tuple(f'layer{number}' for number in range(10))

    def attempt(excluded: tuple[str, ...]) -> Attempt:
        return Attempt(excluded, None, GateResult(1, 0.1 * len(excluded) % 0.5, 1.0, {}))

    costs = [LayerCost(name, 1.0) for name in names]
    best = exclude_until_passed(costs, len(names) // 2, attempt, Gate())
    assert len(best.excluded) == 4 and best.verdict.agreement == 0.4
