# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

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
