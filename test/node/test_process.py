# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node's process: interrupted once or twice it ends in order; a refusal is one line."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segformer_ros.node.process import LogBridge, bridge_logs

pytestmark = pytest.mark.ros

PROGRAM = """
import sys
from rclpy.node import Node
from std_msgs.msg import String
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.process import run_node, spin
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
        [sys.executable, '-c', PROGRAM, 'as', *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )


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
    assert program.stdout is not None
    assert program.stdout.readline() == 'working\n'
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate('\n', timeout=100)
    assert program.returncode == 1
    assert errors.startswith('talker: drive.mcap: the disk is full; ')
    assert errors.count('\n') == 1


@pytest.mark.parametrize('variable', ['HOME', 'ROS_HOME', 'ROS_LOG_DIR'])
def test_a_folder_for_logs_that_cannot_be_written_to_is_one_line(variable: str) -> None:
    program = start(**{'ROS_LOG_DIR': '', 'ROS_HOME': '', variable: '/proc/1'})
    assert program.stdout is not None
    assert program.stdout.readline() == 'working\n'
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate('\n', timeout=100)
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
        [sys.executable, '-c', PROGRAM, argument],
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
