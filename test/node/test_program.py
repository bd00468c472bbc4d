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
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.program import (
    LogBridge,
    Program,
    QuietExecutor,
    bridge_logs,
    check_command_line,
    command_line_parameters,
)
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
        (
            ['--ros-args', '-p', 'a:=1', '-p', 'input:=sample:'],
            """; a value that ends in a colon needs quotes: -p "input:='sample:'";""",
        ),
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


pytestmark = pytest.mark.ros

LISTENER = """
import sys
from rclpy.node import Node
from std_msgs.msg import String
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.program import run_node, spin
from segformer_ros.node.program import Program

class Talker(Node):
    def __init__(self):
        if 'refuse' in sys.argv:
            raise ParameterError('speed is -1; give 0 or more')
        super().__init__('talker')
        self.words = self.create_publisher(String, 'words', 1)
        self.once = self.create_timer(0.1, self.begin)

    def begin(self):
        self.once.cancel()
        print('working', flush=True)

def work(node):
    if 'fail' in sys.argv:
        raise OSError(28, 'No space left on device', 'drive.mcap')
    if 'bug' in sys.argv:
        raise KeyError('a bug')
    spin(node)
    return True

def close(node):
    print('closing', flush=True)
    if 'full' in sys.argv:
        raise OSError(28, 'No space left on device', 'drive.mcap')
    sys.stdin.readline()  # the second signal comes here
    node.words.publish(String(data='bye'))
    print('closed', flush=True)

def main():
    given = [] if sys.argv[1] == 'as' else sys.argv[1:]
    run_node(Program('talker', 'Talks'), Talker, work, close, given)

if __name__ == '__main__':
    from segformer_ros.interrupts import run_program
    run_program('__main__', 0)
"""


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', LISTENER, 'as', *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )


def interrupted_at_work(program: subprocess.Popen[str]) -> str:
    """Interrupt a program at work and let it end; what it says of errors."""
    assert program.stdout is not None
    assert program.stdout.readline() == 'working\n'
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate('\n', timeout=100)
    return errors


