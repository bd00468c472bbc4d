"""The builder: what a build does when memory runs out."""

from __future__ import annotations

import pytest
from fake_gpu import MakeMachine

from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines.trt.adapter import TensorRt
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


@pytest.mark.parametrize(
    'words',
    [
        'Error Code 10: Internal Error (Could not find any implementation for node Conv_1 due to '
        'insufficient workspace. See verbose log for requested sizes.)',
        'Error Code 10: Internal Error (Could not find any implementation for node Conv_1.)',
    ],
    ids=['8.5', '8.2'],
)
def test_a_workspace_that_is_too_small_is_not_halved(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    make_machine()
    builds = failing_builds(monkeypatch, words)
    with pytest.raises(
        EngineError, match='more scratch memory than 512 MiB, .*Conv_1.*workspace 1024'
    ):
        create_engine(spec, 'tensorrt', EngineOptions(workspace_mib=512)).activate()
    assert len(builds) == 1


def test_halving_ends_where_a_layer_needs_more(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    failing_builds(
        monkeypatch, 'Cuda Runtime (out of memory)', 'Conv_1 due to insufficient workspace'
    )
    with pytest.raises(
        EngineError, match='out of memory, and with a workspace of 512 MiB .*would fit'
    ):
        create_engine(spec, 'tensorrt').activate()


def failing_builds(monkeypatch: pytest.MonkeyPatch, *errors: str) -> list[str]:
    """Have builds end with these errors; those that did."""
    ended: list[str] = []

    def fail(library: TensorRt, *arguments: object) -> None:
        ended.append(errors[len(ended)])
        library.errors.append(ended[-1])

    monkeypatch.setattr(TensorRt, 'build', fail)
    return ended
