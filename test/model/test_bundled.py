# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The models that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.model import BUNDLED_MODELS, ModelError, bundled_model, load_model
from segformer_ros.model.signature import read_signature


@pytest.mark.parametrize('name', BUNDLED_MODELS)
def test_a_name_stands_for_a_file_that_says_its_licence(name: str) -> None:
    spec = load_model(name)
    assert spec.path == bundled_model(name)
    assert spec.contract == 'uint8_bgr_nhwc'
    assert spec.dynamic_size
    assert read_signature(spec.path).metadata['license'] == 'CC-BY-NC-SA-4.0'


def test_the_smaller_one_is_smaller() -> None:
    large, small = (load_model(name) for name in ('', 'tiny'))
    assert small.path.stat().st_size < large.path.stat().st_size
    assert small.size[0] * small.size[1] < large.size[0] * large.size[1]
    assert small.class_map == large.class_map


def test_both_together_are_small_enough_for_a_package() -> None:
    assert sum(bundled_model(name).stat().st_size for name in BUNDLED_MODELS) <= 22e6


def test_a_path_is_a_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'no model file .*tiny\b'):
        load_model(tmp_path / 'tiny')
