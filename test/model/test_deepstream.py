# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""DeepStream configurations: read as DeepStream reads them, contradictions refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import ModelError, load_model
from segformer_ros.model.deepstream import is_deepstream_config
from tiny_models import TAO5, TAO6, painting, save_network

CONFIG = """
# A configuration as the field writes it.
[property]
gpu-id=0
gie-unique-id=1
net-scale-factor=0.01735207357   # one scale for three channels
offsets=123.675;116.28;103.53
model-color-format=0
onnx-file=net/model.onnx
model-engine-file=net/model.onnx_b1_gpu0_fp16.engine
labelfile-path=labels.txt
infer-dims=3;64;128
batch-size=2
network-mode=2
network-type=2
num-detected-classes=19
segmentation-threshold=0.0
output-blob-names=output
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'net').mkdir()
    save_network(tmp_path / 'net/model.onnx', export=TAO5)
    (tmp_path / 'labels.txt').write_text(';'.join(f'thing {index}' for index in range(19)))
    (tmp_path / 'nvinfer_config.txt').write_text(CONFIG)
    return tmp_path


def changed(folder: Path, old: str, new: str) -> Path:
    assert old in CONFIG
    path = folder / 'nvinfer_config.txt'
    path.write_text(CONFIG.replace(old, new))
    return path


def test_a_configuration_stands_for_its_model(folder: Path) -> None:
    spec = load_model(folder / 'nvinfer_config.txt')
    assert spec.path == folder / 'net/model.onnx'
    assert spec.mean == (123.675, 116.28, 103.53)
    assert spec.std == (58.395, 57.12, 57.375)
    assert spec.notes == (
        "net-scale-factor 0.0173521 is the mean of ImageNet's three; those were taken",
    )
    assert (spec.color, spec.fit, spec.precision, spec.max_batch) == ('rgb', 'stretch', 'fp16', 2)
    assert spec.class_map.names[3] == 'thing 3'
    assert spec.engine_file is None


def test_the_configuration_gives_the_masks_of_its_model(folder: Path) -> None:
    frame = Frame.from_array(painting(64, 128)[0])
    masks = []
    for path in (folder / 'net/model.onnx', folder / 'nvinfer_config.txt'):
        with create_engine(load_model(path), 'openvino') as engine:
            masks.append(engine.segment([frame])[0].labels)
    assert np.array_equal(masks[0], masks[1])


def test_imagenet_is_known_in_either_order_of_colours(folder: Path) -> None:
    path = changed(folder, 'color-format=0', 'color-format=1')
    path.write_text(path.read_text().replace('123.675;116.28;103.53', '103.53;116.28;123.675'))
    assert load_model(path).std == (57.375, 57.12, 58.395)


@pytest.mark.parametrize(
    ('old', 'new'), [('0.01735207357', '0.0175'), ('123.675;116.28;103.53', '128;128;128')]
)
def test_another_scale_or_offset_is_taken_as_it_stands(folder: Path, old: str, new: str) -> None:
    spec = load_model(changed(folder, old, new))
    assert len(set(spec.std)) == 1
    assert spec.notes == ()


def test_the_engine_file_is_handed_on_once_it_exists(folder: Path) -> None:
    engine = folder / 'net/model.onnx_b1_gpu0_fp16.engine'
    engine.touch()
    assert load_model(folder / 'nvinfer_config.txt').engine_file == engine


def test_the_yaml_form_says_the_same(folder: Path) -> None:
    lines = [line.partition('#')[0].strip() for line in CONFIG.splitlines() if '=' in line]
    body = ''.join(f'  {line.replace("=", ": ", 1)}\n' for line in lines)
    path = folder / 'nvinfer_config.yaml'
    path.write_text(f'property:\n{body}')
    assert load_model(path) == load_model(folder / 'nvinfer_config.txt')


def test_aspect_and_threshold_are_kept(folder: Path) -> None:
    path = changed(
        folder,
        'segmentation-threshold=0.0',
        'segmentation-threshold=0.3\nmaintain-aspect-ratio=1',
    )
    spec = load_model(path)
    assert (spec.fit, spec.threshold) == ('letterbox', 0.3)


def test_unsure_pixels_carry_no_class(folder: Path) -> None:
    """segmentation-threshold, as DeepStream has it: below it a pixel is unlabelled."""
    save_network(folder / 'net/model.onnx', export=TAO6)
    config = changed(folder, 'threshold=0.0', 'threshold=0.9')
    config.write_text(
        config.read_text()
        .replace('0.01735207357', '0.00784313725')
        .replace('123.675;116.28;103.53', '127.5;127.5;127.5')
    )
    with create_engine(load_model(config), 'openvino') as engine:
        labels = engine.segment([Frame.from_array(painting(64, 128)[0])])[0].labels
    assert 0 < (labels == 255).mean() < 0.5
    assert np.isin(labels[labels != 255], range(19)).all()


def test_unknown_keys_are_listed(folder: Path) -> None:
    path = changed(folder, 'gpu-id=0', 'gpu-id=0\nzoom=3\nfoo-bar=1')
    assert load_model(path).notes[0] == 'nvinfer_config.txt: not used: foo-bar, zoom'


def test_other_files_are_no_configuration(folder: Path) -> None:
    assert is_deepstream_config(folder / 'nvinfer_config.txt')
    assert not is_deepstream_config(folder / 'labels.txt')
    assert not is_deepstream_config(folder / 'net/model.onnx')


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('network-type=2', 'network-type=0', 'network-type=0 is not a segmentation model'),
        ('network-mode=2', 'network-mode=7', r'network-mode=7 is not one of 0 \(fp32\)'),
        ('color-format=0', 'color-format=2', r'model-color-format=2 is not one of 0 \(rgb\)'),
        (
            'net-scale-factor=0.01735207357',
            'net-scale-factor=fast',
            'net-scale-factor=fast is not a number',
        ),
        ('net-scale-factor=0.01735207357', 'net-scale-factor=0', 'cannot be divided by'),
        ('offsets=123.675;116.28;103.53', 'offsets=123', r'must hold 3 number\(s\)'),
        ('net-scale-factor=0.01735207357', 'net-scale-factor=1e-320', 'cannot be divided by'),
        ('net-scale-factor=0.01735207357', 'net-scale-factor=nan', 'is not a number'),
        ('offsets=123.675;116.28;103.53', 'offsets=inf;0;0', 'is not a number from -1e'),
        ('offsets=123.675;116.28;103.53', 'offsets=', 'is not a number'),
        ('infer-dims=3;64;128', 'infer-dims=3;-64;128', 'is not a whole number from 1 to 16384'),
        ('classes=19', 'classes=-19', 'classes=-19 is not a whole number from 1'),
        ('classes=19', 'classes=1e400', 'is not a whole number'),
        ('batch-size=2', 'batch-size=0', 'batch-size=0 is not a whole number from 1'),
        ('threshold=0.0', 'threshold=nan', 'is not a number from 0 to 1'),
        ('network-mode=2', 'network-mode=1e999', 'is not a number'),
        ('infer-dims=3;64;128', 'infer-dims=1;64;128', 'must begin with 3 channels'),
        ('infer-dims=3;64;128', 'infer-dims=3;128;64', 'sides swapped'),
        ('classes=19', 'classes=20', 'has 19 classes, but .*config.txt says 20; correct num-dete'),
        ('classes=19', 'classes=19.5', 'is not a whole number'),
        ('names=output', 'names=softmax', "has no output 'softmax'; it has output"),
        ('names=output', 'names=a;b', 'must name one output'),
        ('onnx-file=net/model.onnx', 'onnx-file=gone.onnx', 'gone.onnx does not exist'),
        ('onnx-file=net/model.onnx', '', 'names neither an onnx-file nor a model-engine-file'),
        (
            'onnx-file=net/model.onnx',
            'tlt-encoded-model=model.etlt',
            'model.etlt is encrypted.*export',
        ),
        ('labelfile-path=labels.txt', 'labelfile-path=no.txt', r'cannot read class map .*no\.txt'),
        ('gpu-id=0', 'gpu-id=0\ngpu-id=1', 'is not an nvinfer configuration.*gpu-id'),
        ('gpu-id=0', 'symmetric-padding=1', 'symmetric-padding=1 centres the image'),
    ],
)
def test_what_contradicts_is_refused(folder: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_model(changed(folder, old, new))


def test_the_order_of_the_output_is_checked(folder: Path) -> None:
    save_network(folder / 'net/model.onnx', export=TAO6)
    path = changed(folder, 'gpu-id=0', 'segmentation-output-order=1')
    with pytest.raises(ModelError, match='is NCHW, but .*nvinfer_config.txt says NHWC'):
        load_model(path)


APPLICATION = """[application]
enable-perf-measurement=1
enable-perf-measurement=1

