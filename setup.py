# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Install the ROS-free part with pip; colcon builds the ROS package with CMakeLists.txt."""

from pathlib import Path

from setuptools import setup

FOLDERS = ('config', 'config/classes', 'models', 'msg', 'samples')


def files(folder):
    """A folder's files, for setuptools that take no patterns (Ubuntu 20.04 and 22.04)."""
    return sorted(str(file) for file in Path(folder).iterdir() if file.is_file())


setup(data_files=[(f'share/segformer_ros/{folder}', files(folder)) for folder in FOLDERS])
