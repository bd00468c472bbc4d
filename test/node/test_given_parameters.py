"""Parameters as they are written: what rcl would drop without a word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.node.given_parameters import check_given, given_parameters
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.parameters import node_parameters

NODE = 'segmentation_node'
SHIPPED = Path(__file__).parents[2] / 'config/segment.yaml'


def check(*arguments: str) -> None:
    check_given(('--ros-args', *arguments), NODE, node_parameters())


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
    assert list(given_parameters(['--ros-args', '-p', given], NODE)) == expected


def test_files(tmp_path: Path) -> None:
    file = tmp_path / 'given.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    drivable: {group: road, grid: {size: 2}}\n'
        'another:\n  ros__parameters: {mask_width: 1}\n'
        'front:\n  segmentation_node:\n    ros__parameters:\n      mask_width: 2\n'
        'segmentation_node: {ros__parameters: }\n'
    )
    assert list(given_parameters(['--params-file', str(file)], NODE)) == [
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