[source0]
enable=1
uri=file:///videos/drive.mp4

[primary-gie]
enable=1
gpu-id=0
config-file=pgie/detector.txt

[secondary-gie0]
enable=0
config-file=gone.txt

[secondary-gie1]
enable=1
batch-size=3
config-file=nvinfer_config.txt
"""


def save_application(folder: Path) -> Path:
    """An application's configuration: a detector first, then the network of the others here."""
    (folder / 'pgie').mkdir()
    (folder / 'pgie/detector.txt').write_text('[property]\nnetwork-type=0\nonnx-file=d.onnx\n')
    path = folder / 'app_config.txt'
    path.write_text(APPLICATION)
    return path


def test_an_application_leads_to_the_network_that_it_runs(folder: Path) -> None:
    spec = load_model(save_application(folder))
    assert spec.path == folder / 'net/model.onnx'
    assert (spec.mean, spec.max_batch) == ((123.675, 116.28, 103.53), 3)


def test_an_application_in_yaml(folder: Path) -> None:
    (folder / 'apps').mkdir()
    path = folder / 'apps/seg_app.yml'
    path.write_text(
        'source-list:\n  list: file:///a.mp4;\n'
        'streammux:\n  width: 1280\n'
        'primary-gie:\n  plugin-type: 0\n  config-file-path: ../nvinfer_config.txt\n'
        '  labelfile-path: names.txt\n  unique-id:\n'
    )
    names = [f'named {index}' for index in range(19)]
    (folder / 'apps/names.txt').write_text('\n'.join(names))
    spec = load_model(path)
    assert spec.path.samefile(folder / 'net/model.onnx')
    assert spec.class_map.names == tuple(names)


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('config-file=nvinfer_config.txt', 'config-file=gone.txt', r'cannot read .*gone\.txt'),
        (
            'config-file=nvinfer_config.txt',
            'config-file=labels.txt',
            'not an nvinfer configuration',
        ),
        ('config-file=nvinfer_config.txt', 'plugin-type=1', 'is not a segmentation model'),
        ('pgie/detector.txt', 'nvinfer_config.txt', 'several networks: primary-gie .*secondary'),
        ('enable=1', 'enable=0', 'runs no network by nvinfer; give the nvinfer configuration'),
    ],
)
def test_an_application_that_does_not_tell_its_network(
    folder: Path, old: str, new: str, words: str
) -> None:
    path = save_application(folder)
    path.write_text(APPLICATION.replace(old, new))
    with pytest.raises(ModelError, match=words):
        load_model(path)
