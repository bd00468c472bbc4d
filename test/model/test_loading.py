# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Built engines without their ONNX: described beside them, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from segformer_ros.classes import ClassMap
from segformer_ros.model import Declared, ModelError, ModelSpec, load_model
from segformer_ros.model.onnx_network import tensorrt_network
from segformer_ros.model.sidecar import write_sidecar
from tiny_models import OWN, TAO5, TAO6, Export, save_network

CONFIG = """[property]
tlt-encoded-model=model.etlt
model-engine-file=model.engine
net-scale-factor=0.01735207357
offsets=123.675;116.28;103.53
infer-dims=3;64;128
network-type=2
num-detected-classes=19
output-blob-names=output_1
segmentation-output-order=1
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / 'model.engine'
    path.write_bytes(bytes(100))
    return path


def test_a_sidecar_describes_it(engine: Path) -> None:
    sidecar = engine.with_name('model.engine.yaml')
    sidecar.write_text('contract: tao6\nsize: [64, 128]\n')
    spec = load_model(engine)
    assert spec.path == spec.engine_file == engine
    assert (spec.output_kind, spec.output_layout, spec.size) == ('logits', 'NCHW', (64, 128))
    assert spec.mean == (127.5, 127.5, 127.5)


def test_a_configuration_and_a_contract_describe_it(engine: Path) -> None:
    config = engine.with_name('nvinfer_config.txt')
    config.write_text(CONFIG)
    engine.with_name('model.engine.yaml').write_text('contract: tao5\n')
    spec = load_model(config)
    assert spec.engine_file == engine
    assert (spec.output_kind, spec.output_layout) == ('labels', 'NHWC')
    assert (spec.output_name, len(spec.class_map)) == ('output_1', 19)


@pytest.mark.parametrize('config', [True, False])
def test_what_it_gives_is_not_guessed(engine: Path, config: bool) -> None:
    path = engine
    if config:
        path = engine.with_name('nvinfer_config.txt')
        path.write_text(CONFIG)
    with pytest.raises(
        ModelError, match=r'say contract and size in a sidecar model\.engine\.yaml'
    ):
        load_model(path)


def test_an_encrypted_model_needs_its_engine(engine: Path) -> None:
    engine.unlink()
    config = engine.with_name('nvinfer_config.txt')
    config.write_text(CONFIG)
    with pytest.raises(ModelError, match='is encrypted.* build an engine with tao-converter'):
        load_model(config)


@pytest.mark.parametrize('export', [OWN, TAO5, replace(TAO6, layout='NHWC')])
@pytest.mark.parametrize('own_classes', [False, True])
def test_a_sidecar_that_is_written_tells_all(
    engine: Path, tmp_path: Path, export: Export, own_classes: bool
) -> None:
    path = save_network(tmp_path / 'model.onnx', (64, 128), export)
    declared = Declared(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), color='rgb', fit='letterbox')
    spec = load_model(path, parameters=declared)
    made = tensorrt_network(spec).spec
    if own_classes:
        first, *others = made.class_map.classes
        classes = (replace(first, name='track', color=(1, 2, 3)), *others)
        made = replace(made, class_map=ClassMap('yard', classes, {'track': ('track',)}))
    made = replace(made, precision='fp16', max_batch=3)
    write_sidecar(made, engine)
    again = load_model(engine)

    def told(spec: ModelSpec) -> ModelSpec:
        """Without what a file on its own cannot tell, and an engine need not."""
        return replace(
            spec, path=engine, engine_file=engine, contract='', notes=(), batch=None,
            input_name='', dynamic_size=False,
        )  # fmt: skip

    assert told(again) == told(made)
