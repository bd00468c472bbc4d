# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the command line says, as the parameters of the nodes."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
import recordings as rec

from segformer_ros.recordings import open_source
from tools.demo.node_commands import add_node_arguments, mount_parameters, node_parameters


def test_the_mount_of_the_recording_goes_to_the_nodes() -> None:
    street = open_source('street::2')
    assert street.pose is not None
    mount = mount_parameters(street, {'mask_width': 32})
    assert mount['mount.height'] == street.pose.height
    assert set(mount) == {f'mount.{name}' for name in ('height', 'pitch', 'roll', 'yaw', 'x', 'y')}


def test_a_given_mount_goes_before_that_of_the_recording() -> None:
    street = open_source('street::2')
    assert street.pose is not None
    mount = mount_parameters(street, {'mount.pitch': 0.5})
    assert (mount['mount.pitch'], mount['mount.height']) == (0.5, street.pose.height)


def test_a_recording_without_a_mount_has_the_given_one_alone(tmp_path: Path) -> None:
    clip = open_source(rec.write_folder(tmp_path / 'clip', 1))
    assert mount_parameters(clip, {}) == {}
    assert mount_parameters(clip, {'mount.height': 1.5, 'engine': 'fake'}) == {'mount.height': 1.5}


@pytest.mark.parametrize(
    ('typed', 'model'),
    [
        ([], None),
        (['--model', 'tiny'], 'tiny'),
        (['--model', 'a.onnx'], str(Path('a.onnx').resolve())),
    ],
)
def test_a_models_path_is_the_same_for_the_nodes_and_a_name_stays_one(
    typed: list[str], model: str | None
) -> None:
    parser = ArgumentParser()
    add_node_arguments(parser, 1.0)
    assert node_parameters(parser.parse_args(typed)).get('model') == model
