# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The TensorRT engine after an error: nothing in flight, and nothing that outlives its context.

TensorRT frees device memory where its objects end; without their context that crashes the process.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from engine_rig import frame
from fake_gpu import MakeMachine
from fake_gpu.cuda import LaunchError, OutOfMemory

from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines import tensorrt as engine_module
from segformer_ros.engines.cuda.device import CudaDevice
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.engines.trt import network_runner, pipeline
from segformer_ros.engines.trt.builder import Layers
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec


def test_a_lost_context_outlives_its_engine(make_machine: MakeMachine, spec: ModelSpec) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        machine.cuda.faults.append(LaunchError('cuEventSynchronize failed: illegal memory access'))
        with pytest.raises(EngineError, match='context is lost'):
            engine.segment([frame()])
        assert machine.cuda.count('detach') == 1
        assert machine.cuda.late == []


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Python looks for nothing that refers to itself; what does is there until the test ends."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_lost_context_ends_once_its_results_are_forgotten(
    make_machine: MakeMachine, spec: ModelSpec, no_collection: None
) -> None:
    """PyCUDA frees page-locked memory in the thread of its context alone: the engine's."""
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        kept = engine.segment([frame(1)])
        labels = kept[0].labels.copy()
        cuda.faults.append(LaunchError('cuEventSynchronize failed: illegal memory access'))
        with pytest.raises(EngineError, match='context is lost'):
            engine.segment([frame(2)])
        assert cuda.count('detach') == 0
        np.testing.assert_array_equal(kept[0].labels, labels)
        kept.clear()
        engine.deactivate()
        engine.activate()
        engine.segment([frame(2)])
        assert cuda.count('detach') == 1
        assert cuda.count('make_context') == 2
    assert cuda.count('detach') == 2
    assert not cuda.live, 'memory that outlived its context'


def test_a_result_outlives_its_engine(make_machine: MakeMachine, spec: ModelSpec) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        result = engine.segment([frame(1)])[0]
        labels = result.labels.copy()
    assert cuda.count('detach') == 0
    np.testing.assert_array_equal(result.labels, labels)
    del result
    engine.deactivate()
    assert cuda.count('detach') == 1


