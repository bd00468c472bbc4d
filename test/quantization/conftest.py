# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fixtures: a small network and frames that it labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.frame import Frame
from segformer_ros.quantization.accuracy_gate import Sample, Samples
from tiny_models import painting, save_paintings


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder `images` of painted frames, and `labels` beside it."""
    return save_paintings(tmp_path)


@pytest.fixture
def samples() -> Samples:
    frames = [painting(64, 128, seed) for seed in range(10)]
    made = [Sample(Frame.from_array(image), labels) for image, labels in frames]
    return Samples(made[:6], made[6:])
