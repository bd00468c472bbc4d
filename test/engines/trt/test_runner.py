"""The network on the device: enqueued, or as a CUDA graph."""

from __future__ import annotations

import pytest
from engine_rig import agreement, frame
from fake_gpu import MakeMachine

from segformer_ros.engines import create_engine
from segformer_ros.model import ModelSpec


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
