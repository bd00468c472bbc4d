"""From a model and frames to an INT8 model, its gate, and the command that makes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_segformer import save_tiny

from segformer_ros.cli import main
from segformer_ros.engines.precision import GATE, choose_precision, quantized_path
from segformer_ros.model import load_model_spec
from segformer_ros.quantization import (
    Gate,
    QuantizationError,
    Samples,
    Settings,
    Verdict,
    quantize,
)
from segformer_ros.quantization.report import advice, as_markdown
from segformer_ros.quantization.selection import Selection
from segformer_ros.quantization.sensitivity import Attempt, LayerCost, exclude_until_passed
from segformer_ros.quantization.simulation import SimulatedEngine
from segformer_ros.sources import open_source

EASY = Settings(ranges='max', gate=Gate(agreement=0.9, loss=0.02))


def unlabelled(samples: Samples) -> Samples:
    parts = ([sample._replace(labels=None) for sample in part] for part in samples)
    return Samples(*parts)


def test_an_easy_model_passes_whole(tmp_path: Path, samples: Samples) -> None:
    spec = load_model_spec(save_tiny(tmp_path / 'tiny.onnx'))
    quantized = quantize(spec, samples, EASY)
    assert not quantized.failures and not quantized.excluded and not quantized.costs
    verdict = quantized.verdict
    assert verdict.frames == 4
    assert verdict.miou_fp32 is not None and verdict.miou_fp32 > 0.4
    assert verdict.loss is not None and abs(verdict.loss) < 0.02
    assert 0.9 < verdict.agreement < 1 and verdict.pixel_agreement > 0.95


def test_the_layer_that_costs_is_found_and_left_out(tmp_path: Path, samples: Samples) -> None:
    spec = load_model_spec(save_tiny(tmp_path / 'fragile.onnx', spoil=300.0))
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
    spec = load_model_spec(save_tiny(tmp_path / 'fragile.onnx', spoil=300.0))
    strict = Settings(ranges='max', gate=Gate(agreement=1.0))
    quantized = quantize(spec, unlabelled(samples), strict)
    assert quantized.failures[0].startswith('agreement with FP32 is 0.')
    assert 'fragile' in advice(quantized) and '--ranges entropy' in advice(quantized)
    gate = [entry.value for entry in quantized.model.metadata_props if entry.key == GATE]
    assert gate == ['failed']


def test_a_quantised_model_is_not_quantised_again(tmp_path: Path, samples: Samples) -> None:
    spec = load_model_spec(save_tiny(tmp_path / 'tiny.onnx'))
    path = quantized_path(spec.path)
    onnx.save(quantize(spec, samples, EASY).model, str(path))
    with pytest.raises(QuantizationError, match='is quantised already'):
        quantize(load_model_spec(path), samples, EASY)


@pytest.mark.parametrize('fewest', [0, 1, 2, 3, 5, 8])
def test_the_fewest_layers_are_left_out(fewest: int) -> None:
    names = tuple(f'layer{number}' for number in range(16))
    tried: list[int] = []

    def attempt(excluded: tuple[str, ...]) -> Attempt:
        tried.append(len(excluded))
        agreement = 1.0 if len(excluded) >= fewest else 0.5 + len(excluded) / 100
        return Attempt(excluded, None, Verdict(1, agreement, 1.0, {}))

    costs = [LayerCost(name, 1.0) for name in names]
    best = exclude_until_passed(Selection(names, ()), costs, attempt, Gate())
    assert best.excluded == names[: max(fewest, 1)]
    assert len(tried) <= 7


def test_half_of_the_layers_is_the_most(tmp_path: Path) -> None:
    names = tuple(f'layer{number}' for number in range(10))

    def attempt(excluded: tuple[str, ...]) -> Attempt:
        return Attempt(excluded, None, Verdict(1, 0.1 * len(excluded) % 0.5, 1.0, {}))

    costs = [LayerCost(name, 1.0) for name in names]
    best = exclude_until_passed(Selection(names, ()), costs, attempt, Gate())
    assert len(best.excluded) == 4 and best.verdict.agreement == 0.4


def test_where_truth_is_known_it_decides() -> None:
    verdict = Verdict(8, 0.97, 0.99, {}, miou_fp32=0.70, miou=0.697)
    assert verdict.failures(Gate()) == []
    assert verdict.failures(Gate(loss=0.002)) == [
        'mean IoU falls by 0.30 points (0.2 may be lost)'
    ]
    unknown = Verdict(8, 0.97, 0.99, {})
    assert unknown.failures(Gate()) == ['agreement with FP32 is 0.9700 (at least 0.99 asked)']


def test_the_command_writes_model_and_report(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / 'tiny.onnx')
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images'), '--ranges', 'max']
    assert main([*asked, '--agreement', '0.9', '--frames', '8', '--held-out', '4', '--half']) == 0
    printed = capsys.readouterr()
    assert '**Passed**' in printed.out
    assert '4/4' in printed.err, 'a step of the bar for each frame that is judged by'
    assert printed.err.startswith('warning: only 8 frames to calibrate with and 4 to judge by')
    report = json.loads((tmp_path / 'tiny.int8.json').read_text())
    assert report['passed'] and report['result']['frames'] == 4
    assert report['layers'] == 5 and report['chained'] == ['resize', 'join']
    spec = load_model_spec(model)
    assert choose_precision('auto', spec, 87)[0].model == tmp_path / 'tiny.int8.onnx'
    frame = next(iter(open_source(pictures / 'images'))).frame
    assert frame is not None
    labels = []
    for name in ('tiny.onnx', 'tiny.int8.onnx', 'tiny.fp16.onnx', 'tiny.int8.fp16.onnx'):
        with SimulatedEngine(load_model_spec(tmp_path / name)) as engine:
            labels.append(engine.segment([frame])[0].labels)
    assert all(np.mean(other == labels[0]) > 0.95 for other in labels[1:])


def test_the_command_refuses_what_is_below_the_gate(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / 'fragile.onnx', spoil=300.0)
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images'), '--ranges', 'max']
    out = tmp_path / 'elsewhere' / 'small.int8.onnx'
    assert main([*asked, '--agreement', '1.0', '--half', '--out', str(out)]) == 2
    assert not list(tmp_path.glob('*.onnx.yaml')) and not list(out.parent.glob('*.onnx'))
    error = capsys.readouterr().err
    assert f'refused and not written: {out}: agreement with FP32 is' in error
    assert f'{out.with_name("small.fp16.onnx")}: agreement with FP32 is' in error
    assert main([*asked, '--agreement', '1.0']) == 2
    assert 'fp16' not in capsys.readouterr().err
    assert not (tmp_path / 'fragile.int8.onnx').exists()
    assert not json.loads((tmp_path / 'fragile.int8.json').read_text())['passed']


def test_a_refusal_leaves_no_earlier_model_in_use(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / 'fragile.onnx', spoil=3000.0)
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images'), '--ranges', 'max']
    assert main([*asked, '--agreement', '0.5']) == 0
    assert (tmp_path / 'fragile.int8.onnx').exists()
    assert main([*asked, '--agreement', '1.0']) == 2
    assert 'fragile.int8.onnx, of an earlier run' in capsys.readouterr().err
    assert not (tmp_path / 'fragile.int8.onnx').exists()
    # What was measured of FP16 is not forgotten with it.
    (choice,) = choose_precision('auto', load_model_spec(model), 87)
    assert choice.precision == 'fp32' and 'fragile.int8.json' in choice.reason


def test_each_is_refused_by_itself(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ['--calibrate', str(pictures / 'images'), '--ranges', 'max', '--half', '--agreement']
    fragile = save_tiny(tmp_path / 'fragile.onnx', spoil=300.0)
    (tmp_path / 'fragile.int8.fp16.onnx').write_bytes(b'of an earlier run')
    assert main(['quantize', str(fragile), *asked, '0.99']) == 2
    assert 'fragile.int8.onnx: agreement' in capsys.readouterr().err
    assert not list(tmp_path.glob('fragile.int8*.onnx'))
    assert load_model_spec(tmp_path / 'fragile.fp16.onnx').input_dtype == 'float32'

    large = save_tiny(tmp_path / 'large.onnx', spoil=3000.0)
    assert main(['quantize', str(large), *asked, '0.9']) == 2
    error = capsys.readouterr().err
    assert 'large.fp16.onnx: agreement' in error
    assert 'whose numbers end at 65504: beyond are stem; use fp32' in error
    assert not (tmp_path / 'large.fp16.onnx').exists()
    report = json.loads((tmp_path / 'large.int8.json').read_text())
    assert report['passed'] and not report['fp16']['passed']
    assert report['fp16']['overflowing'] == ['stem']
    (choice,) = choose_precision('auto', load_model_spec(large), 53)
    assert choice.precision == 'fp32' and 'in FP16 the model failed its gate' in choice.reason


def test_a_calibration_source_without_images_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / 'tiny.onnx')
    (tmp_path / 'empty').mkdir()
    assert main(['quantize', str(model), '--calibrate', str(tmp_path / 'empty')]) == 2
    assert 'segformer quantize: ' in capsys.readouterr().err
