# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The automatic choice of an engine, and what it says of those it passed over."""

from __future__ import annotations

import re

import pytest
from fake_gpu import MakeMachine

from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines.cuda import driver
from segformer_ros.engines.openvino import OpenVinoEngine
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from tiny_models import painting


@pytest.fixture
def frame() -> Frame:
    return Frame.from_array(painting(64, 128)[0])


def no_driver() -> None:
    raise EngineError('no NVIDIA driver on this machine')


def test_a_gpu_is_taken_where_there_is_one(
    make_machine: MakeMachine, spec: ModelSpec, frame: Frame
) -> None:
    make_machine()
    with create_engine(spec, 'auto') as engine:
        facts = engine.facts()
        assert facts['engine'] == 'tensorrt' and 'passed over' not in facts
        engine.segment([frame])
        assert engine.traffic.upload > 0 and engine.memory > 0


def test_the_progress_of_a_build_is_passed_on(make_machine: MakeMachine, spec: ModelSpec) -> None:
    make_machine()
    told: list[tuple[str, int, int]] = []
    engine = create_engine(spec, 'auto')
    engine.progress = lambda phase, step, steps: told.append((phase, step, steps))
    with engine:
        assert told[0] == ('Building engine', 0, 2) and told[-1] == ('Building engine', 2, 2)


def test_without_a_gpu_the_cpu_is_taken_and_the_reason_told(
    spec: ModelSpec, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, 'load_driver', no_driver)
    with create_engine(spec, 'auto') as engine:
        facts = engine.facts()
        assert facts['engine'] == 'openvino'
        assert facts['passed over'] == 'tensorrt: no NVIDIA driver on this machine'
        engine.segment([frame])
        assert engine.traffic == (0, 0, 0) and engine.memory == 0


def test_a_build_that_fails_falls_back_with_its_reason(
    make_machine: MakeMachine,
    spec: ModelSpec,
    frame: Frame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = make_machine()
    machine.tensorrt.silent = True
    with create_engine(spec, 'auto') as engine:
        assert 'fp16 was asked for' in engine.facts()['passed over']
        engine.segment([frame])
    assert 'engine openvino is used; not tensorrt: fp16 was asked for' in caplog.text
    assert machine.cuda.count('detach') == 1  # nothing is left on the GPU


@pytest.mark.parametrize('kind', ['Builder', 'Runtime'])
def test_a_library_that_makes_nothing_falls_back(
    make_machine: MakeMachine, spec: ModelSpec, kind: str
) -> None:
    make_machine().tensorrt.unmakeable = {kind}
    words = f'tensorrt 10.3.0 made no {kind} .CUDA initialization failure: 35.; check that'
    with create_engine(spec, 'auto') as engine:
        assert engine.facts()['engine'] == 'openvino'
        assert re.search(words, engine.facts()['passed over'])
    with pytest.raises(EngineError, match=words):
        create_engine(spec, 'tensorrt').activate()


def test_an_error_of_any_kind_falls_back(
    make_machine: MakeMachine, spec: ModelSpec, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()

    def fail(*arguments: object) -> None:
        raise RuntimeError('cublas64 is not there')

    monkeypatch.setattr(TensorRt, 'parse', fail)
    with create_engine(spec, 'auto') as engine:
        assert engine.facts()['passed over'] == 'tensorrt: RuntimeError: cublas64 is not there'
        engine.segment([frame])
    assert machine.cuda.count('detach') == 1  # nothing is left on the GPU


def test_an_engine_that_is_named_does_not_fall_back(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, 'load_driver', no_driver)
    with pytest.raises(EngineError, match='no NVIDIA driver'):
        create_engine(spec, 'tensorrt').activate()


@pytest.mark.parametrize('precision', ['fp16', 'fastest'])
def test_a_precision_of_gpus_alone_does_not_keep_the_cpu_away(
    spec: ModelSpec,
    frame: Frame,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    precision: str,
) -> None:
    monkeypatch.setattr(driver, 'load_driver', no_driver)
    with create_engine(spec, 'auto', EngineOptions(precision=precision)) as engine:
        facts = engine.facts()
        assert facts['engine'] == 'openvino' and facts['precision'] == 'fp32'
        words = f'{precision} was asked for, which openvino does not have'
        assert facts['precision reason'] == words
        engine.segment([frame])
    assert f'precision {words}, so that its own choice is used' in caplog.text


def test_a_precision_of_the_cpu_alone_is_kept(make_machine: MakeMachine, spec: ModelSpec) -> None:
    make_machine()
    options = EngineOptions(precision='bf16')
    with create_engine(spec, 'openvino', options) as engine:
        reason = engine.facts().get('precision reason')  # a CPU without bfloat16
    with create_engine(spec, 'auto', options) as engine:
        assert engine.facts()['engine'] == 'openvino'
        assert engine.facts().get('precision reason') == reason


def test_where_none_can_run_all_reasons_are_told(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(engine: OpenVinoEngine) -> None:
        raise EngineError('no OpenVINO either')

    monkeypatch.setattr(driver, 'load_driver', no_driver)
    monkeypatch.setattr(OpenVinoEngine, 'activate', fail)
    with pytest.raises(
        EngineError, match='tensorrt: no NVIDIA driver.*; openvino: no OpenVINO either'
    ):
        create_engine(spec, 'auto').activate()


def test_an_engine_that_is_not_active_says_so(spec: ModelSpec, frame: Frame) -> None:
    engine = create_engine(spec, 'auto')
    engine.deactivate()
    assert engine.facts() == {'engine': 'auto', 'model': str(spec.path)}
    with pytest.raises(EngineError, match="engine 'auto' is not active"):
        engine.segment([frame])
