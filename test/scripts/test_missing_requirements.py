# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Beside a ROS distribution, its numpy and OpenCV stay and the other pins are installed."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.missing_requirements import NUMPY_FOR_OLD_SYSTEMS, missing

PINS = [
    'numpy==2.4.6 ; python_full_version >= "3.11"  # via onnx',
    'opencv-python-headless==5.0.0.93  # via -r runtime.in',
    'openvino==2026.4.1        # via -r runtime.in',
    'pyyaml==6.0.3             # via -r runtime.in',
]


def test_what_the_system_brings_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, '__version__', '1.26.4')
    assert missing(PINS) == [PINS[2]]


def test_old_numpy_is_replaced_by_one_of_the_same_abi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, '__version__', '1.21.5')
    assert missing(PINS) == [NUMPY_FOR_OLD_SYSTEMS, PINS[2]]


def test_what_nobody_brings_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('importlib.util.find_spec', lambda _name: None)
    assert missing(PINS) == sorted(PINS)
