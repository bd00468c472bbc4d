# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Nodes as programs that are typed: help, and what they refuse."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.program import Program, check_command_line, command_line_parameters
from segformer_ros.node.segmentation.parameters import node_parameters

PROGRAM = Program('talker', 'Talks', (), 'Read on there.')


@pytest.mark.ros
@pytest.mark.parametrize('asked', [['-h'], ['--help'], ['--ros-args', '-p', 'a:=1', '--', '-h']])
def test_help_is_given(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert PROGRAM.answer(asked) == 0
    out = capsys.readouterr().out
    assert out.startswith('usage: talker --ros-args [-p NAME:=VALUE]...\n')
    assert '--params-file FILE.yaml' in out
    assert '\nTalks. Read on there.\n' in out


@pytest.mark.ros
@pytest.mark.parametrize(
    'given', [[], ['--ros-args', '-r', '__node:=x', '-p', 'a:=1'], ['--ros-args', '--']]
)
def test_what_is_rosss_is_let_through(given: list[str]) -> None:
    assert PROGRAM.answer(given) is None


@pytest.mark.ros
@pytest.mark.parametrize(
    ('given', 'what'),
    [
        (['--engine', 'fake'], 'unknown arguments: --engine fake'),
        (['--ros-args', '-p', 'a:=1', '--', 'x'], 'unknown arguments: x'),
        (['--ros-args', '--params-file', '/no.yaml'], '/no.yaml'),
        (['--ros-args', '-p', 'engine'], "ROS refuses the arguments: Couldn't parse parameter"),
        (['--ros-args', '--bogus'], '--bogus'),
    ],
)
def test_what_is_not_is_refused_in_one_line(
    given: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PROGRAM.answer(given) == 2
    error = capsys.readouterr().err
    assert error.startswith('talker: ')
    assert what in error
    assert error.endswith('; a parameter is given as --ros-args -p NAME:=VALUE, see --help\n')
    assert error.count('\n') == 1
    assert '.c:' not in error


@pytest.mark.ros
@pytest.mark.parametrize(
    'path',
    [
        'segformer_ros.node.segmentation.segmentation_node',
        'segformer_ros.node.replay.replay_node',
        'segformer_ros.node.evaluator.evaluator_node',
        'tools.demo.recorder_node',
    ],
)
def test_every_node_explains_itself(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(path)
    name = path.rpartition('.')[2]
    with pytest.raises(SystemExit) as ended:
        module.main(['--help'])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f'usage: {name} ' in out
    for entry in module.PROGRAM.parameters:
        assert f'\n  {entry.name}: ' in out
    assert max(map(len, out.splitlines())) <= 80


NODE = 'segmentation_node'
SHIPPED = Path(__file__).parents[2] / 'config/segment.yaml'


def check(*arguments: str) -> None:
    check_command_line(('--ros-args', *arguments), NODE, node_parameters())


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ('mask_width:=320', [('mask_width', 320)]),
        ('segmentation_node:mask_width:=320', [('mask_width', 320)]),
        ('/front/segmentation_node:mask_width:=320', [('mask_width', 320)]),
        ('another:mask_width:=320', []),
        ('mask_width', []),
        ('model:=a:b', [('model', 'a:b')]),
    ],
)
def test_words(given: str, expected: list[Any]) -> None:
    assert list(command_line_parameters(['--ros-args', '-p', given], NODE)) == expected


def test_files(tmp_path: Path) -> None:
    file = tmp_path / 'given.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    drivable: {group: road, grid: {size: 2}}\n'
        'another:\n  ros__parameters: {mask_width: 1}\n'
        'front:\n  segmentation_node:\n    ros__parameters:\n      mask_width: 2\n'
        'segmentation_node: {ros__parameters: }\n'
    )
    assert list(command_line_parameters(['--params-file', str(file)], NODE)) == [
        ('drivable.group', 'road'),
        ('drivable.grid.size', 2),
        ('mask_width', 2),
    ]


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ('mask_width:=half', "mask_width is 'half'; it must be a whole number"),
        ('mask_width:=320.5', 'mask_width is 320.5; it must be a whole number'),
        ('compressed:=1', 'compressed is 1; it must be true or false'),
        ('mount.height:=abc', "mount.height is 'abc'; it must be a number"),
        ('upsampling:=nearest', "upsampling is 'nearest'; it must be one of exact, fast"),
    ],
)
def test_a_wrong_value_behind_a_file_is_refused(given: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        check('--params-file', str(SHIPPED), '-p', given)


def test_what_is_right_or_not_ours_passes(tmp_path: Path) -> None:
    check('--params-file', str(SHIPPED), '-p', 'mount.height:=1e-7', '-p', 'mount.height:=1')
    check('-p', 'use_sim_time:=1', '-p', 'not yaml:=[', '--params-file', str(tmp_path / 'none'))
    check('-p')


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    'text',
    [
        'a: &a [*a]',
        'segmentation_node: {ros__parameters: text}',
        'segmentation_node: {ros__parameters: [1]}',
        'segmentation_node: {ros__parameters: !!binary aaaa}',
        '[' * 9999,
        'a: 2001-99-99',
    ],
)
def test_what_ros_itself_refuses_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / 'file.yaml').write_text(text)
    os.mkfifo(tmp_path / 'pipe')
    check('--params-file', str(tmp_path / 'file.yaml'), '--params-file', str(tmp_path / 'pipe'))
