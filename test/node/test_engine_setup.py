"""From parameters to an engine: which model, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_models
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.model import ModelError
from segformer_ros.node.build_progress import BuildProgress
from segformer_ros.node.engine_setup import declared, make_engine
from segformer_ros.node.parameters import NetworkSettings, Settings


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
