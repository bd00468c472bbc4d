"""The builder: what a build does when memory runs out."""

from __future__ import annotations

import pytest
from fake_gpu import MakeMachine

from segformer_ros.engines import EngineError, create_engine
from segformer_ros.model import ModelSpec


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
