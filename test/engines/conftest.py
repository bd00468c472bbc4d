"""Fixtures of the engines' tests: a small network, and a GPU that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_rig import SIZE
from fake_gpu.machine import make_machine

from segformer_ros.model import ModelSpec, load_model
from tiny_models import save_network

__all__ = ['make_machine', 'spec']


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A network of this project's contract that labels the painted frames."""
    return load_model(save_network(tmp_path / 'palette.onnx', SIZE))
