# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The TensorRT engine on a GPU that is not there: versions, contracts, faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_rig import SIZE, agreement, frame
from fake_gpu import SURFACES, MakeMachine
from fake_gpu.cuda import LaunchError

from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines import tensorrt as engine_module
from segformer_ros.engines.engine import BrokenError
from segformer_ros.model import Declared, ModelSpec, load_model
from tiny_models import HUGGINGFACE, TAO5, TAO6, Export, save_network


@pytest.mark.parametrize('version', SURFACES)
def test_every_version_segments_in_fp16(
    version: str, make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine(version, sm=53)
    with create_engine(spec, 'tensorrt') as engine:
        assert engine.facts()['precision'] == 'fp16'
        assert engine.facts()['layers'] == '1 fp16'
        assert engine.facts()['tensorrt'] == f'tensorrt {version}'
        assert agreement(engine, [frame(seed) for seed in range(3)]) > 0.99


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


def test_an_error_of_the_gpu_drops_the_frame(make_machine: MakeMachine, spec: ModelSpec) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        cuda.faults.append(LaunchError('cuMemcpyDtoHAsync failed: out of memory'))
        with pytest.raises(EngineError, match='out of memory; the frame is dropped'):
            engine.segment([frame()])
        assert agreement(engine, [frame()]) > 0.99
    assert cuda.count('make_context') == 1


def test_a_lost_context_is_made_anew(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = make_machine().cuda
    with create_engine(spec, 'tensorrt') as engine:
        cuda.faults.append(LaunchError('cuEventSynchronize failed: an illegal memory access'))
        with pytest.raises(BrokenError, match='illegal memory access; the GPU context is lost'):
            engine.segment([frame()])
        assert engine.facts()['state'] == 'GPU context lost'
        with pytest.raises(BrokenError, match='context is lost; the frame is dropped'):
            engine.segment([frame()])
        engine.deactivate()
        with monkeypatch.context() as gone:
            gone.setattr(engine_module, 'select_gpu', _no_gpu)
            with pytest.raises(EngineError, match='not be made anew.*start the program again'):
                engine.activate()
        engine.activate()
        assert agreement(engine, [frame()]) > 0.99
        assert 'state' not in engine.facts()


def _no_gpu(index: int) -> None:
    raise EngineError('cuInit failed with CUDA error 100')


def test_a_gpu_that_does_not_exist_is_named(make_machine: MakeMachine, spec: ModelSpec) -> None:
    make_machine()
    with pytest.raises(EngineError, match=r'no GPU 3 on this machine; there is 0: Test GPU'):
        create_engine(spec, 'tensorrt', EngineOptions(device=3)).activate()


@pytest.mark.parametrize(
    'export',
    [
        TAO5,
        TAO6,
        HUGGINGFACE,
        replace(TAO5, output='int32', output_layout='NHWC', batch=1),
        replace(HUGGINGFACE, output='softmax', batch=2),
        replace(TAO6, layout='NHWC'),
        replace(TAO6, stride=1),
        replace(TAO6, stride=8),
        replace(TAO5, output='uint16'),
        replace(TAO5, output='uint8', output_layout='NHW'),
        replace(TAO5, output='float32'),
    ],
)
def test_every_contract_comes_through(
    make_machine: MakeMachine, tmp_path: Path, export: Export
) -> None:
    make_machine(sm=50)
    spec = load_model(
        save_network(tmp_path / 'other.onnx', SIZE, export),
        parameters=Declared(mean=export.mean, std=export.std, color='rgb'),
    )
    with create_engine(spec, 'tensorrt') as engine:
        assert agreement(engine, [frame(1), frame(2), frame(3)]) > 0.99
