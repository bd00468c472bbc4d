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
