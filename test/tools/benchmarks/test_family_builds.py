# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The table of builds, for the smallest of each kind."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tools.benchmarks.family_builds import COLUMNS, build_member

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('tensorrt_rtx') is None,
    reason='no TensorRT-RTX: pip install --no-deps -r requirements/tensorrt.txt',
)


@pytest.mark.parametrize(('name', 'least'), [('mit-b0', 6), ('fan-tiny', 16)])
def test_a_member_becomes_an_fp16_engine(name: str, least: int, tmp_path: Path) -> None:
    row = dict(zip(COLUMNS, build_member(name, 64, 89, 'fp16', tmp_path), strict=True))
    assert row['size'] == '64x64'
    # Two bytes a weight, and the kernels.
    assert least <= int(row['engine MiB'])
    assert row['layers'].endswith('fp16')


@pytest.mark.parametrize('name', ['mit-b0', 'fan-tiny'])
def test_a_member_becomes_an_int8_engine(name: str, tmp_path: Path) -> None:
    row = dict(zip(COLUMNS, build_member(name, 64, 89, 'int8', tmp_path), strict=True))
    half, int8 = (int(part.split()[0]) for part in row['layers'].split(', '))
    assert row['layers'] == f'{half} fp16, {int8} int8' and int8 > half
