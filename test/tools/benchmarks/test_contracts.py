# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The bundled model gives the same masks in other contracts, on real frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.engines.self_check import Evidence
from tools.benchmarks.contracts import CASES, Comparison, compare, pick_images, read_images, told
from tools.benchmarks.pairings import PAIRINGS, alarms, inspect

SOME = (
    "this project's, batch 1, one size",
    'TAO 5, int64 [N,H,W,1]',
    'TAO 5, DeepStream',
    'TAO 6, channels last',
    'TAO 6, letterboxed',
    'TAO 6, 20 classes',
    'Hugging Face, softmax',
    'foreign names, BGR',
)


@pytest.fixture(scope='module')
def images(camvid: Path) -> list[Path]:
    return pick_images([camvid / 'val/images', camvid / 'train/images'], 2)


@pytest.fixture(scope='module')
def comparison(images: list[Path]) -> Comparison:
    return Comparison(read_images(images), 'openvino', threads=1)


@pytest.mark.slow
@pytest.mark.parametrize('name', SOME)
def test_equal_arithmetic_gives_equal_masks(name: str, comparison: Comparison) -> None:
    agreement = compare(CASES[name], comparison, whole_pixels=True)[1]
    assert agreement >= CASES[name].floor


@pytest.mark.slow
def test_a_normalisation_before_the_network_changes_next_to_nothing(
    comparison: Comparison,
) -> None:
    contract, agreement = compare(CASES['Hugging Face'], comparison, whole_pixels=False)
    assert contract == 'huggingface'
    assert agreement > 0.9999


def test_who_tells_what_the_file_does_not() -> None:
    assert told(CASES['TAO 6']) == 'the file alone'
    assert told(CASES['TAO 5, DeepStream to the letter']) == 'DeepStream, sidecar'


@pytest.mark.parametrize(
    'name',
    ['TAO 5, 12 labels', 'TAO 6, sides swapped', 'TAO 6, sides swapped, DeepStream'],
)
def test_what_contradicts_the_file_is_refused(name: str, tmp_path: Path) -> None:
    pairing = PAIRINGS[name]
    code, lines = inspect(pairing.write(tmp_path), [], [])
    assert code == 2
    assert len(lines) == 1 and pairing.words in lines[0]


def test_alarms_are_counted_over_sets_of_frames() -> None:
    own = Evidence('as declared', (0.02, 0.02, 0.04), 3.0, ('road', 0.3))
    rival = Evidence('colours as bgr', (0.02, 0.02, 0.02), 3.0, ('road', 0.3))
    assert alarms([own, rival], 1) == pytest.approx(1 / 3)
    assert alarms([own, rival], 3) == 1.0
    assert alarms([rival, own], 3) == 0.0
