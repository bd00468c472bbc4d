# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exports of the ROS wheels point at this machine's headers afterwards, and only they change."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from scripts.relocate_cmake_exports import relocate

BUILDER = '/opt/python/cp312-cp312'


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / 'share/std_msgs/cmake/export_std_msgs__rosidl_generator_pyExport.cmake'
    path.parent.mkdir(parents=True)
    path.write_text(
        'INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include/std_msgs;'
        f'{BUILDER}/include/python3.12;'
        f'{BUILDER}/lib/python3.12/site-packages/numpy/_core/include"\n'
    )
    return path


def test_headers_are_those_of_this_python(export: Path, tmp_path: Path) -> None:
    assert relocate(tmp_path) == 1
    assert export.read_text() == (
        'INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include/std_msgs;'
        f'{sysconfig.get_path("include")};{np.get_include()}"\n'
    )
    assert relocate(tmp_path) == 0


def test_hard_linked_cache_keeps_its_content(export: Path, tmp_path: Path) -> None:
    cached = tmp_path / 'cache.cmake'
    os.link(export, cached)
    relocate(tmp_path)
    assert BUILDER in cached.read_text()
    assert not list(export.parent.glob('*.new'))


def test_other_files_are_left_alone(export: Path, tmp_path: Path) -> None:
    other = export.with_name('std_msgsConfig.cmake')
    other.write_text('set(std_msgs_FOUND TRUE)\n')
    before = other.stat().st_ino
    relocate(tmp_path)
    assert other.stat().st_ino == before
