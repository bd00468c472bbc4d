# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The public face: what `import segformer_ros` offers, and how little it loads."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import segformer_ros

HEAVY = {'av', 'cv2', 'numpy', 'onnx', 'openvino', 'rclpy', 'rosbags', 'tensorrt', 'yaml'}


def loaded_by(code: str) -> set[str]:
    """Which of the heavy packages are imported after a program."""
    program = f'import sys\n{code}\nprint(*sys.modules)'
    # The test's own folders go first, as in this process.
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, '-c', program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return HEAVY & set(done.stdout.split())


def test_every_name_is_there_and_documented() -> None:
    for name in segformer_ros.__all__:
        value = getattr(segformer_ros, name)
        assert value.__name__ == name
        assert inspect.getdoc(value), f'{name} has no docstring'
        assert name in dir(segformer_ros)


def test_the_names_are_these() -> None:
    """One that goes, or means something else, makes the next version a major one."""
    assert set(segformer_ros.__all__) == {
        'Calibration', 'CameraPose', 'ClassMap', 'Declared', 'DrivableArea', 'DrivableConfig',
        'EngineOptions', 'EvaluationOptions', 'EvaluationReport', 'Frame', 'ModelSpec',
        'SegformerError', 'SegmentedFrame', 'Segmenter', 'Source', 'SourceFrame', 'SourceOptions',
        'Stamp', 'calibration_from_camera_info', 'evaluate', 'load_class_map', 'load_model',
        'open_source', 'pose_from_transform',
    }  # fmt: skip


def test_type_checkers_see_what_python_loads() -> None:
    tree = ast.parse(Path(segformer_ros.__file__).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in ast.walk(blocks[0])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = segformer_ros._HOMES
    assert seen == {name: f'segformer_ros.{home}' for name, home in homes.items()}
    assert set(seen) == set(segformer_ros.__all__)


def test_nothing_is_loaded_before_it_is_used() -> None:
    assert loaded_by('import segformer_ros') == set()
    assert loaded_by('from segformer_ros import *') & {'rclpy', 'openvino', 'tensorrt'} == set()


def test_no_ros_is_loaded_to_segment() -> None:
    code = """
import numpy, segformer_ros
with segformer_ros.Segmenter(engine='fake') as segment:
    assert segment(numpy.zeros((64, 128, 3), 'uint8')).labels.shape == (64, 128)
"""
    assert loaded_by(code) & {'rclpy', 'openvino', 'av'} == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    misspelt = 'segmentor'
    with pytest.raises(AttributeError, match="'segformer_ros' has no attribute 'segmentor'"):
        getattr(segformer_ros, misspelt)


def test_the_version_is_the_packages(repo: Path) -> None:
    root = ElementTree.parse(repo / 'package.xml').getroot()
    assert segformer_ros.__version__ == root.findtext('version')


@pytest.mark.ros
def test_the_messages_are_beside_it() -> None:
    from segformer_ros import Segmenter  # noqa: F401
    from segformer_ros.msg import DrivableArea

    assert DrivableArea is not segformer_ros.DrivableArea


def test_every_error_has_the_base(repo: Path) -> None:
    """`except SegformerError` is enough."""
    names = {'SegformerError'}
    found: dict[str, list[str]] = {}
    for path in [*(repo / 'segformer_ros').rglob('*.py'), *(repo / 'tools').rglob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith('Error'):
                found[node.name] = [ast.unparse(base) for base in node.bases]
    for _ in found:
        names |= {name for name, bases in found.items() if names & set(bases)}
    assert set(found) <= names
