# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The table of parameters, the files that are made from it, and what a node refuses."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from node_rig import MakeRig

from segformer_ros.drivable import DrivableConfig
from segformer_ros.node.drivable_settings import MountSettings, drivable_config, mount_pose
from segformer_ros.node.parameter import ParameterError, parameters_of
from segformer_ros.node.segmentation.parameters import Settings, node_parameters

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def script(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location('table', repo / 'scripts/parameter_table.py')
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_default_is_allowed_and_described() -> None:
    for entry in parameters_of(Settings) + parameters_of(MountSettings, 'mount.'):
        assert entry.checked(entry.default) == entry.default
        assert entry.description, entry.name


@pytest.mark.parametrize('name', ['doc/parameters.md', 'config/segment.yaml'])
def test_written_files_are_up_to_date(repo: Path, script: ModuleType, name: str) -> None:
    assert (repo / name).read_text() == script.FILES[name](), 'run scripts/parameter_table.py'


def test_nodes_that_read_once_say_so(script: ModuleType) -> None:
    first, *others = re.split('^# ', script.markdown(), flags=re.MULTILINE)[1:]
    assert '`mount.height` | double | `0.0` | a number from 0 to 100 | yes |' in first
    assert len(others) == 3
    for node in others:
        rows = re.findall(r'^\| `.*', node, re.MULTILINE)
        assert rows
        assert [row for row in rows if '| no (read-only) |' not in row] == []


def test_every_group_of_a_node_has_one_heading(script: ModuleType) -> None:
    for node in re.split('^# ', script.markdown(), flags=re.MULTILINE)[1:]:
        headings = re.findall('^## .*', node, re.MULTILINE)
        assert sorted(set(headings)) == sorted(headings)


def test_parameter_file_holds_all_defaults(repo: Path, script: ModuleType) -> None:
    data = yaml.safe_load((repo / 'config/segment.yaml').read_text())
    found: dict[str, object] = {}

    def flatten(prefix: str, group: dict[str, object]) -> None:
        for key, value in group.items():
            if isinstance(value, dict):
                flatten(f'{prefix}{key}.', value)
            else:
                found[prefix + key] = tuple(value) if isinstance(value, list) else value

    flatten('', data['/**']['ros__parameters'])
    for entry in node_parameters():
        written = pytest.approx(entry.default, rel=1e-5) if entry.type is float else entry.default
        assert found.pop(entry.name) == written, entry.name
    assert found == {}


def test_defaults_are_those_of_the_drivable_area() -> None:
    assert drivable_config(Settings().drivable, MountSettings()) == DrivableConfig()


def test_hood_is_of_the_mount() -> None:
    config = drivable_config(Settings().drivable, MountSettings(hood=0.1))
    assert config.boundary.hood == 0.1


def test_no_height_is_no_pose() -> None:
    assert mount_pose(MountSettings()) is None
    pose = mount_pose(MountSettings(height=1.5, pitch=0.1))
    assert pose
    assert (pose.height, pose.pitch) == (1.5, 0.1)


@pytest.mark.parametrize(
    ('width', 'height', 'size'),
    [
        (0, 0, None),
        (640, 0, (360, 640)),
        (0, 360, (360, 640)),
        (400, 200, (200, 400)),
    ],
)
def test_mask_size_keeps_proportions(
    width: int, height: int, size: tuple[int, int] | None
) -> None:
    assert Settings(mask_width=width, mask_height=height).mask_size(1080, 1920) == size


@pytest.mark.parametrize(
    ('cameras', 'words'),
    [
        (('front', 'front'), 'names one camera twice'),
        (('front', ''), "cameras has '', which cannot be the prefix of a topic"),
        (('2nd',), "cameras has '2nd'"),
        (('a b',), "cameras has 'a b'"),
    ],
)
def test_camera_names_make_topics(cameras: tuple[str, ...], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Settings(cameras=cameras)


def test_no_cameras_is_one_without_prefix() -> None:
    assert Settings(cameras=()).camera_names == ('',)


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('overlay_opacity', 1.5, '1.0'),
        ('upsampling', 'best', "upsampling is 'best'; it must be one of exact, fast"),
        ('model', '/x.onnx', 'model cannot change .* while the node is configured'),
        ('cameras', ['a'], 'read-only'),
        ('drivable__group', 'canal', "no class 'canal'"),
        ('drivable__grid__x_min', 45.0, 'holds no cell'),
    ],
)
def test_wrong_values_are_refused_in_words(
    make_rig: MakeRig, name: str, value: Any, words: str
) -> None:
    rig = make_rig()
    rig.start()
    before = rig.node.settings
    result = rig.set(**{name: value})[0]
    assert not result.successful
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(result.reason)
    assert rig.node.settings == before


def test_wrong_value_from_the_start(make_rig: MakeRig) -> None:
    with pytest.raises(
        ParameterError, match=r'jpeg_quality is 300; it must be a whole number from 1 to 100'
    ):
        make_rig(jpeg_quality=300)
    with pytest.raises(
        ParameterError, match="engine is 'cloud'; it must be one of auto, .*tensorrt$"
    ):
        make_rig(engine='cloud')


def test_unknown_parameter_is_named(make_rig: MakeRig, capfd: Any) -> None:
    make_rig(overlay_opcity=0.3)
    assert 'no parameter overlay_opcity: it is ignored; did you mean overlay_opacity?' in (
        capfd.readouterr().err
    )


def test_a_refusal_of_megabytes_is_a_line(make_rig: MakeRig) -> None:
    rig = make_rig()
    (result,) = rig.set(upsampling='\x1b[2J' + 'x' * 3_000_000)
    assert not result.successful
    assert result.reason.isprintable()
    assert len(result.reason) <= 1000