def test_an_engine_that_is_refused_ends_before_its_context(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()

    def refuse(layers: Layers, precision: str, mixed: bool) -> None:
        raise EngineError('no such layer')

    monkeypatch.setattr(Layers, 'check', refuse)
    with pytest.raises(EngineError, match='no such layer'):
        create_engine(spec, 'tensorrt').activate()
    assert machine.cuda.count('detach') == 1
    assert machine.cuda.late == []


def test_an_engine_that_cannot_be_run_ends_before_its_context(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()

    def fail(size: int) -> None:
        raise OutOfMemory('cuMemAlloc failed: out of memory')

    monkeypatch.setattr(engine_module, 'CudaDevice', lambda gpu, share: _failing(gpu, fail))
    with pytest.raises(EngineError, match='out of memory'):
        create_engine(spec, 'tensorrt').activate()
    assert machine.cuda.late == []


def _failing(gpu: object, fail: object) -> CudaDevice:
    device = CudaDevice(gpu)  # type: ignore[arg-type]
    device._cuda.mem_alloc = fail
    return device


def test_an_engine_that_is_deactivated_ends_before_its_context(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()])
    assert machine.cuda.late == []


@pytest.mark.parametrize('integrated', [False, True])
def test_a_failed_batch_leaves_nothing_in_flight(
    make_machine: MakeMachine,
    spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    integrated: bool,
) -> None:
    """The next frames must not be written where copies of the last ones still read."""
    machine = make_machine(integrated=integrated)
    submitted: list[int] = []
    prepare = network_runner.NetworkRunner.prepare

    def second_fails(self: network_runner.NetworkRunner, images: object, fits: object) -> None:
        submitted.append(1)
        if len(submitted) == 2:
            raise OutOfMemory('cuMemAlloc failed: out of memory')
        prepare(self, images, fits)  # type: ignore[arg-type]

    with create_engine(spec, 'tensorrt', EngineOptions(max_batch=1)) as engine:
        right = engine.segment([frame(3)])[0].labels.copy()
        monkeypatch.setattr(network_runner.NetworkRunner, 'prepare', second_fails)
        with pytest.raises(EngineError, match='out of memory; the frame is dropped'):
            engine.segment([frame(1), frame(2)])
        assert all(not stream.queue for stream in machine.cuda.streams.values())
        assert not _pipeline(engine).results.in_use
        np.testing.assert_array_equal(engine.segment([frame(3)])[0].labels, right)


def test_an_error_gives_up_what_was_started_after_it(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        first, second = engine.start([frame(1)]), engine.start([frame(2)])
        cuda.faults.append(LaunchError('cuMemcpyDtoHAsync failed: out of memory'))
        with pytest.raises(EngineError, match='out of memory; the frame is dropped'):
            first()
        with pytest.raises(EngineError, match='an error of the frames before ended this one too'):
            second()
        cuda.faults.append(LaunchError('cuMemcpyDtoHAsync failed: out of memory'))
        outcomes = list(Supervisor(engine).stream([frame(seed) for seed in range(12)]))
        assert not any(isinstance(outcome, EngineError) for outcome in outcomes), 'tried again'


@pytest.mark.parametrize('inference', ['whole', 'slide'])
def test_an_error_of_a_frame_costs_no_other(
    make_machine: MakeMachine, spec: ModelSpec, inference: str
) -> None:
    cuda = make_machine().cuda
    options = EngineOptions(max_batch=1, inference=inference)
    with create_engine(spec, 'tensorrt', options) as engine:

        def frames() -> Iterator[Frame]:
            for seed in range(10):
                if seed == 4:
                    cuda.faults.append(LaunchError('cuMemcpyDtoHAsync failed: out of memory'))
                yield frame(seed)

        outcomes = list(Supervisor(engine).stream(frames()))
    assert len(outcomes) == 10
    assert sum(isinstance(outcome, EngineError) for outcome in outcomes) == 1


def test_a_stream_waits_for_a_lost_context(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = make_machine().cuda
    pauses: list[float] = []
    monkeypatch.setattr('segformer_ros.engines.supervisor.sleep', pauses.append)
    with create_engine(spec, 'tensorrt', EngineOptions(max_batch=1)) as engine:

        def frames() -> Iterator[Frame]:
            for seed in range(30):
                if seed in (10, 20):
                    cuda.faults.append(LaunchError('cuEventSynchronize failed: illegal address'))
                yield frame(seed)

        outcomes = list(Supervisor(engine, lambda: sum(pauses)).stream(frames()))
    assert len(outcomes) == 30
    assert sum(isinstance(outcome, EngineError) for outcome in outcomes) == 2  # the faulty ones
    assert pauses == [1.0, 1.0]
    assert cuda.count('make_context') == 3


def test_what_is_under_way_ends_with_the_context(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        first, second = engine.start([frame(1)]), engine.start([frame(2)])
        machine.cuda.faults.append(LaunchError('cuEventSynchronize failed: illegal address'))
        with pytest.raises(EngineError, match='context is lost'):
            first()
        with pytest.raises(EngineError, match='the GPU context was lost meanwhile'):
            second()
    assert machine.cuda.late == []


def test_an_engine_is_deactivated_with_frames_under_way(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        pending = engine.start([frame(1)])
    assert machine.cuda.late == []
    with pytest.raises(EngineError, match='the GPU context was lost meanwhile'):
        pending()


def _pipeline(engine: object) -> pipeline.Pipeline:
    found = engine._pipeline  # type: ignore[attr-defined]
    assert isinstance(found, pipeline.Pipeline)
    return found


def test_memory_that_could_not_grow_is_asked_for_again(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        device = engine._device  # type: ignore[attr-defined]
        engine.segment([frame()])
        allocate = device._cuda.mem_alloc

        def fail(size: int) -> None:
            raise OutOfMemory('cuMemAlloc failed: out of memory')

        monkeypatch.setattr(device._cuda, 'mem_alloc', fail)
        with pytest.raises(EngineError, match='out of memory; the frame is dropped'):
            engine.segment([frame(0, (1200, 1900))])
        monkeypatch.setattr(device._cuda, 'mem_alloc', allocate)
        assert engine.segment([frame()])[0].labels.shape == (90, 160)
