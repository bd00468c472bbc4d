# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Interrupts: told to end at any moment, a program says nothing and exits as documented."""

from __future__ import annotations

import os
import platform
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from segformer_ros.interrupts import (
    EXIT_INTERRUPTED,
    SIGNALS,
    Interrupts,
    interruptible,
    shielded,
)

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc')

FAULTS = """
import resource, sys
from segformer_ros.interrupts import keep_buffers
print(keep_buffers())
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in (6_000_000, 25_000_000):
    for _ in range(3):
        bytearray(size)
    before = faults()
    for _ in range(20):
        bytearray(size)
    print(faults() - before)
"""


def measured(**environment: str) -> tuple[bool, int, int]:
    """Whether buffers are kept, and page faults of 20 buffers of 6 and of 25 MB."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC', 'SEGFORMER_M'))}
    done = subprocess.run(
        [sys.executable, '-c', FAULTS], env={**clean, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, small, large = done.stdout.split()
    return kept == 'True', int(small), int(large)


def test_buffers_of_frames_cost_no_page_faults() -> None:
    kept, small, large = measured()
    assert kept
    assert small < 100 and large < 100, 'the kernel clears 1,465 and 6,100 pages for each'


@pytest.mark.parametrize(
    'environment',
    [
        {'SEGFORMER_MALLOC': 'system'},
        {'MALLOC_ARENA_MAX': '2'},
        {'GLIBC_TUNABLES': 'glibc.malloc.check=0'},
    ],
)
def test_the_allocator_is_left_alone_where_somebody_says_so(environment: dict[str, str]) -> None:
    assert not measured(**environment)[0]


START = 'from segformer_ros.interrupts import run_program; run_program({module!r}, {code})'
CUT = """
import os, signal
def cut(number=signal.SIGINT):
    os.kill(os.getpid(), number)
