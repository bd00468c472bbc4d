# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Where the engine comes from: the cache, a build, or a file beside the model."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_rig import SIZE, agreement, frame
from fake_gpu import MAGIC, MakeMachine

from segformer_ros.cli.main import main
from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.engines.precision import Candidate
from segformer_ros.engines.trt import engine_loading
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.model import Declared, ModelSpec, load_model
from segformer_ros.model.onnx_network import tensorrt_network
from tiny_models import HUGGINGFACE, TAO5, save_network


def kept_plan(cache: Path) -> bytes:
    """The one engine in a cache folder, without what the cache puts before it."""
    (entry,) = cache.glob('*.engine')
    data = entry.read_bytes()
    return data[data.index(MAGIC) :]


def test_a_build_is_kept_and_loaded_the_next_time(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    tensorrt = make_machine().tensorrt
    for whence in ('built now', 'from the cache'):
        with create_engine(spec, 'tensorrt') as engine:
            engine.segment([frame()])
            assert engine.facts()['kept in'].endswith(f'.engine, {whence}')
    assert len(tensorrt.called('build')) == 1
    assert len(tensorrt.called('Runtime')) == 2


def test_another_model_version_or_gpu_is_built_anew(
    make_machine: MakeMachine, spec: ModelSpec, tmp_path: Path
) -> None:
    other = load_model(save_network(tmp_path / 'larger.onnx', (128, 128)))
    builds = 0
    for version, sm, model in (
        ('10.3.0', 87, spec), ('10.3.0', 87, other), ('10.13.2.6', 87, spec), ('10.3.0', 72, spec)
    ):  # fmt: skip
        tensorrt = make_machine(version, sm=sm).tensorrt
        with create_engine(model, 'tensorrt'):
            builds += len(tensorrt.called('build'))
    assert builds == 4


def test_an_engine_of_the_cache_that_does_not_load_is_built_again(
    make_machine: MakeMachine,
    spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tensorrt = make_machine().tensorrt
    create_engine(spec, 'tensorrt').activate()
    loads = iter([False, True])
    load = TensorRt.load

    def fails_once(library: TensorRt, plan: bytes, dla_core: int) -> object:
        return load(library, plan if next(loads) else b'rubbish', dla_core)

    monkeypatch.setattr(TensorRt, 'load', fails_once)
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()])
    assert len(tensorrt.called('build')) == 2
    assert 'the cached engine is built again' in caplog.text


@pytest.mark.parametrize(
    ('cameras', 'asked'),
    [(1, []), (3, ['--max-batch', '3']), (MAX_BATCH + 4, ['--max-batch', str(MAX_BATCH)])],
)
def test_a_node_finds_what_was_built_for_its_cameras(
    make_machine: MakeMachine, spec: ModelSpec, cameras: int, asked: list[str]
) -> None:
    tensorrt = make_machine().tensorrt
    assert main(['build', str(spec.path), *asked]) == 0
    with create_engine(spec, 'auto', EngineOptions(max_batch=cameras)) as engine:
        assert engine.facts()['engine'] == 'tensorrt'
    assert len(tensorrt.called('build')) == 1