@pytest.mark.parametrize('again', [None, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('first', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_closes_once_while_the_node_can_publish(
    first: signal.Signals, again: signal.Signals | None
) -> None:
    program = start()
    assert program.stdout is not None
    assert program.stdout.readline() == 'working\n'
    program.send_signal(first)
    assert program.stdout.readline() == 'closing\n'
    if again is not None:
        program.send_signal(again)
        time.sleep(0.2)  # it reaches the program
    output, errors = program.communicate('\n', timeout=100)
    assert (program.returncode, output, errors) == (0, 'closed\n', '')


def test_a_refusal_is_one_line() -> None:
    program = start('refuse')
    output, errors = program.communicate(timeout=100)
    assert program.returncode == 1
    assert errors == 'talker: speed is -1; give 0 or more\n'
    assert output == ''


def test_a_full_disk_at_work_is_one_line() -> None:
    program = start('fail')
    output, errors = program.communicate('\n', timeout=100)
    assert (program.returncode, output) == (1, 'closing\nclosed\n')
    assert errors.startswith('talker: drive.mcap: the disk is full; ')
    assert errors.count('\n') == 1


def test_a_full_disk_at_the_end_is_one_line() -> None:
    program = start('full')
    errors = interrupted_at_work(program)
    assert program.returncode == 1
    assert errors.startswith('talker: drive.mcap: the disk is full; ')
    assert errors.count('\n') == 1


@pytest.mark.parametrize('variable', ['HOME', 'ROS_HOME', 'ROS_LOG_DIR'])
def test_a_folder_for_logs_that_cannot_be_written_to_is_one_line(variable: str) -> None:
    program = start(**{'ROS_LOG_DIR': '', 'ROS_HOME': '', variable: '/proc/1'})
    errors = interrupted_at_work(program)
    assert program.returncode == 0
    assert errors.startswith('talker: /proc/1')
    assert errors.endswith(': no log file is written; ROS_LOG_DIR names another place\n')
    assert errors.count('\n') == 1


@pytest.mark.parametrize(
    ('variable', 'value', 'words'),
    [
        ('ROS_DOMAIN_ID', '300', "ROS_DOMAIN_ID is '300'; give a whole number from 0 to 232"),
        ('RMW_IMPLEMENTATION', 'rmw_none', 'rmw_none'),
    ],
)
def test_ros_that_does_not_start_is_told(variable: str, value: str, words: str) -> None:
    program = start(**{variable: value})
    _, errors = program.communicate('\n', timeout=100)
    assert words in errors
    assert 'Traceback' not in errors


def test_a_bug_keeps_its_traceback() -> None:
    program = start('bug')
    output, errors = program.communicate('\n', timeout=100)
    assert (program.returncode, output) == (1, 'closing\nclosed\n')
    assert errors.endswith("KeyError: 'a bug'\n")


@pytest.mark.parametrize(('argument', 'code'), [('--help', 0), ('--loud', 2)])
def test_help_and_unknown_arguments_start_no_node(argument: str, code: int) -> None:
    program = subprocess.run(
        [sys.executable, '-c', LISTENER, argument],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert program.returncode == code
    assert 'closing' not in program.stdout
    assert ('usage: talker' in program.stdout) == (code == 0)
    assert ('--loud' in program.stderr) == (code == 2)


# --- Log --------------------------------------------------------------------------------------


class Logger:
    """Stands for a logger of rclpy."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> object:
        return lambda text: self.lines.append((level, text))


@pytest.fixture
def package() -> Iterator[logging.Logger]:
    package = logging.getLogger('segformer_ros')
    level, propagate = package.level, package.propagate
    yield package
    package.handlers = [h for h in package.handlers if not isinstance(h, LogBridge)]
    package.setLevel(level)
    package.propagate = propagate


def test_levels_are_kept_and_the_last_bridge_counts(package: logging.Logger) -> None:
    first, second = Logger(), Logger()
    bridge_logs(first)
    bridge_logs(second)
    log = logging.getLogger('segformer_ros.engines.auto')
    log.info('engine %s is used', 'openvino')
    log.warning('cache is read-only')
    log.debug('not shown')
    assert first.lines == []
    assert second.lines == [('info', 'engine openvino is used'), ('warning', 'cache is read-only')]


def test_levels_follow_each_other_in_a_real_logger(
    package: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    from rclpy.logging import get_logger

    bridge_logs(get_logger('bridged'))
    log = logging.getLogger('segformer_ros.engines.auto')
    for line, level in enumerate(
        (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, logging.INFO)
    ):
        log.log(level, 'line %d', line)
    printed = capfd.readouterr()
    lines = [line for line in (printed.out + printed.err).splitlines() if '[bridged]' in line]
    assert sorted(line.split(']: ')[-1] for line in lines) == [f'line {n}' for n in range(5)]
    assert 'Traceback' not in printed.err


@pytest.mark.ros
def test_the_executor_prepares_once_for_each_callback(
    ros: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    waits: list[int] = []
    ticks: list[int] = []
    wait_set = rclpy.executors._rclpy.WaitSet

    def counted(*arguments: Any) -> Any:
        waits.append(1)
        return wait_set(*arguments)

    monkeypatch.setattr(rclpy.executors._rclpy, 'WaitSet', counted)
    for kind, each in ((SingleThreadedExecutor, 2), (QuietExecutor, 1)):
        node = rclpy.create_node('ticking')
        ticks.clear()
        node.create_timer(0.002, lambda: ticks.append(1))
        executor = kind()
        executor.add_node(node)
        executor.spin_once(timeout_sec=5.0)
        begun, waits[:] = len(ticks), []
        while len(ticks) < begun + 10:
            executor.spin_once(timeout_sec=5.0)
        # Where several ticks are due at once, rclpy's own prepares less in vain.
        assert 10 * each - 5 <= len(waits) <= 10 * each + 1
        executor.shutdown()
        executor.wake()  # by whoever comes late: nothing
        node.destroy_node()
