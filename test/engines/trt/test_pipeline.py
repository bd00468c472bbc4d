# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The pipeline: what is copied, what is allocated, and in which batches it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_rig import SIZE, agreement, frame
from fake_gpu import FakeCuda, MakeMachine

from segformer_ros.drawing.overlay import blend
from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.engines.trt.pipeline import SLOTS
from segformer_ros.model import Declared, ModelSpec, load_model
from tiny_models import OWN, TAO5, Export, save_network


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


def test_a_stream_keeps_the_next_batch_under_way(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt', EngineOptions(max_batch=2)) as engine:
        outcomes = Supervisor(engine).stream(frame(seed) for seed in range(7))
        next(outcomes)
        assert cuda.count('upload') == 2, 'the second batch, before the first was taken'
        assert _in_flight(cuda) > 0
        next(outcomes)
        next(outcomes)
        assert cuda.count('upload') == 3
        outcomes.close()
        assert _in_flight(cuda) == 0, 'the engine is free for others'
        assert agreement(engine, [frame(seed) for seed in range(5)]) > 0.99


def _in_flight(cuda: FakeCuda) -> int:
    return sum(len(stream.queue) for stream in cuda.streams.values())


def test_traffic_is_that_of_the_frames_taken(make_machine: MakeMachine, spec: ModelSpec) -> None:
    make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        small, large = engine.start([frame(0)]), engine.start([frame(0, (180, 160))])
        small()
        assert engine.traffic.host == 90 * 160 * 3
        large()
        assert engine.traffic.host == 180 * 160 * 3


def test_results_that_are_never_taken_cost_one_call(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        for seed in range(SLOTS):
            engine.start([frame(seed)])
        with pytest.raises(EngineError, match='frames started before were never taken'):
            engine.segment([frame()])
        assert agreement(engine, [frame(1), frame(2)]) > 0.99


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
    # Four at a time and the last three.
    shapes = [call[0][0] for call in machine.tensorrt.called('execute_async_v3')]
    assert shapes == 3 * [4, 4, 4, 3]
    assert machine.cuda.journal.count(('launch', 'segformer_mosaic')) == 3 * 4


@pytest.mark.parametrize('integrated', [False, True])
@pytest.mark.parametrize('export', [OWN, TAO5], ids=['logits', 'labels'])
def test_overlay_and_blocked_rows_come_with_the_labels(
    make_machine: MakeMachine, tmp_path: Path, integrated: bool, export: Export
) -> None:
    make_machine(sm=50, integrated=integrated)
    spec = load_model(
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
