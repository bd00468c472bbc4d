# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""From parameters to an engine: which model, and what is said of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import tiny_models
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.model import ModelError
from segformer_ros.node.segmentation.engine_setup import BuildProgress, declared, make_engine
from segformer_ros.node.segmentation.parameters import NetworkSettings, Settings


def test_fake_engine_needs_no_model() -> None:
    engine = make_engine(Settings(engine='fake', fake_delay=0.5, class_map='cityscapes'))
    assert isinstance(engine, FakeEngine)
    assert engine.options.fake_delay == 0.5
    assert len(engine.spec.class_map) == 19
    assert isinstance(engine.progress, BuildProgress)


def test_missing_model_is_refused_whatever_the_engine() -> None:
    with pytest.raises(ModelError, match='no model file /nowhere/m.onnx'):
        make_engine(Settings(engine='fake', model='/nowhere/m.onnx'))


def test_network_parameters_are_declared() -> None:
    said = declared(
        NetworkSettings(color='bgr', mean='1, 2,3.5', std='4,5,6', width=1024, height=512)
    )
    assert (said.color, said.mean, said.std) == ('bgr', (1.0, 2.0, 3.5), (4.0, 5.0, 6.0))
    assert said.size == (512, 1024)
    assert said.contract is said.fit is None


@pytest.mark.parametrize(
    'settings',
    [
        NetworkSettings(mean='1,2'),
        NetworkSettings(mean='a,b,c'),
        NetworkSettings(std='1,0,1'),
    ],
)
def test_wrong_numbers_are_refused(settings: NetworkSettings) -> None:
    with pytest.raises(ModelError, match=r'network\.(mean|std) is .*three numbers'):
        declared(settings)


def test_a_size_of_one_side_is_refused() -> None:
    with pytest.raises(ModelError, match='height is 0 and network.width 1024; give both'):
        declared(NetworkSettings(width=1024))


def test_model_takes_what_the_parameters_say(tmp_path: Path) -> None:
    export = tiny_models.Export(
        input_name='pixel_values', dtype='float32', layout='NCHW', color='rgb'
    )
    path = tiny_models.save_network(tmp_path / 'm.onnx', export=export)
    half = '127.5,127.5,127.5'
    network = NetworkSettings(color='rgb', mean=half, std=half)
    spec = make_engine(Settings(model=str(path), engine='openvino', network=network)).spec
    assert spec.mean == spec.std == (127.5, 127.5, 127.5)
    assert spec.path == path


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def progress(now: list[float], caplog: pytest.LogCaptureFixture) -> BuildProgress:
    caplog.set_level(logging.INFO)
    return BuildProgress(lambda: now[0])


def test_every_tenth_of_the_build_is_told(
    progress: BuildProgress, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    progress('build', 0, 40)
    for step in range(40):
        progress('tactics', step, 40)
        now[0] += 1
        progress('build', step + 1, 40)
    progress('build', 40, 40)
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == 'building the engine: 10 % after 4 s'
    assert caplog.messages[-1] == 'building the engine: 100 % after 40 s'


def test_a_long_phase_is_told_from_time_to_time(
    progress: BuildProgress, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    progress('build', 0, 3)
    for step in range(100):
        now[0] += 1
        progress('tactics', step, 500)
    assert caplog.messages == [
        'building the engine: 0 % after 30 s (tactics, 29 of 500)',
        'building the engine: 0 % after 60 s (tactics, 59 of 500)',
        'building the engine: 0 % after 90 s (tactics, 89 of 500)',
    ]


def test_a_second_build_starts_from_nothing(
    progress: BuildProgress, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for step in range(3):
            now[0] += 1
            progress('build', step, 2)
    assert (
        caplog.messages
        == [
            'building the engine: 50 % after 1 s',
            'building the engine: 100 % after 2 s',
        ]
        * 2
    )
