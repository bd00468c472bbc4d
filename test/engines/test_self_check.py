# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The self-check: right contracts pass, wrong ones are noticed by their masks."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from segformer_ros.classes import ClassMap
from segformer_ros.engines import EngineOptions, create_engine
from segformer_ros.engines.self_check import (
    Evidence,
    as_rows,
    contradictions,
    findings,
    rival_specs,
    self_check,
    steadiest,
)
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, ModelSpec, load_model
from tiny_models import HUGGINGFACE, TAO5, TAO6, Export, painting, save_network
from tools.benchmarks.exports import save_reexport

SIZE = (192, 256)

on_cpu = partial(create_engine, name='openvino', options=EngineOptions(threads=1))


@pytest.fixture(scope='module')
def frames(camvid: Path) -> list[Frame]:
    files = sorted((camvid / 'val/images').glob('*.jpg'))[::20]
    files += sorted((camvid / 'train/images').glob('*.jpg'))[::90]
    return [Frame.from_array(np.asarray(cv2.imread(str(file)))) for file in files]


@pytest.fixture(scope='module')
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    folder = tmp_path_factory.mktemp('reexports')
    exports: dict[str, Export] = {'tao5': TAO5, 'tao6': TAO6, 'huggingface': HUGGINGFACE}
    return {
        name: load_model(
            save_reexport(folder / f'{name}.onnx', SIZE, export),
            parameters=Declared(contract=name),
        )
        for name, export in exports.items()
    }


@pytest.mark.parametrize('name', ['tao5', 'tao6', 'huggingface'])
def test_the_right_contract_passes(
    name: str, specs: dict[str, ModelSpec], frames: list[Frame]
) -> None:
    evidence, found = self_check(specs[name], frames, on_cpu)
    assert found == []
    assert [entry.name for entry in evidence][:2] == ['as declared', 'colours as bgr']
    assert evidence[0].largest[1] < 0.7


@pytest.mark.parametrize(
    ('truth', 'declared', 'words'),
    [
        ('huggingface', 'tao6', r'steadier with statistics of ImageNet \('),
        ('tao5', 'tao6', r'steadier with statistics of ImageNet \('),
        ('tao6', 'huggingface', r'steadier with statistics of -1\.\.1 \('),
    ],
)
def test_wrong_statistics_are_noticed(
    truth: str, declared: str, words: str, specs: dict[str, ModelSpec], frames: list[Frame]
) -> None:
    wrong = replace(specs[truth], mean=specs[declared].mean, std=specs[declared].std)
    found = self_check(wrong, frames, on_cpu)[1]
    assert any(re.search(words, line) for line in found), found


@pytest.mark.parametrize('name', ['tao5', 'tao6'])
def test_swapped_colours_are_noticed(
    name: str, specs: dict[str, ModelSpec], frames: list[Frame]
) -> None:
    wrong = replace(specs[name], color='bgr', mean=specs[name].mean[::-1])
    found = self_check(wrong, frames, on_cpu)[1]
    assert any('colours as rgb' in line for line in found), found


def test_a_mask_of_one_class_is_named() -> None:
    evidence = Evidence('as declared', (0.01,), 0.1, ('sky', 0.993), confidence=0.4)
    assert findings([evidence])[0].startswith('the mask is 99% sky')


def test_a_model_that_is_sure_of_nothing_is_named() -> None:
    evidence = Evidence('as declared', (0.2,), 1.7, ('bus', 0.5), confidence=0.055)
    assert findings([evidence]) == [
        'the model is sure of nothing (mean confidence 0.06): is it trained, and are its '
        'statistics right?'
    ]


def test_the_steadier_contract_is_named_but_not_one_of_empty_masks() -> None:
    own = Evidence('as declared', (0.08, 0.10), 3.0, ('road', 0.3))
    steady = Evidence('colours as bgr', (0.06, 0.04), 2.8, ('road', 0.4), confidence=0.8)
    empty = Evidence('statistics of -1..1', (0.01, 0.01), 0.1, ('sky', 0.9))
    found = findings([own, steady, empty])
    assert len(found) == 1
    assert 'steadier with colours as bgr (in a darker frame 5.00% of the pixels change' in found[0]
    assert as_rows([own, steady]) == [
        ('as declared', '-', '3.00 bit', '9.00%', 'road 30 %'),
        ('colours as bgr', '0.800', '2.80 bit', '5.00%', 'road 40 %'),
    ]


def test_the_steadiest_contract_is_told_where_it_is_clear() -> None:
    clear = Evidence('tao6', (0.05, 0.05), 2.8, ('road', 0.4))
    near = Evidence('huggingface', (0.06, 0.05), 3.0, ('road', 0.3))
    far = Evidence('huggingface', (0.08, 0.09), 3.0, ('road', 0.3))
    empty = Evidence('huggingface', (0.01, 0.01), 0.1, ('sky', 0.9))
    assert steadiest([far, clear]) == steadiest([clear, far]) == 'tao6'
    assert steadiest([clear, near]) is None
    assert steadiest([empty, clear]) == 'tao6'


@pytest.mark.parametrize(('frames', 'count'), [(1, 0), (5, 1)])
def test_few_frames_are_little_evidence(frames: int, count: int) -> None:
    own = Evidence('as declared', (0.020,) * frames, 3.0, ('road', 0.3))
    rival = Evidence('colours as bgr', (0.017,) * frames, 3.0, ('road', 0.3))
    assert len(findings([own, rival])) == count


def test_values_without_a_class_are_named(tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx', (64, 128), TAO5))
    few = replace(spec, class_map=ClassMap('few', spec.class_map.classes[:3]))
    found = self_check(few, [Frame.from_array(painting(64, 128)[0])], on_cpu)[1]
    assert re.match('the masks hold the value 1[0-8], for which the class map has no', found[0])


def test_swapped_sides_are_named(tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx', (128, 64)))
    frame = Frame.from_array(painting(64, 128)[0])
    assert contradictions(spec, [frame]) == [
        'the input is 64x128, but frames are 128x64 (width x height): are the sides of its size '
        'swapped?'
    ]
    portrait = Frame.from_array(painting(128, 64)[0])
    assert contradictions(spec, [frame, portrait]) == []


def test_pixels_that_nobody_scaled_are_named(tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx', (64, 128), HUGGINGFACE))
    frame = Frame.from_array(painting(64, 128)[0])
    assert contradictions(spec, [frame]) == []
    raw = replace(spec, mean=(100.0,) * 3, std=(1.0,) * 3)
    assert contradictions(raw, [frame]) == [
        'the network is fed -100..155, where networks take about -2..2: is std '
        '(net-scale-factor) missing?'
    ]


def test_rivals_are_the_mistakes_that_change_the_input(tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx', (64, 128), HUGGINGFACE))
    rivals = rival_specs(spec)
    assert list(rivals) == ['colours as bgr', 'colours alone as bgr', 'statistics of -1..1']
    assert rivals['colours as bgr'].mean == spec.mean[::-1]
    assert rivals['colours alone as bgr'].mean == spec.mean
    half = replace(spec, mean=(128.0,) * 3, std=(127.5,) * 3)
    assert list(rival_specs(half)) == ['colours as bgr', 'statistics of ImageNet']
    bgr = replace(half, color='bgr')
    assert rival_specs(bgr)['statistics of ImageNet'].mean == spec.mean[::-1]


def test_own_models_have_their_statistics_inside(tmp_path: Path) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx'))
    assert list(rival_specs(spec)) == ['colours as rgb']
