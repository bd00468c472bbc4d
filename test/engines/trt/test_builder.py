# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The builder: what a build does when memory runs out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from engine_rig import agreement
from fake_gpu import MakeMachine
from onnx import numpy_helper

from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.engines.trt.builder import build_engine
from segformer_ros.frame import Frame
from segformer_ros.model import ModelError, ModelSpec, load_model
from tiny_models import normalization_in_steps, painting


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


@pytest.mark.parametrize('precision', ['fp16', 'fp32'])
def test_squares_are_kept_in_fp32_where_there_is_no_layer(
    make_machine: MakeMachine, precision: str
) -> None:
    fake = make_machine('8.5.2', sm=53).tensorrt
    spec = load_model().resized(64, 128)
    with create_engine(spec, 'tensorrt', EngineOptions(precision=precision)):
        kept = fake.called('layer')
        wanted = {'Mul', 'ReduceMean', 'Add', 'Sqrt'} if precision == 'fp16' else set()
        assert {kind for kind, *types in kept} == wanted
        assert all(types == ['FLOAT', 'FLOAT'] for kind, *types in kept)
        obeyed = ('OBEY_PRECISION_CONSTRAINTS',) in fake.called('set_flag')
        assert obeyed == (precision == 'fp16')


@pytest.mark.parametrize('version', ['8.2.1.8', '8.5.2', '8.6.1'])
def test_the_bundled_model_runs_on_old_versions(make_machine: MakeMachine, version: str) -> None:
    make_machine(version, sm=53)
    spec = load_model().resized(64, 128)
    with create_engine(spec, 'tensorrt', EngineOptions(precision='fp32')) as engine:
        assert agreement(engine, [Frame.from_array(painting(64, 128)[0])]) > 0.99


@pytest.mark.parametrize(
    ('version', 'reads'), [('8.5.2', False), ('8.6.1', False), ('10.3.0', True)]
)
def test_axes_that_a_parser_passes_over_are_refused(
    make_machine: MakeMachine, version: str, reads: bool
) -> None:
    """Before TensorRT 10 a ReduceMean of opset 18 was over all axes, without a word."""
    library = TensorRt(make_machine(version).tensorrt.module)
    model = onnx.load_from_string(normalization_in_steps(opset=18))
    for node in model.graph.node:
        if node.op_type == 'ReduceMean':
            del node.attribute[:]
            node.input.append('axes')
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), 'axes'))
    if reads:
        assert build_engine(library, model.SerializeToString()).plan
        return
    with pytest.raises(ModelError, match='opset 18.* an opset from 13 to 17'):
        build_engine(library, model.SerializeToString())
