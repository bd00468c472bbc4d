# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The network's CUDA graph: made where the batch has settled, given up where it changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_rig import agreement, frame
from fake_gpu import SURFACES, Machine, MakeMachine
from fake_gpu.tensorrt.running import Engine as FakeEngine

from segformer_ros.engines import Engine, create_engine
from segformer_ros.engines.trt.network_runner import SETTLED
from segformer_ros.model import ModelSpec


def runs(machine: Machine) -> int:
    """How often TensorRT was told to run or to be captured."""
    calls = ('execute_async_v2', 'execute_async_v3')
    return sum(len(machine.tensorrt.called(call)) for call in calls)


def check(engine: Engine, count: int) -> None:
    """Segment this many frames at once, as the CPU engine does."""
    assert agreement(engine, [frame(seed) for seed in range(count)]) > 0.99


@pytest.mark.parametrize('version', list(SURFACES))
def test_the_network_becomes_a_graph_where_the_batch_has_settled(
    version: str, make_machine: MakeMachine, spec: ModelSpec
) -> None:
    machine = make_machine(version)
    with create_engine(spec, 'tensorrt') as engine:
        for _ in range(SETTLED):
            check(engine, 1)
        assert machine.driver.launches == 0
        for _ in range(3):
            check(engine, 1)
    assert machine.driver.launches == 3
    assert runs(machine) == SETTLED + 1  # and once to be captured


def test_a_graph_ends_with_its_batch(make_machine: MakeMachine, spec: ModelSpec) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        for _ in range(SETTLED + 1):
            check(engine, 2)
        assert machine.driver.launches == 1
        check(engine, 3)
        assert machine.driver.alive == set()
        for _ in range(SETTLED + 1):  # the graph of before is not started again
            check(engine, 2)
        assert machine.driver.launches == 2
        assert len(machine.driver.alive) == 1
    assert machine.driver.alive == set()


def test_without_graphs_every_run_is_enqueued(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()
    monkeypatch.delattr(type(machine.driver), 'cuGraphInstantiateWithFlags')
    with create_engine(spec, 'tensorrt') as engine:
        for _ in range(SETTLED + 2):
            check(engine, 1)
    assert runs(machine) == SETTLED + 2


def test_tensorrt_rtx_makes_its_graphs_itself(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = make_machine('11.4.0')
    module = machine.tensorrt.module
    strategies = SimpleNamespace(DISABLED=0, WHOLE_GRAPH_CAPTURE=1)
    for name in ('CudaGraphStrategy', 'DynamicShapesKernelSpecializationStrategy'):
        monkeypatch.setattr(module, name, strategies, raising=False)
    make_context = FakeEngine.create_execution_context
    configs: list[Any] = []
    kernels = SimpleNamespace(serialize=lambda: b'compiled kernels')

    def make_config(engine: Any) -> Any:
        return SimpleNamespace(
            cuda_graph_strategy=0,
            create_runtime_cache=lambda: kernels,
            set_runtime_cache=lambda cache: cache is kernels,
        )

    def with_config(engine: Any, config: Any) -> Any:
        configs.append(config)
        return make_context(engine)

    for name, method in (
        ('create_runtime_config', make_config),
        ('create_execution_context', with_config),
    ):
        monkeypatch.setattr(FakeEngine, name, method, raising=False)
    with create_engine(spec, 'tensorrt') as engine:
        for _ in range(SETTLED + 2):
            check(engine, 1)
    assert [config.cuda_graph_strategy for config in configs] == [1]
    assert machine.driver.launches == 0
