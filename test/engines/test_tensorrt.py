"""The TensorRT engine on a GPU that is not there: versions, memory, order, faults."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import SURFACES, MakeMachine
from fake_gpu.cuda import LaunchError

from segformer_ros.cli import main
from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.engines import Engine, EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines import tensorrt as engine_module
from segformer_ros.engines.precision import Candidate
from segformer_ros.engines.trt import provision
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, ModelSpec, load_model_spec
from segformer_ros.overlay import blend
from tiny_models import HUGGINGFACE, OWN, TAO5, TAO6, Export, painting, save_network

SIZE = (64, 128)
VERSIONS = list(SURFACES)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return load_model_spec(save_network(tmp_path / 'palette.onnx', SIZE))


def frame(seed: int = 0, size: tuple[int, int] = (90, 160)) -> Frame:
    return Frame.from_array(painting(*size, seed=seed)[0])


def on_cpu(spec: ModelSpec, frames: list[Frame]) -> list[np.ndarray]:
    with create_engine(spec, 'openvino') as engine:
        return [result.labels for result in engine.segment(frames)]


def agreement(engine: Engine, frames: list[Frame]) -> float:
    wanted = on_cpu(engine.spec, frames)
    results = engine.segment(frames)
    return min(
        float((result.labels == labels).mean())
        for result, labels in zip(results, wanted, strict=True)
    )


@pytest.mark.parametrize('version', VERSIONS)
def test_every_version_segments_in_fp16(
    version: str, make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine(version, sm=53)
    with create_engine(spec, 'tensorrt') as engine:
        assert engine.facts()['precision'] == 'fp16'
        assert engine.facts()['layers'] == '1 fp16'
        assert engine.facts()['tensorrt'] == f'tensorrt {version}'
        assert agreement(engine, [frame(seed) for seed in range(3)]) > 0.99


@pytest.mark.parametrize('version', VERSIONS)
def test_each_version_is_called_as_it_wants_it(
    version: str, make_machine: MakeMachine, spec: ModelSpec
) -> None:
    tensorrt = make_machine(version, sm=53).tensorrt
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()])
    flags = tensorrt.surface.network_flags
    explicit = int('EXPLICIT_BATCH' in flags)
    strong = 1 << flags.index('STRONGLY_TYPED') if version.startswith('11') else 0
    assert tensorrt.called('create_network') == [(explicit | strong,)]
    assert ('TF32',) in tensorrt.called('clear_flag')
    assert tensorrt.called('set_flag') == ([] if strong else [('FP16',)])
    assert tensorrt.called('set_timing_cache') == [(b'',)]
    old = version.startswith('8.2')
    limit = 'max_workspace_size' if old else 'set_memory_pool_limit'
    assert tensorrt.called(limit) == [(1 << 30,)]
    run, shape = (
        ('execute_async_v2', 'set_binding_shape')
        if old
        else ('execute_async_v3', 'set_input_shape')
    )
    assert (1, 3, *SIZE) in {call[0] for call in tensorrt.called(shape)}
    assert tensorrt.called(run)[0] == ((1, 3, *SIZE),)
    names = [entry[0] for entry in tensorrt.journal]
    assert names.index('Builder') < names.index('build') < names.index('Runtime')


def test_a_build_is_kept_and_loaded_the_next_time(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    tensorrt = make_machine().tensorrt
    for _ in range(2):
        with create_engine(spec, 'tensorrt') as engine:
            engine.segment([frame()])
    assert len(tensorrt.called('build')) == 1
    assert len(tensorrt.called('Runtime')) == 2


def test_another_model_version_or_gpu_is_built_anew(
    make_machine: MakeMachine, spec: ModelSpec, tmp_path: Path
) -> None:
    other = load_model_spec(save_network(tmp_path / 'larger.onnx', (128, 128)))
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

    def fails_once(library: TensorRt, plan: bytes) -> object:
        return load(library, plan if next(loads) else b'rubbish')

    monkeypatch.setattr(TensorRt, 'load', fails_once)
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()])
    assert len(tensorrt.called('build')) == 2
    assert 'the cached engine is built again' in caplog.text


def test_frames_are_copied_once_each_way(make_machine: MakeMachine, spec: ModelSpec) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()], Wanted(confidence=True))
        pixels, labels = 90 * 160 * 3, -(-90 * 160 // 256) * 256
        assert engine.traffic == (pixels, -(-pixels // 256) * 256, 2 * labels)
        assert cuda.count('upload') == cuda.count('download') == 1


def test_an_integrated_gpu_copies_nothing(make_machine: MakeMachine, spec: ModelSpec) -> None:
    cuda = make_machine(integrated=True).cuda
    with create_engine(spec, 'tensorrt') as engine:
        assert agreement(engine, [frame(1), frame(2)]) > 0.99
        assert engine.traffic == (2 * 90 * 160 * 3, 0, 0)
        assert engine.facts()['memory'] == 'mapped'
    assert cuda.count('upload') == cuda.count('download') == 0


@pytest.mark.parametrize('integrated', [False, True])
def test_nothing_is_allocated_per_frame(
    make_machine: MakeMachine, spec: ModelSpec, integrated: bool
) -> None:
    cuda = make_machine(integrated=integrated).cuda
    with create_engine(spec, 'tensorrt') as engine:
        kept = engine.segment([frame(0)])
        engine.segment([frame(1)])
        before = cuda.count('mem_alloc') + cuda.count('pagelocked_empty')
        for seed in range(5):
            kept = engine.segment([frame(seed)])
        assert cuda.count('mem_alloc') + cuda.count('pagelocked_empty') <= before + 1
        del kept


def test_results_survive_the_engine(make_machine: MakeMachine, spec: ModelSpec) -> None:
    cuda = make_machine().cuda
    engine = create_engine(spec, 'tensorrt')
    engine.activate()
    result = engine.segment([frame()])[0]
    labels = result.labels.copy()
    engine.deactivate()
    np.testing.assert_array_equal(result.labels, labels)
    assert cuda.count('detach') == 0  # PyCUDA ends the context with the last memory of it
    del result
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()])
    assert cuda.count('detach') == 1


def test_many_kept_results_go_into_ordinary_memory(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        results = [engine.segment([frame(seed)])[0] for seed in range(40)]
        assert cuda.count('pagelocked_empty') < 20
        for seed in (0, 20, 39):
            again = engine.segment([frame(seed)])[0]
            np.testing.assert_array_equal(results[seed].labels, again.labels)


def test_the_network_runs_as_a_graph_from_the_second_time_on(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        for count in (1, 1, 3, 3, 1):
            assert agreement(engine, [frame(seed) for seed in range(count)]) > 0.99
    # At each batch: once to set up, once to capture, then as a graph.
    assert len(machine.tensorrt.called('execute_async_v3')) == 4
    assert machine.driver.launches == 3


def test_without_graphs_every_run_is_enqueued(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()
    monkeypatch.delattr(type(machine.driver), 'cuGraphInstantiateWithFlags')
    with create_engine(spec, 'tensorrt') as engine:
        assert agreement(engine, [frame()]) > 0.99
        assert agreement(engine, [frame()]) > 0.99
    assert len(machine.tensorrt.called('execute_async_v3')) == 2


def test_more_frames_than_the_batch_go_one_after_another(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    tensorrt = make_machine().tensorrt
    options = EngineOptions(max_batch=2)
    with create_engine(spec, 'tensorrt', options) as engine:
        sizes = [(90, 160), (37, 53), (64, 128), (10, 300), (128, 64)]
        frames = [frame(seed, size) for seed, size in enumerate(sizes)]
        assert agreement(engine, frames) > 0.98
        assert {call[0][0] for call in tensorrt.called('execute_async_v3')} == {1, 2}


def test_an_error_of_the_gpu_drops_the_frame(make_machine: MakeMachine, spec: ModelSpec) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        cuda.faults.append(LaunchError('cuMemcpyDtoHAsync failed: out of memory'))
        with pytest.raises(EngineError, match='out of memory; the frame is dropped'):
            engine.segment([frame()])
        assert agreement(engine, [frame()]) > 0.99
    assert cuda.count('make_context') == 1


def test_a_lost_context_is_made_anew_after_a_pause(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = make_machine().cuda
    now = [100.0]
    monkeypatch.setattr(engine_module, 'monotonic', lambda: now[0])
    with create_engine(spec, 'tensorrt') as engine:
        cuda.faults.append(LaunchError('cuEventSynchronize failed: an illegal memory access'))
        with pytest.raises(EngineError, match='context is lost and is made anew in 1 s'):
            engine.segment([frame()])
        assert engine.facts()['state'] == 'GPU context lost'
        with pytest.raises(EngineError, match=r'context is lost; next attempt in 1\.0 s'):
            engine.segment([frame()])
        now[0] += 1.5
        with monkeypatch.context() as gone:
            gone.setattr(engine_module, 'select_gpu', _no_gpu)
            with pytest.raises(EngineError, match='could not be made anew.*next attempt in 2 s'):
                engine.segment([frame()])
        now[0] += 2.5
        assert agreement(engine, [frame()]) > 0.99
        assert 'state' not in engine.facts()


def _no_gpu(index: int) -> None:
    raise EngineError('cuInit failed with CUDA error 100')


def test_out_of_memory_halves_the_workspace(make_machine: MakeMachine, spec: ModelSpec) -> None:
    tensorrt = make_machine().tensorrt
    tensorrt.memory = 300 << 20
    with create_engine(spec, 'tensorrt') as engine:
        assert 'workspace 256 MiB' in engine.facts()['build']
    assert tensorrt.called('build') == [(1024 << 20,), (512 << 20,), (256 << 20,)]


def test_out_of_memory_for_good_says_what_would_fit(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine(sm=60).tensorrt.memory = 1 << 20
    with pytest.raises(
        EngineError, match='even with a workspace of 64 MiB .*OutOfMemory.*what would fit:.*max_b'
    ):
        create_engine(spec, 'tensorrt').activate()


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
    asked = ['build', str(spec.path), '--build-only', '--out', str(out), '--precision', 'fp16']
    tensorrt = make_machine().tensorrt
    assert main(asked) == 0
    assert '1 fp16' in capsys.readouterr().out and out.read_bytes().startswith(b'ptrt')
    assert not list((tmp_path / 'cache').glob('*.engine'))
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
    (cached,) = (tmp_path / 'cache').glob('*.engine')
    data = cached.read_bytes()
    plan = tmp_path / 'model.engine'
    plan.write_bytes(data[data.index(b'ptrt') :])
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
    spec = load_model_spec(save_network(tmp_path / 'tao6.onnx', SIZE, TAO6))
    with create_engine(spec, 'tensorrt') as engine:
        expected = engine.segment([frame()])[0].labels
    (cached,) = (tmp_path / 'cache').glob('*.engine')
    data = cached.read_bytes()
    plan = tmp_path / 'alone' / 'model.engine'
    plan.parent.mkdir()
    plan.write_bytes(data[data.index(b'ptrt') :])
    plan.with_name('model.engine.yaml').write_text(f'contract: tao6\nsize: {list(SIZE)}\n')
    alone = load_model_spec(plan)
    with create_engine(alone, 'tensorrt') as engine:
        assert (engine.segment([frame()])[0].labels == expected).all()
    assert len(tensorrt.called('build')) == 1
    plan.write_bytes(bytes(1000))
    with pytest.raises(EngineError, match='magicTagRead failed'):
        create_engine(alone, 'tensorrt').activate()
    with pytest.raises(EngineError, match='is a built engine, which runs on a GPU alone; give'):
        create_engine(alone, 'openvino')


def test_an_engine_of_another_model_is_refused(
    make_machine: MakeMachine, spec: ModelSpec, tmp_path: Path
) -> None:
    make_machine()
    labels = load_model_spec(
        save_network(tmp_path / 'tao5.onnx', SIZE, TAO5),
        parameters=Declared(mean=TAO5.mean, std=TAO5.std, color='rgb'),
    )
    create_engine(labels, 'tensorrt').activate()
    (cached,) = (tmp_path / 'cache').glob('*.engine')
    data = cached.read_bytes()
    plan = tmp_path / 'model.engine'
    plan.write_bytes(data[data.index(b'ptrt') :])
    with pytest.raises(EngineError, match='gives int64 values, which are no logits; it was not'):
        create_engine(replace(spec, engine_file=plan), 'tensorrt').activate()


def test_fastest_times_both_and_takes_one(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    monkeypatch.setattr(
        provision,
        'choose_precision',
        lambda wanted, spec, sm: (
            Candidate('fp32', spec.path, 'first'), Candidate('fp16', spec.path, 'second')
        ),
    )  # fmt: skip
    with create_engine(spec, 'tensorrt', EngineOptions(precision='fastest')) as engine:
        reason = engine.facts()['precision reason']
        assert reason.startswith('fastest here: fp32 ') and 'fp16 ' in reason
        assert agreement(engine, [frame()]) > 0.99


def test_a_gpu_that_does_not_exist_is_named(make_machine: MakeMachine, spec: ModelSpec) -> None:
    make_machine()
    with pytest.raises(EngineError, match=r'no GPU 3 on this machine; there is 0: Test GPU'):
        create_engine(spec, 'tensorrt', EngineOptions(device=3)).activate()


@pytest.mark.parametrize('integrated', [False, True])
def test_windows_are_cut_from_one_upload_and_run_in_batches(
    make_machine: MakeMachine, spec: ModelSpec, integrated: bool
) -> None:
    machine = make_machine(integrated=integrated)
    options = EngineOptions(inference='slide', slide_stride=48, max_batch=4)
    with create_engine(spec, 'tensorrt', options) as engine:
        large = frame(0, (160, 300))  # 3 x 5 windows
        engine.segment([large])
        engine.segment([large])
        before = machine.cuda.count('mem_alloc') + machine.cuda.count('pagelocked_empty')
        engine.segment([large])
        assert machine.cuda.count('mem_alloc') + machine.cuda.count('pagelocked_empty') == before
        assert engine.traffic.host == 160 * 300 * 3
        assert engine.traffic.upload == (0 if integrated else 256 * -(-160 * 300 * 3 // 256))
    # Four at a time and the last three: each batch size once to set up, once to capture.
    shapes = [call[0][0] for call in machine.tensorrt.called('execute_async_v3')]
    assert sorted(set(shapes)) == [3, 4] and len(shapes) == 4
    assert machine.cuda.journal.count(('launch', 'segformer_mosaic')) == 3 * 4


@pytest.mark.parametrize('integrated', [False, True])
@pytest.mark.parametrize('export', [OWN, TAO5], ids=['logits', 'labels'])
def test_overlay_and_blocked_rows_come_with_the_labels(
    make_machine: MakeMachine, tmp_path: Path, integrated: bool, export: Export
) -> None:
    make_machine(sm=50, integrated=integrated)
    spec = load_model_spec(
        save_network(tmp_path / 'model.onnx', SIZE, export),
        parameters=Declared(mean=export.mean, std=export.std, color=export.color),
    )
    frames = [frame(1), frame(2, (37, 53)), frame(3)]
    palette, free = spec.class_map.palette_bgr, (0, 1, 2, 8)
    with create_engine(spec, 'tensorrt', EngineOptions(max_batch=2)) as engine:
        results = engine.segment(frames, Wanted(True, overlay=0.3, drivable=free))
        for result, source in zip(results, frames, strict=True):
            assert result.overlay is not None and result.blocked is not None
            wanted = blend(source.bgr(), result.labels, palette, 0.3)
            assert np.abs(result.overlay.astype(int) - wanted).max() <= 1
            starts = np.full(source.width, source.height - 1)
            rows = first_blocked_rows(result.labels, IdSet(free), starts)
            np.testing.assert_array_equal(result.blocked.rows, rows)
            assert result.blocked.drivable == free
        small = engine.segment(frames[:1], Wanted(size=(45, 80), overlay=0.3, drivable=free))[0]
        assert small.overlay is None  # it belongs on the frame
        assert small.blocked is not None and small.blocked.rows.shape == (80,)
        plain = engine.segment(frames[:1])[0]
        assert plain.overlay is None and plain.blocked is None


@pytest.mark.parametrize(
    'export',
    [
        TAO5,
        TAO6,
        HUGGINGFACE,
        replace(TAO5, output='int32', output_layout='NHWC', batch=1),
        replace(HUGGINGFACE, output='softmax', batch=2),
        replace(TAO6, layout='NHWC'),
    ],
    ids=['tao5', 'tao6', 'huggingface', 'int32', 'softmax', 'nhwc'],
)
def test_every_contract_comes_through(
    make_machine: MakeMachine, tmp_path: Path, export: Export
) -> None:
    make_machine(sm=50)
    spec = load_model_spec(
        save_network(tmp_path / 'other.onnx', SIZE, export),
        parameters=Declared(mean=export.mean, std=export.std, color='rgb'),
    )
    with create_engine(spec, 'tensorrt') as engine:
        assert agreement(engine, [frame(1), frame(2), frame(3)]) > 0.99