def test_an_engine_that_is_silently_fp32_is_refused(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine().tensorrt.silent = True
    with pytest.raises(EngineError, match=r'fp16 was asked for, but .* no such layer \(1 fp32\)'):
        create_engine(spec, 'tensorrt', EngineOptions(precision='fp16')).activate()


def test_a_build_into_a_file_is_read_back_too(
    make_machine: MakeMachine,
    spec: ModelSpec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'model.engine'
    asked = ['build', str(spec.path), '--build-only', '--out', str(out), '--max-batch', '4']
    asked += ['--precision', 'fp16']
    tensorrt = make_machine().tensorrt
    assert main(asked) == 0
    assert '1 fp16' in capsys.readouterr().out and out.read_bytes().startswith(MAGIC)
    assert not list((tmp_path / 'cache').glob('*.engine'))
    # It runs as it lies there.
    timed = ['benchmark', '--model', str(out), '--seconds', '0', '--frame-size', '160x90']
    assert main([*timed, '--engine', 'tensorrt', '--batch', '1,4']) == 0
    assert f'engine file: {out}' in capsys.readouterr().out
    # Its profile ends at 4 frames.
    assert main([*timed, '--engine', 'auto', '--batch', '2,8']) == 2
    error = capsys.readouterr().err
    assert 'batch 8 is above the 4 frames that this engine runs at once; build it' in error
    with (
        create_engine(load_model(out), 'tensorrt') as engine,
        create_engine(spec, 'openvino') as other,
    ):
        labels, expected = (one.segment([frame()])[0].labels for one in (engine, other))
        assert (labels == expected).mean() > 0.99
    assert len(tensorrt.called('build')) == 1
    out.unlink()
    tensorrt.silent = True
    assert main(asked) == 2
    assert 'fp16 was asked for, but the engine built has no such' in capsys.readouterr().err
    assert not out.exists()
    assert main([*asked, '--device', '3']) == 2
    assert 'no GPU 3 on this machine; there is 0: Test GPU' in capsys.readouterr().err


def test_an_engine_file_beside_the_model_is_used(
    make_machine: MakeMachine, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensorrt = make_machine().tensorrt
    create_engine(spec, 'tensorrt').activate()
    plan = tmp_path / 'model.engine'
    plan.write_bytes(kept_plan(tmp_path / 'cache'))
    named = replace(spec, engine_file=plan)
    with create_engine(named, 'tensorrt') as engine:
        assert engine.facts()['engine file'] == str(plan)
        assert agreement(engine, [frame()]) > 0.99
    assert len(tensorrt.called('build')) == 1
    caplog.set_level(logging.WARNING)
    # Of another kind, or cut: the ONNX beside it is built.
    for contents, words in ((b'x' * 1000, 'magicTagRead'), (plan.read_bytes()[:-99], 'stdSize')):
        plan.write_bytes(contents)
        with create_engine(named, 'tensorrt') as engine:
            assert agreement(engine, [frame()]) > 0.99
        assert f'{words} failed.; an engine is built from' in caplog.text


def test_an_engine_without_its_onnx_runs_as_its_sidecar_says(
    make_machine: MakeMachine, tmp_path: Path
) -> None:
    tensorrt = make_machine().tensorrt
    spec = load_model(save_network(tmp_path / 'hf.onnx', SIZE, HUGGINGFACE))
    with create_engine(spec, 'tensorrt') as engine:
        expected = engine.segment([frame()])[0].labels
    plan = tmp_path / 'alone' / 'model.engine'
    plan.parent.mkdir()
    plan.write_bytes(kept_plan(tmp_path / 'cache'))
    plan.with_name('model.engine.yaml').write_text(f'contract: huggingface\nsize: {list(SIZE)}\n')
    alone = load_model(plan)
    with create_engine(alone, 'tensorrt') as engine:
        assert (engine.segment([frame()])[0].labels == expected).all()
    assert len(tensorrt.called('build')) == 1
    plan.write_bytes(bytes(1000))
    with pytest.raises(
        EngineError,
        match=rf'{plan}: .*magicTagRead failed.*; build it from its ONNX on this machine',
    ):
        create_engine(alone, 'tensorrt').activate()
    with pytest.raises(EngineError, match='is a built engine, which runs on a GPU alone; give'):
        create_engine(alone, 'openvino')


@pytest.mark.parametrize(('built', 'asked'), [('fp32', 'fp16'), ('fp16', 'fp32')])
def test_an_engine_file_of_another_precision_is_not_used(
    make_machine: MakeMachine,
    spec: ModelSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    built: str,
    asked: str,
) -> None:
    make_machine()
    create_engine(spec, 'tensorrt', EngineOptions(precision=built)).activate()
    plan = tmp_path / 'model.engine'
    plan.write_bytes(kept_plan(tmp_path / 'cache'))
    named = replace(spec, engine_file=plan)
    for wanted, precision in (('auto', 'as built'), (built, built), (asked, asked)):
        with create_engine(named, 'tensorrt', EngineOptions(precision=wanted)) as engine:
            assert engine.facts()['precision'] == precision
            assert ('engine file' in engine.facts()) == (wanted != asked)
    assert f'{asked} was asked for, but the engine built has no such layer' in caplog.text
    alone = replace(tensorrt_network(spec).spec, path=plan, engine_file=plan)
    with pytest.raises(EngineError, match=rf'model.engine: {asked} was asked for, but'):
        create_engine(alone, 'tensorrt', EngineOptions(precision=asked)).activate()


def test_an_engine_of_another_model_is_refused(
    make_machine: MakeMachine, spec: ModelSpec, tmp_path: Path
) -> None:
    make_machine()
    labels = load_model(
        save_network(tmp_path / 'tao5.onnx', SIZE, TAO5),
        parameters=Declared(mean=TAO5.mean, std=TAO5.std, color='rgb'),
    )
    create_engine(labels, 'tensorrt').activate()
    plan = tmp_path / 'model.engine'
    plan.write_bytes(kept_plan(tmp_path / 'cache'))
    alone = replace(tensorrt_network(spec).spec, path=plan, engine_file=plan)
    with pytest.raises(EngineError, match='gives int64 values, not logits; it was not'):
        create_engine(alone, 'tensorrt').activate()


@pytest.mark.parametrize('size', [(32, 64), (128, 256), (SIZE[1], SIZE[0])])
def test_an_engine_of_another_size_is_not_used(
    make_machine: MakeMachine,
    spec: ModelSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    size: tuple[int, int],
) -> None:
    make_machine()
    other = load_model(save_network(tmp_path / 'other.onnx', size))
    create_engine(other, 'tensorrt').activate()
    plan = tmp_path / 'model.engine'
    plan.write_bytes(kept_plan(tmp_path / 'cache'))
    # Beside its ONNX, that is built; alone there is nothing to run.
    with create_engine(replace(spec, engine_file=plan), 'tensorrt') as engine:
        assert agreement(engine, [frame()]) > 0.99
    words = f'C 3, H {SIZE[0]}, W {SIZE[1]}; it was not built from this model; an engine is built'
    assert words in caplog.text
    alone = replace(tensorrt_network(spec).spec, path=plan, engine_file=plan)
    with pytest.raises(EngineError, match=r"model\.engine: the engine takes 'image' as \("):
        create_engine(alone, 'tensorrt').activate()


def test_fastest_times_both_and_takes_one(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    monkeypatch.setattr(
        engine_loading,
        'choose_precision',
        lambda wanted, spec, sm: (
            Candidate('fp32', spec.path, 'first'), Candidate('fp16', spec.path, 'second')
        ),
    )  # fmt: skip
    with create_engine(spec, 'tensorrt', EngineOptions(precision='fastest')) as engine:
        reason = engine.facts()['precision reason']
        assert reason.startswith('fastest here: fp32 ') and 'fp16 ' in reason
        assert agreement(engine, [frame()]) > 0.99


def test_a_build_into_a_file_is_for_the_gpu_that_is_named(
    make_machine: MakeMachine, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()
    machine.driver.count = 2
    contexts: list[list[int]] = []
    build = TensorRt.build

    def build_there(library: TensorRt, *arguments: Any) -> bytes | None:
        contexts.append(list(machine.driver.contexts))
        return build(library, *arguments)

    monkeypatch.setattr(TensorRt, 'build', build_there)
    out = tmp_path / 'model.engine'
    asked = ['build', str(spec.path), '--build-only', '--out', str(out), '--device', '1']
    assert main(asked) == 0
    assert contexts == [[2]] and machine.driver.contexts == []


def test_an_engine_of_a_gpu_of_the_same_name_is_built_anew(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    """Every Jetson with an Orin calls it 'Orin', with 8 multiprocessors or 16."""
    for processors in (16, 8):
        machine = make_machine()
        machine.driver.set_processors(processors)
        with create_engine(spec, 'tensorrt'):
            assert len(machine.tensorrt.called('build')) == 1
