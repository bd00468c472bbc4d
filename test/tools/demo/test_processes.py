# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Commands of nodes, and their orderly end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from segformer_ros.interrupts import shielded
from tools.demo import processes
from tools.demo.processes import NodeCommand, Nodes, Value

REPLAY = 'segformer_ros.node.replay.replay_node'
SEGMENTATION = 'segformer_ros.node.segmentation.segmentation_node'
ENDS = 'import sys; sys.exit(3)'
UNBLOCK = 'import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])\n'
WAITS = """
import pathlib, signal, sys, time
def note(number, frame):
    pathlib.Path(sys.argv[1]).open('a').write(sys.argv[2])
    sys.exit(0)
signal.signal(signal.SIGINT, note)
pathlib.Path(sys.argv[1] + sys.argv[2]).touch()
time.sleep(60)
"""
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


STARTS_ONE = """
import subprocess, sys, time
code = (
    'import pathlib, sys, time\\n'
    'from segformer_ros.interrupts import end_with_parent\\n'
    'end_with_parent()\\n'
    'pathlib.Path(sys.argv[1]).touch()\\n'
    'try:\\n    time.sleep(60)\\n'
    'except KeyboardInterrupt:\\n    pathlib.Path(sys.argv[1] + "ended").touch()\\n'
)
subprocess.Popen([sys.executable, '-c', code, sys.argv[1]], start_new_session=True)
time.sleep(60)
"""


class Script(NodeCommand):
    """A command that runs Python code in place of a node."""

    @property
    def arguments(self) -> list[str]:
        """Module is the code, parameters its arguments."""
        return [sys.executable, '-c', UNBLOCK + self.module, *map(str, self.parameters.values())]


def wait_for_code(nodes: Nodes, name: str) -> int | None:
    """Exit code of a process that ends by itself."""
    end = time.monotonic() + 60
    while nodes.code(name) is None and time.monotonic() < end:
        time.sleep(0.02)
    return nodes.code(name)


def wait_for_file(path: Path) -> None:
    """Until a process has come as far as making it."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)


def test_parameters_reach_ros_with_their_types() -> None:
    values: dict[str, Value] = {
        'input': 'street:',
        'labels': '',
        'fps': 10.0,
        'frames': 3,
        'page': True,
        'name': "it's",
        'tiny': 1e-7,
        'number': '7',
    }
    arguments = NodeCommand(REPLAY, values, files=('a.yaml',)).arguments
    assert arguments[:2] == [sys.executable, '-c']
    assert f"node('{REPLAY}')" in arguments[2]
    assert arguments[arguments.index('--params-file') + 1] == 'a.yaml'
    given = [text.partition(':=') for text in arguments if ':=' in text]
    parsed = {name: yaml.safe_load(value) for name, _, value in given}
    assert parsed == values


def test_the_exit_code_of_a_node_is_known() -> None:
    with Nodes() as nodes:
        nodes.start('one', Script(ENDS, {}))
        assert wait_for_code(nodes, 'one') == 3


def test_nodes_are_interrupted_the_last_started_first(tmp_path: Path) -> None:
    notes = tmp_path / 'notes'
    with Nodes() as nodes:
        for name in 'abc':
            nodes.start(name, Script(WAITS, {'file': str(notes), 'name': name}))
            wait_for_file(tmp_path / f'notes{name}')
    assert notes.read_text() == 'cba'


def test_a_node_that_does_not_listen_is_ended_harder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = tuple((number, 0.3) for number, _ in processes._PATIENCE)
    monkeypatch.setattr(processes, '_PATIENCE', quick)
    with Nodes() as nodes:
        nodes.start('stubborn', Script(STUBBORN, {'file': str(tmp_path / 'deaf')}))
        wait_for_file(tmp_path / 'deaf')
        nodes.end('stubborn')
        assert nodes.code('stubborn') not in (0, None)


def test_an_error_leaves_no_process_behind() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def fails() -> None:
        with Nodes() as nodes:
            nodes.start('one', Script('import time; time.sleep(60)', {}))
            started.append(nodes._running['one'])
            raise RuntimeError('stop')

    with pytest.raises(RuntimeError, match='stop'):
        fails()
    assert started[0].poll() is not None


def test_a_second_ctrl_c_ends_all_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(nodes: Nodes, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Nodes, 'end', interrupted)
    nodes = Nodes()
    for name in 'ab':
        nodes.start(name, Script(STUBBORN, {'file': str(tmp_path / name)}))
        wait_for_file(tmp_path / name)
    with pytest.raises(KeyboardInterrupt):
        nodes.__exit__()
    assert [wait_for_code(nodes, name) for name in 'ab'] == [-signal.SIGKILL] * 2


def test_a_node_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    file = tmp_path / 'node'
    parent = subprocess.Popen([sys.executable, '-c', STARTS_ONE, str(file)])
    wait_for_file(file)
    parent.kill()
    parent.wait()
    wait_for_file(tmp_path / 'nodeended')


def test_nodes_of_the_demo_end_with_it() -> None:
    assert 'end_with_parent()' in NodeCommand(REPLAY, {}).arguments[2]


@pytest.mark.ros
def test_a_node_that_is_interrupted_while_it_starts_says_nothing() -> None:
    with shielded():
        node = subprocess.Popen(
            NodeCommand(SEGMENTATION, {'engine': 'fake'}).arguments,
            stderr=subprocess.PIPE,
            text=True,
        )
    end = time.monotonic() + 60
    while 'numpy' not in Path(f'/proc/{node.pid}/maps').read_text():  # amid its imports
        assert time.monotonic() < end
    node.send_signal(signal.SIGINT)
    _, errors = node.communicate(timeout=100)
    assert (node.returncode, errors) == (0, '')
