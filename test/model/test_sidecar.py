# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Sidecar yaml files: what they may say, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from segformer_ros.model import Declared, ModelError, load_model
from segformer_ros.model.sidecar import find_sidecar, read_sidecar
from tiny_models import HUGGINGFACE, TAO6, save_network


def test_both_names_are_found(tmp_path: Path) -> None:
    model = tmp_path / 'net.onnx'
    assert find_sidecar(model) is None
    (tmp_path / 'net.yaml').touch()
    assert find_sidecar(model) == tmp_path / 'net.yaml'
    (tmp_path / 'net.onnx.yaml').touch()
    assert find_sidecar(model) == tmp_path / 'net.onnx.yaml'


def test_class_map_is_found_from_the_sidecar_on(tmp_path: Path) -> None:
    (tmp_path / 'yard.txt').write_text('\n'.join(f'thing {index}' for index in range(19)))
    path = save_network(tmp_path / 'm.onnx', export=TAO6)
    (tmp_path / 'm.yaml').write_text('contract: tao6\nclasses: yard.txt\nfit: letterbox\n')
    spec = load_model(path)
    assert spec.class_map.names[18] == 'thing 18'
    assert spec.fit == 'letterbox'


def test_the_sidecar_is_trusted_before_parameters_and_says_so(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'm.onnx', export=TAO6)
    (tmp_path / 'm.yaml').write_text('contract: tao6\nfit: letterbox\n')
    spec = load_model(path, parameters=Declared('parameters', fit='stretch'))
    assert spec.fit == 'letterbox'
    assert spec.notes == (
        f'fit stretch of parameters gives way to letterbox of {tmp_path / "m.yaml"}',
    )


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('colour: rgb', "'colour' is an unknown key; known are contract, color"),
        ('color: grb', "color: 'grb' is not one of rgb, bgr"),
        ('mean: [1, 2]', r'mean: \[1, 2\] is not a list of 3 entries'),
        ('std: [1, 0, 1]', r'std\[1\]: 0 cannot be divided by'),
        ('size: 512', 'size: 512 is not a list of 2 entries'),
        ('size: [0, 512]', r'size\[0\]: 0 is not a whole number from 1 to 16384'),
        ('mean: [.nan, 0, 0]', r'mean\[0\]: nan is not a number'),
        ('std: [1, 1, 1e-320]', r'std\[2\]: .* cannot be divided by'),
        ('size: [16384, 16384]', 'has more than 33554432 pixels'),
        ('size: [64.5, 128]', r'size\[0\]: 64.5 is not a whole number'),
        ('threshold: .inf', 'threshold: inf is not a number from 0 to 1'),
        ('max_batch: -1', 'max_batch: -1 is not a whole number from 1 to 1024'),
        ('contract: [tao6]', 'contract: .* is not text'),
        ('classes: "a\\0b"', 'printable'),
        ('a: &a [*a]', 'contains itself'),
        ('just words', 'is not a mapping'),
        ('a: [', 'cannot read'),
    ],
)
def test_wrong_sidecars_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / 'm.yaml'
    path.write_text(text)
    with pytest.raises(ModelError, match=words):
        read_sidecar(path)


def test_swapped_sides_are_noticed(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'm.onnx', export=TAO6)
    (tmp_path / 'm.yaml').write_text('contract: tao6\nsize: [128, 64]\n')
    with pytest.raises(ModelError, match='takes 128x64 pixels, but .*says 64x128.*swapped'):
        load_model(path)


def test_a_size_that_halves_unevenly_is_refused(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'm.onnx', export=replace(TAO6, dynamic_size=True))
    (tmp_path / 'm.yaml').write_text('contract: tao6\nsize: [360, 480]\n')
    with pytest.raises(
        ModelError, match='480x360 .width x height.: both sides must be multiples of 32'
    ):
        load_model(path)


def test_statistics_follow_the_order_of_the_colours(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'm.onnx', export=HUGGINGFACE)
    (tmp_path / 'm.yaml').write_text('color: bgr\n')
    spec = load_model(path)
    assert (spec.color, spec.mean) == ('bgr', (103.53, 116.28, 123.675))
