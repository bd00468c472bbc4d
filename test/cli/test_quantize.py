# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer quantize: what it writes, refuses and removes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tiny_segformer import save_tiny

from segformer_ros.cli import quantize as command
from segformer_ros.cli.main import main
from segformer_ros.engines.precision import choose_precision
from segformer_ros.model import load_model
from segformer_ros.model.sidecar import quantized_path, sidecar_path, write_sidecar
from segformer_ros.quantization import quantizer
from segformer_ros.quantization.layer_selection import select_nodes
from segformer_ros.quantization.qdq import (
    activation_names,
    choose_limits,
    measure_ranges,
    quantize_nodes,
)
from segformer_ros.quantization.simulation import SimulatedEngine
from segformer_ros.recordings import open_source
from tiny_models import HUGGINGFACE, save_network, save_paintings


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder `images` of painted frames, and `labels` beside it."""
    return save_paintings(tmp_path)


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
    spec = load_model(model)
    assert choose_precision('auto', spec, 87)[0].model == tmp_path / 'tiny.int8.onnx'
    frame = next(iter(open_source(pictures / 'images'))).frame
    assert frame is not None
    labels = []
    for name in ('tiny.onnx', 'tiny.int8.onnx', 'tiny.fp16.onnx', 'tiny.int8.fp16.onnx'):
        with SimulatedEngine(load_model(tmp_path / name)) as engine:
            labels.append(engine.segment([frame])[0].labels)
    # ONNX Runtime before 1.24, Python 3.10's newest, rounds float16 to other INT8 steps.
    assert all(np.mean(other == labels[0]) > 0.85 for other in labels[1:])


def test_another_backend_is_judged_by_the_same_gate(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def quantized(model: Any, inputs: Any, method: str) -> Any:
        assert method == 'entropy' and next(inputs()).shape == (1, 32, 64, 3)
        nodes = select_nodes(model).all
        ranges = measure_ranges(model, activation_names(model, nodes), inputs())
        return quantize_nodes(model, nodes, choose_limits(ranges, 'max', 100.0))

    monkeypatch.setattr(quantizer, 'quantize_by_modelopt', quantized)
    monkeypatch.setattr(command, 'require_modelopt', lambda: None)
    model = save_tiny(tmp_path / 'fragile.onnx', spoil=300.0)
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images')]
    asked += ['--backend', 'modelopt', '--agreement']
    assert main([*asked, '0.9']) == 0
    report = json.loads((tmp_path / 'fragile.int8.json').read_text())
    assert (report['backend'], report['ranges']) == ('modelopt', 'entropy')
    assert report['passed'] and report['excluded'] == ['fragile']
    words = '5 layers with weights and 2 other nodes, chosen by nvidia-modelopt, ranges by entropy'
    assert words in capsys.readouterr().out
    assert main([*asked, '1.0']) == 2
    assert '--ranges max' in capsys.readouterr().err
    assert not (tmp_path / 'fragile.int8.onnx').exists()


def test_a_backend_that_is_missing_or_cannot_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_tiny(tmp_path / 'tiny.onnx')
    asked = ['quantize', str(model), '--calibrate', 'nowhere', '--backend', 'modelopt']
    assert main([*asked, '--ranges', 'percentile']) == 2
    told = '--ranges percentile is not to be had of --backend modelopt; use entropy or max'
    assert capsys.readouterr().err == f'segformer quantize: {told}\n'
    monkeypatch.setitem(sys.modules, 'modelopt', None)
    assert main(asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert '--backend modelopt needs nvidia-modelopt' in line
    assert "pip install 'segformer_ros[modelopt]'" in line


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
    (choice,) = choose_precision('auto', load_model(model), 87)
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
    assert load_model(tmp_path / 'fragile.fp16.onnx').input_dtype == 'float32'

    large = save_tiny(tmp_path / 'large.onnx', spoil=3000.0)
    proto = onnx.load(str(large))
    for node in proto.graph.node:  # with half of the layers, there is no room for others in FP32
        if node.name in ('fine', 'classify'):
            node.name = f'/decode_head/{node.name}'
    onnx.save(proto, str(large))
    assert main(['quantize', str(large), *asked, '0.9']) == 2
    error = capsys.readouterr().err
    assert 'large.fp16.onnx: agreement' in error
    assert 'whose numbers end at 65504: beyond are stem; use fp32' in error
    assert not (tmp_path / 'large.fp16.onnx').exists()
    report = json.loads((tmp_path / 'large.int8.json').read_text())
    assert report['passed'] and not report['fp16']['passed']
    assert report['fp16']['overflowing'] == ['stem']
    (choice,) = choose_precision('auto', load_model(large), 53)
    assert choice.precision == 'fp32' and 'in FP16 the model failed its gate' in choice.reason


def test_types_in_the_graph_have_the_fp32_layers_that_the_gate_needs(
    pictures: Path, tmp_path: Path
) -> None:
    model = save_tiny(tmp_path / 'large.onnx', spoil=3000.0)
    asked = ['--calibrate', str(pictures / 'images'), '--ranges', 'max', '--half']
    assert main(['quantize', str(model), *asked, '--agreement', '0.9']) == 0
    report = json.loads((tmp_path / 'large.int8.json').read_text())
    needed = [report[name]['steps'][0]['fp32_layers'] for name in ('fp16', 'int8_fp16')]
    assert needed[0] == [] and 'stem' in needed[1]
    for name in ('large.fp16.onnx', 'large.int8.fp16.onnx'):
        weights = [
            one for one in onnx.load(str(tmp_path / name)).graph.initializer if len(one.dims) > 3
        ]
        assert {one.data_type for one in weights} == {TensorProto.FLOAT, TensorProto.FLOAT16}, name


def test_what_a_sidecar_says_of_the_model_holds_for_its_int8_model(
    pictures: Path, tmp_path: Path
) -> None:
    model = save_network(tmp_path / 'theirs.onnx', export=HUGGINGFACE)
    sidecar_path(model).write_text('mean: [1, 2, 3]\nstd: [4, 5, 6]\ncolor: rgb\n')
    spec = load_model(model)
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images')]
    assert main([*asked, '--agreement', '0']) == 0
    made = load_model(quantized_path(model))
    assert (made.mean, made.std, made.color) == (spec.mean, spec.std, 'rgb')


def test_a_calibration_source_without_images_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / 'tiny.onnx')
    (tmp_path / 'empty').mkdir()
    assert main(['quantize', str(model), '--calibrate', str(tmp_path / 'empty')]) == 2
    assert 'segformer quantize: ' in capsys.readouterr().err


def test_a_built_engine_is_not_quantised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / 'tiny.engine'
    engine.write_bytes(b'x' * 1000)
    write_sidecar(load_model(save_tiny(tmp_path / 'tiny.onnx')), engine)
    assert main(['quantize', str(engine), '--calibrate', str(tmp_path)]) == 2
    assert f'{engine} is built already; give the ONNX' in capsys.readouterr().err
