# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""./run on machines that lack something: says what, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

TOOLS = (
    'awk', 'bash', 'cat', 'cut', 'df', 'dirname', 'env', 'find', 'flock', 'mkdir', 'readlink',
    'rm', 'sed', 'sha256sum', 'sort', 'tail', 'touch', 'uname',
)  # fmt: skip
COMPILERS = ('c++', 'cc', 'cmake', 'make')


class Run(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ./run in a fresh clone, on a machine with nothing but what was added."""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The folder of a machine's programs: the basic ones, no Python, no compiler."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for tool in TOOLS:
        path = shutil.which(tool)
        assert path, tool
        (folder / tool).symlink_to(path)
    return folder


@pytest.fixture
def clone(repo: Path, tmp_path: Path) -> Path:
    target = tmp_path / 'clone'
    target.mkdir()
    shutil.copy(repo / 'run', target)
    for name in ('scripts', 'requirements', 'msg', 'config'):
        shutil.copytree(repo / name, target / name)
    for name in ('CMakeLists.txt', 'package.xml', 'setup.cfg', 'setup.py'):
        shutil.copy(repo / name, target)
    return target


@pytest.fixture
def run(clone: Path, machine: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(clone / 'run'), *arguments],
            env={'PATH': str(machine), 'HOME': str(clone), **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def program(machine: Path, name: str, text: str) -> None:
    path = machine / name
    path.write_text(f'#!{shutil.which("bash")}\n{text}\n')
    path.chmod(0o755)


def add_python(machine: Path) -> None:
    program(machine, 'python3', f'exec {os.path.realpath(sys.executable)} "$@"')


def test_help_needs_nothing(run: Run, clone: Path) -> None:
    answer = run()
    assert answer.returncode == 0
    for verb in ('setup', 'demo', 'test', 'bench', 'train', 'evaluate-live', 'shell'):
        assert f'\n  {verb} ' in answer.stdout
    assert not (clone / '.venv').exists()


def test_without_python(run: Run) -> None:
    answer = run('demo')
    assert answer.returncode == 1
    assert 'no usable Python' in answer.stderr
    assert 'found is none' in answer.stderr
    assert 'sudo apt-get install python3 python3-venv python3-dev' in answer.stderr


def test_python_too_old(run: Run, machine: Path) -> None:
    program(machine, 'python3', '[ "$1" = --version ] && echo Python 3.8.10 || exit 1')
    assert 'found is Python 3.8.10 without venv' in run('demo').stderr


def test_without_compilers(run: Run, machine: Path) -> None:
    add_python(machine)
    answer = run('demo')
    assert answer.returncode == 1
    for words in ('a C++ compiler (build-essential)', 'make (build-essential)', 'cmake (cmake)'):
        assert f'- {words}' in answer.stderr


def test_without_space(run: Run, machine: Path) -> None:
    add_python(machine)
    for name in COMPILERS:
        program(machine, name, ':')
    (machine / 'df').unlink()
    program(machine, 'df', 'printf "head\\nfs 1000 900 100 90%% /\\n"')
    answer = run('demo')
    assert answer.returncode == 1
    assert '100 MiB are free in' in answer.stderr


def test_other_architecture_without_a_distribution(run: Run, machine: Path) -> None:
    add_python(machine)
    for name in COMPILERS:
        program(machine, name, ':')
    (machine / 'uname').unlink()
    program(machine, 'uname', '[ "$1" = -m ] && echo aarch64 || echo Linux')
    answer = run('demo')
    assert answer.returncode == 1
    assert 'Linux-aarch64' in answer.stderr
    assert 'source /opt/ros/$ROS_DISTRO/setup.bash' in answer.stderr


def test_distribution_without_colcon(run: Run, machine: Path, tmp_path: Path) -> None:
    add_python(machine)
    (tmp_path / 'ros/share/rclpy').mkdir(parents=True)
    answer = run('demo', ROS_DISTRO='humble', AMENT_PREFIX_PATH=str(tmp_path / 'ros'))
    assert 'colcon (python3-colcon-common-extensions)' in answer.stderr


def test_failed_checks_leave_no_environment(run: Run, clone: Path) -> None:
    run('demo')
    assert [path.name for path in (clone / '.venv').rglob('*') if path.is_file()] == ['lock']


@pytest.mark.parametrize(
    ('version', 'words'),
    [('3.99', 'there is no Python 3.99 here; give --python a version'), ('', 'needs a version')],
)
def test_with_a_python_that_is_not_there(run: Run, clone: Path, version: str, words: str) -> None:
    answer = run('test', '--python', version)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert not list(clone.glob('.venv*'))


def test_with_another_python_the_environment_is_another(run: Run, machine: Path) -> None:
    program(machine, 'python3.12', 'echo 3.12')
    answer = run('test', '--python', '3.12', SEGFORMER_TEST_EXTRAS='')
    assert answer.returncode == 1  # it goes on to make it, and finds no compiler
    assert 'what builds the ROS messages is not complete' in answer.stderr


def at_commit(machine: Path, number: int) -> None:
    """Let git tell a commit that begins so."""
    program(machine, 'git', f'[ "$3" = rev-parse ] && echo {number:06x}{"e" * 34}')


THIRTEENTH = 0xA1
"""A commit whose turn is Python 3.13's."""


def test_by_turns_every_commit_has_its_python(run: Run, machine: Path) -> None:
    """Where it is not on the machine, the usual one takes its turn."""
    answers = []
    for number in range(0xA0, 0xA6):
        at_commit(machine, number)
        answer = run('test', '--python', 'turn')
        assert answer.returncode == 1 and 'no usable Python' in answer.stderr
        answers.append(answer.stderr.splitlines()[0])
    assert sorted(answers) == [
        *(
            f'run: it is the turn of Python {version}, which is not here: the usual one takes it'
            for version in ('3.10', '3.12', '3.13')
        ),
        *['run: it is the turn of the usual Python'] * 3,
    ]
    program(machine, 'git', 'exit 128')
    program(machine, 'date', 'echo 089')
    assert 'it is the turn of Python 3.13' in run('test', '--python', 'turn').stderr


def test_the_usual_python_takes_the_turn_of_one_without_an_environment(
    run: Run, machine: Path, clone: Path
) -> None:
    at_commit(machine, THIRTEENTH)
    program(machine, 'python3.13', 'echo 3.13')
    answer = run('test', '--python', 'turn', SEGFORMER_TEST_EXTRAS='')
    assert 'run: it is the turn of Python 3.13\n' in answer.stderr
    assert 'without an environment for Python 3.13 the usual one takes its turn' in answer.stderr
    assert sorted(path.name for path in clone.glob('.venv*')) == ['.venv', '.venv-3.13']


def test_a_distribution_has_one_python_and_no_turns(
    run: Run, machine: Path, clone: Path, tmp_path: Path
) -> None:
    at_commit(machine, THIRTEENTH)
    program(machine, 'python3.13', 'echo 3.13')
    (tmp_path / 'ros/share/rclpy').mkdir(parents=True)
    where = {'ROS_DISTRO': 'humble', 'AMENT_PREFIX_PATH': str(tmp_path / 'ros')}
    answer = run('test', '--python', 'turn', **where)
    assert 'it is the turn of the usual Python' in answer.stderr
    assert [path.name for path in clone.glob('.venv*')] == ['.venv']


def test_an_extra_that_is_not_to_be_had_is_said_and_stops_nothing(
    repo: Path, tmp_path: Path
) -> None:
    """With an environment that is complete, but for the browser."""
    environment = tmp_path / 'venv'
    setup = f"""
        . {repo}/scripts/environment.sh
        mkdir -p $venv/bin $stamps && ln -s "$(command -v sh)" $venv/bin/python
        for step in venv packages exports command build; do step_key $step >$stamps/$step; done
        id() {{ echo 1000; }}; export -f id
        command() {{ [ "$2" != chromium ] && builtin command "$@"; }}; export -f command
        exec {repo}/scripts/setup.sh --if-possible browser"""
    answer = subprocess.run(
        ['bash', '-c', f'root={repo}{setup}'],
        env={**os.environ, 'SEGFORMER_VENV': str(environment)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    said = 'not to be had: no Chromium, and no right to install it: sudo apt-get install chromium'
    assert said in answer.stdout
    assert not (environment / '.setup/browser').exists()


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [('humble', 'FASTRTPS'), ('jazzy', 'FASTRTPS'), ('kilted', 'FASTDDS'), ('lyrical', 'FASTDDS')],
)
def test_the_transport_profile_has_the_name_that_the_distribution_reads(
    repo: Path, tmp_path: Path, distribution: str, variable: str
) -> None:
    (tmp_path / 'ros/share/rclpy').mkdir(parents=True)
    script = f'set -eu; root={repo}; . {repo}/scripts/environment.sh; enter_environment; env'
    ros = {'ROS_DISTRO': distribution, 'AMENT_PREFIX_PATH': str(tmp_path / 'ros')}
    variables = {name: text for name, text in os.environ.items() if 'PROFILES_FILE' not in name}
    said = subprocess.check_output(['bash', '-c', script], env={**variables, **ros}, text=True)
    lines = [line for line in said.splitlines() if 'PROFILES_FILE' in line]
    assert lines == [f'{variable}_DEFAULT_PROFILES_FILE={repo}/config/fastdds.xml']


def test_unknown_setup_option(run: Run) -> None:
    answer = run('setup', '--fast')
    assert answer.returncode == 1
    assert "unknown option '--fast'" in answer.stderr
