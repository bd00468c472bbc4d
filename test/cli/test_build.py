# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer build: into the cache, into a file, or the ONNX alone."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from segformer_ros.cli.main import main
from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda import driver
from segformer_ros.model import load_model
from segformer_ros.model.sidecar import write_sidecar
from tiny_models import save_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_network(tmp_path / 'palette.onnx')


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise EngineError('no NVIDIA driver on this machine')

    monkeypatch.setattr(driver, 'load_driver', missing)


@pytest.mark.parametrize('typed', [False, True])
def test_the_onnx_for_tensorrt_is_written_with_its_sidecar(
    model: Path, tmp_path: Path, typed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'for_tensorrt.onnx'
    asked = ['build', str(model), '--onnx', str(out), '--precision', 'fp16']
    assert main(asked + ['--typed'] * typed) == 0
    assert 'image NCHW of 128x64' in capsys.readouterr().out
    assert load_model(out).input_dtype == 'float32'
    kinds = {tensor.data_type for tensor in onnx.load(str(out)).graph.initializer}
    assert kinds == {TensorProto.FLOAT16 if typed else TensorProto.FLOAT}


@pytest.mark.usefixtures('no_gpu')
@pytest.mark.parametrize(
    ('options', 'cure'),
    [([], ''), (['--build-only', '--out', 'x.engine'], '; --sm NN builds for a GPU')],
)
def test_without_a_gpu_it_is_said(
    model: Path, options: list[str], cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['build', str(model), *options]) == 2
    assert f'segformer build: no NVIDIA driver on this machine{cure}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--build-only'], '--build-only and --sm need --out FILE'),
        (['--sm', '86', '--out', 'x', '--precision', 'fastest'], 'fastest is found by timing'),
        (['--onnx', 'x.onnx', '--precision', 'int8'], 'precision int8 needs an INT8 model, and'),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    model: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['build', str(model), *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1


def test_an_engine_is_not_built_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / 'palette.engine'
    engine.write_bytes(b'x' * 1000)
    write_sidecar(load_model(model), engine)
    assert main(['build', str(engine), '--sm', '86', '--out', str(tmp_path / 'x.engine')]) == 2
    assert f'{engine} is built already; give the ONNX' in capsys.readouterr().err


def test_a_batch_above_that_of_the_model_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = onnx.load(str(model))
    for value in (*network.graph.input, *network.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(network, str(model))
    assert main(['build', str(model), '--max-batch', '4']) == 2
    assert f'{model} takes 2 frames at once, not 4; export it' in capsys.readouterr().err


def test_a_model_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['build', '/nowhere/model.onnx']) == 2
    assert '/nowhere/model.onnx' in capsys.readouterr().err
