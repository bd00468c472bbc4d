"""Nodes as programs that are typed: help, and what they refuse."""

from __future__ import annotations

import importlib

import pytest

pytest.importorskip('rclpy')

from segformer_ros.node.program import Program

pytestmark = pytest.mark.ros


PROGRAM = Program('talker', 'Talks', (), 'Read on there.')


@pytest.mark.parametrize('asked', [['-h'], ['--help'], ['--ros-args', '-p', 'a:=1', '--', '-h']])
def test_help_is_given(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert PROGRAM.answer(asked) == 0
    out = capsys.readouterr().out
    assert out.startswith('usage: talker --ros-args [-p NAME:=VALUE]...\n')
    assert '--params-file FILE.yaml' in out
    assert '\nTalks. Read on there.\n' in out


@pytest.mark.parametrize(
    'given', [[], ['--ros-args', '-r', '__node:=x', '-p', 'a:=1'], ['--ros-args', '--']]
)
def test_what_is_rosss_is_let_through(given: list[str]) -> None:
    assert PROGRAM.answer(given) is None


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


@pytest.mark.parametrize(
    'path',
    [
        'segformer_ros.node.segmentation_node',
        'segformer_ros.node.replay_node',
        'segformer_ros.node.evaluator_node',
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