"""


def program(folder: Path, text: str, code: int = EXIT_INTERRUPTED) -> list[str]:
    """Command that runs a module of this text as its program."""
    (folder / 'prog.py').write_text(CUT + textwrap.dedent(text))
    path = f'import sys; sys.path.insert(0, {str(folder)!r}); '
    return [sys.executable, '-c', path + START.format(module='prog', code=code)]


def outcome(command: list[str], repo: Path) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, cwd=repo, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize('code', [0, EXIT_INTERRUPTED])
def test_it_ends_a_program_that_loads(
    tmp_path: Path, repo: Path, number: signal.Signals, code: int
) -> None:
    text = f"""
    try:
        cut({number.value})
    except BaseException:  # as imports do that try what is there
        pass
    print('loaded')
    def main(): print('ran')
    """
    assert outcome(program(tmp_path, text, code), repo) == (code, '', '')


@pytest.mark.parametrize('number', SIGNALS)
def test_it_is_raised_once_at_work(tmp_path: Path, repo: Path, number: signal.Signals) -> None:
    text = f"""
    import time
    from segformer_ros.interrupts import interruptible
    def work():
        try:
            cut({number.value})
            time.sleep(60)
        finally:
            cut({number.value})  # `ros2 launch` repeats it
            print('closed')
    def main():
        try:
            interruptible(work)
        except KeyboardInterrupt:
            cut()
            return 7
    """
    assert outcome(program(tmp_path, text), repo) == (7, 'closed\n', '')


@pytest.mark.parametrize('error', ['ImportError', 'RuntimeError', 'SystemError'])
def test_what_a_library_makes_of_it_is_an_interrupt(
    tmp_path: Path, repo: Path, error: str
) -> None:
    text = f"""
    from segformer_ros.errors import explained
    def work():
        try:
            cut()
        except KeyboardInterrupt as interrupt:
            raise {error}('initialization failed') from interrupt
    def main():
        return explained('prog', work)
    """
    expected = (EXIT_INTERRUPTED, '', 'prog: interrupted\n')
    assert outcome(program(tmp_path, text), repo) == expected


def test_one_that_is_lost_in_a_finaliser_is_raised_again(tmp_path: Path, repo: Path) -> None:
    text = """
    import time
    from segformer_ros.errors import explained
    class Closing:
        def __del__(self):
            cut()
    def work():
        Closing()
        time.sleep(60)
    def main():
        return explained('prog', work)
    """
    expected = (EXIT_INTERRUPTED, '', 'prog: interrupted\n')
    assert outcome(program(tmp_path, text), repo) == expected


@pytest.mark.parametrize(
    ('number', 'said'),
    [(signal.SIGINT, ''), (signal.SIGTERM, 'ended\n'), (signal.SIGHUP, 'ended\n')],
)
def test_a_late_second_ctrl_c_ends_what_does_not_come_to_an_end(
    tmp_path: Path, repo: Path, number: signal.Signals, said: str
) -> None:
    text = f"""
    import time
    from segformer_ros import interrupts
    interrupts._REPEATED = 0.0
    def work():
        try:
            cut()
        finally:
            cut({number.value})
            print('ended')
    def main():
        interrupts.interruptible(work)
    """
    assert outcome(program(tmp_path, text), repo) == (EXIT_INTERRUPTED, said, '')


def test_it_leaves_no_lock_taken(tmp_path: Path, repo: Path) -> None:
    text = """
    import threading, time
    from segformer_ros.interrupts import interruptible
    class Lock:
        def __init__(self):
            self.inner = threading.Lock()
        def __enter__(self):
            self.inner.acquire()
            os.kill(os.getpid(), signal.SIGINT)
        def __exit__(self, *error):
            self.inner.release()
    def work():
        lock = Lock()
        try:
            with lock:
                time.sleep(60)
        finally:
            print(lock.inner.locked())
    def main():
        interruptible(work)
    """
    assert outcome(program(tmp_path, text), repo) == (EXIT_INTERRUPTED, 'False\n', '')


def test_it_ends_what_waits(tmp_path: Path, repo: Path) -> None:
    text = """
    import queue, threading, time
    from segformer_ros.interrupts import interruptible
    def work():
        threading.Timer(0.3, cut).start()
        queue.Queue().get()
    def main():
        interruptible(work)
    """
    assert outcome(program(tmp_path, text), repo) == (EXIT_INTERRUPTED, '', '')


def test_it_changes_nothing_once_the_work_is_done(tmp_path: Path, repo: Path) -> None:
    text = """
    import atexit
    from segformer_ros.interrupts import interruptible
    atexit.register(cut)
    def main():
        interruptible(lambda: None)
        cut()
        return 5
    """
    assert outcome(program(tmp_path, text), repo) == (5, '', '')


def test_a_hang_up_is_ignored_under_nohup(tmp_path: Path, repo: Path) -> None:
    text = """
    def main():
        cut(signal.SIGHUP)
        return 5
    """
    code, output, _ = outcome(['nohup', *program(tmp_path, text)], repo)
    assert (code, output) == (5, '')


def test_a_bug_keeps_its_traceback(tmp_path: Path, repo: Path) -> None:
    text = """
    from segformer_ros.errors import explained
    def main():
        return explained('prog', lambda: {}['key'])
    """
    code, _, errors = outcome(program(tmp_path, text), repo)
    assert code == 1
    assert errors.endswith("KeyError: 'key'\n")


def test_what_a_program_loads_is_no_garbage_to_look_through(tmp_path: Path, repo: Path) -> None:
    text = """
    import gc
    loading = gc.isenabled()
    def main():
        print(loading, gc.isenabled(), gc.get_freeze_count() > 1000)
    """
    code, output, _ = outcome(program(tmp_path, text), repo)
    assert (code, output) == (0, 'False True True\n')


def test_one_that_came_while_python_started_waits_for_the_program(
    tmp_path: Path, repo: Path
) -> None:
    command = program(tmp_path, 'def main(): print("ran")', code=0)
    # Python imports it while it starts: it goes on once its input has ended.
    (tmp_path / 'sitecustomize.py').write_text('import os\nos.read(0, 1)\n')
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    with shielded():
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=repo, env={**os.environ, 'PYTHONPATH': path},
        )  # fmt: skip
    started.send_signal(signal.SIGINT)
    assert started.communicate(timeout=100)[0] == ''
    assert started.returncode == 0


def test_outside_of_a_program_signals_are_left_as_they_are() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert interruptible(lambda: signal.getsignal(signal.SIGINT)) is before
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before


def test_held_it_is_noted_and_raised_at_the_end() -> None:
    interrupts = Interrupts()

    def work() -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            noted.append(interrupts.noted)

    noted: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert noted == [True]
    assert not interrupts.noted


def test_in_another_thread_nothing_is_held() -> None:
    seen = []

    def work() -> None:
        with Interrupts().held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


# --- Real programs ------------------------------------------------------------------------------

NODE = START.format(module='segformer_ros.node.{0}.{0}_node', code=0)
TOOL = 'from segformer_ros.interrupts import segformer; segformer()'
PROGRAMS = {
    'segmentation': (['-c', NODE.format('segmentation'), '--ros-args', '-p', 'engine:=fake'], 0),
    'replay': (['-c', NODE.format('replay'), '--ros-args', '-p', 'input:=street::100'], 0),
    'segment': (['-c', TOOL, 'segment', 'street::100', '--engine', 'fake'], EXIT_INTERRUPTED),
    'evaluate': (
        ['-c', TOOL, 'evaluate', 'street::100', '--engine', 'fake', '--workers', '2'],
        EXIT_INTERRUPTED,
    ),
}
LONGEST = 4.0
"""Seconds within which each of them is at work."""


@pytest.mark.slow
@pytest.mark.ros
@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('name', PROGRAMS)
def test_at_any_moment_of_the_start(name: str, seed: int, tmp_path: Path, repo: Path) -> None:
    chance = random.Random(f'{name} {seed}')
    arguments, code = PROGRAMS[name]
    with shielded():  # as ./run and the demo start them
        started = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
        )
    moment = chance.uniform(0.0, LONGEST)
    time.sleep(moment)
    number = chance.choice([signal.SIGINT, signal.SIGTERM])
    started.send_signal(number)
    time.sleep(chance.uniform(0.05, 0.3))
    started.send_signal(number)
    output, _ = started.communicate(timeout=200)
    assert 'Traceback' not in output, moment
    assert not re.search(r'Error|error:', output), moment
    assert started.returncode == code, (moment, output)


@pytest.mark.ros
@pytest.mark.parametrize(
    'name', ['segmentation_node', 'replay_node', 'evaluator_node', 'segformer']
)
def test_scripts_have_interrupts_wait_while_python_starts(
    name: str, tmp_path: Path, repo: Path
) -> None:
    """Python is replaced by what waits for the interrupt, and only then runs the real one."""
    (tmp_path / 'python3').write_text(
        f'#!{sys.executable}\nimport os, sys, time\n'
        f'open({str(tmp_path / "here")!r}, "w").close()\n'
        f'time.sleep(0.5)\nos.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n'
    )
    (tmp_path / 'python3').chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ['PATH']])
    started = subprocess.Popen(
        [repo / 'scripts' / name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, 'PATH': path}, cwd=tmp_path,
    )  # fmt: skip
    while not (tmp_path / 'here').exists():
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    assert started.communicate(timeout=100)[0] == ''
    assert started.returncode == (0 if name.endswith('_node') else EXIT_INTERRUPTED)


@pytest.mark.ros
def test_scripts_import_nothing_from_where_they_are_started(tmp_path: Path, repo: Path) -> None:
    (tmp_path / 'yaml.py').write_text('raise RuntimeError("not this one")')
    done = subprocess.run(
        [repo / 'scripts/segmentation_node', '--help'], capture_output=True, cwd=tmp_path,
        timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b'')
