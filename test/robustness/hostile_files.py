# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Hostile files of every kind that users hand to the package, and what it makes of them.

`hostile_files` writes them, the same for the same seed; `try_file` gives one to the command that
reads its kind, in a process of its own with limits. By hand, in the environment:

    python test/robustness/hostile_files.py --seed 1 --files 2000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

if __name__ == '__main__':  # or else the tests' paths are there already
    sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]

from robustness.mutation import KINDS, valid_files

CPU_SECONDS = 5
"""Longest that a file may take. Of processor time, since machines may be busy."""
WALL_SECONDS = 30
"""Longest that a file may take in all: who waits for a pipe needs no processor."""
PEAK_MIB = 1024
"""Most memory that a process may take for a file."""
ADDRESS_MIB = 4 * 1024
"""Where its memory ends, for the sake of the machine."""
MOST_LINES, LONGEST_LINE = 1, 2000
"""Of what is said of a file that is refused."""

TURNS = (*KINDS, 'model', 'sidecar', 'model', 'bag', 'model', 'metrics', 'model')
"""The kinds in turn, the manifold ones more often."""
REFUSED = 2
_TRACEBACK, _MEMORY = 70, 71


class Outcome(NamedTuple):
    """What became of a file.

    verdict: 'accepted' or 'refused', which are as they should be; or what is wrong: 'traceback',
    'crash', 'hang', 'memory', 'wordy' (refused in more than one line), 'mute' (in none).
    detail: what was said. seconds: of processor time. peak: MiB on top of what it began with.
    """

    verdict: str
    detail: str
    seconds: float
    peak: float

    @property
    def held(self) -> bool:
        """Whether all is as it should be."""
        return self.verdict in ('accepted', 'refused')


def hostile_files(seed: int, folder: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Hostile files without end: kind and path of each, there until the next is asked for.

    They lie in folders of their own, below `folder` or in a temporary place.
    """
    with TemporaryDirectory(dir=folder) as made:
        valid = valid_files(Path(made, 'valid'))
        for number in count():
            rng = random.Random(f'{seed}/{number}')
            kind = TURNS[number % len(TURNS)]
            place = Path(made, f'{number:06}')
            place.mkdir()
            yield kind, KINDS[kind].spoil(rng, valid, place)
            shutil.rmtree(place, ignore_errors=True)


def try_file(kind: str, path: Path) -> Outcome:
    """What the package makes of a file; the first call starts the process that forks for each."""
    return _server().ask(kind, path)


class Server:
    """A process that has the libraries loaded and forks itself for each file."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, '--serve'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'OPENBLAS_NUM_THREADS': '1', 'PYTHONHASHSEED': '0'},
        )

    def ask(self, kind: str, path: Path) -> Outcome:
        """Have a file tried."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([kind, str(path)]) + '\n')
        self._process.stdin.flush()
        return Outcome(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


_started: list[Server] = []


def _server() -> Server:
    if not _started:
        _started.append(Server())
    return _started[0]


def close() -> None:
    """End the process that `try_file` started."""
    while _started:
        _started.pop().close()


def _serve() -> None:
    """Answer on the standard output, one line for each line."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    for module in ('cv2', 'onnx', 'onnx.reference', 'openvino', 'av', 'rosbags.rosbag2', 'csv'):
        with suppress(ImportError):
            __import__(module)
    for line in sys.stdin:
        kind, path = json.loads(line)
        answers.write(json.dumps(in_a_fork(KINDS[kind].read, Path(path))) + '\n')
        answers.flush()


def in_a_fork(read: Callable[[Path], int], path: Path) -> Outcome:
    """What a reader makes of a file, in a fork of this process."""
    with TemporaryDirectory() as folder:
        said = Path(folder, 'stderr')
        began = Path(folder, 'began')
        child = os.fork()
        if not child:
            began.write_text(str(_resident()))
            _limited(read, path, said, Path(folder))
        end = time.monotonic() + WALL_SECONDS
        done, status, usage = 0, 0, None
        while not done and time.monotonic() < end:
            done, status, usage = os.wait4(child, os.WNOHANG)
            time.sleep(0 if done else 0.002)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        blocked = not done
        if blocked:
            done, status, usage = os.wait4(child, 0)
        assert usage is not None
        peak = usage.ru_maxrss / 1024 - float(began.read_text())
        seconds = usage.ru_utime + usage.ru_stime
        text = said.read_text(errors='replace') if said.exists() else ''
        return Outcome(*_judged(status, blocked, text, peak), round(seconds, 2), round(peak))


def _resident() -> float:
    """MiB of this process in memory; a fork has the rest of its parent's only once it looks."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 2**20


def _judged(status: int, blocked: bool, text: str, peak: float) -> tuple[str, str]:
    """Verdict and detail of a process that has ended."""
    code = os.waitstatus_to_exitcode(status)
    if blocked or code == -signal.SIGXCPU:
        return 'hang', text[-2000:]
    if code == _MEMORY or peak > PEAK_MIB:
        return 'memory', text[-2000:]
    if code == _TRACEBACK:
        return 'traceback', text[-4000:]
    if code < 0 or code not in (0, 1, REFUSED):
        return 'crash', f'exit code {code}: {text[-2000:]}'
    lines = text.strip().splitlines()
    if code == REFUSED and not lines:
        return 'mute', ''
    own = [line for line in lines if line.startswith('segformer ')]
    if code == REFUSED and (len(own) > MOST_LINES or max(map(len, lines)) > LONGEST_LINE):
        return 'wordy', text[:4000]
    if code == REFUSED and 'Traceback' in text:
        return 'traceback', text[-4000:]
    return ('refused' if code == REFUSED else 'accepted'), text[-600:]


def _limited(read: Callable[[Path], int], path: Path, said: Path, folder: Path) -> None:
    """Read a file under the limits, and end the process."""
    os.setpgid(0, 0)
    os.chdir(folder)
    words = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(words, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_MIB << 20, ADDRESS_MIB << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ['SEGFORMER_CACHE'] = str(folder / 'cache')
    try:
        code = read(path)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except MemoryError:
        traceback.print_exc()
        code = _MEMORY
    except BaseException:
        traceback.print_exc()
        code = _TRACEBACK
    sys.stderr.flush()
    os._exit(code)


def main() -> int:
    """Try many files and print what became of them; 1 where one of them did harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--files', type=int, default=200)
    parser.add_argument('--kind', choices=KINDS, help='of this kind alone')
    parser.add_argument('--keep', type=Path, help='folder for those that did harm')
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve()
        return 0
    tally: Counter[tuple[str, str]] = Counter()
    peak = slowest = 0.0
    number = 0
    for number, (kind, path) in enumerate(
        entry
        for entry in islice(hostile_files(arguments.seed), arguments.files)
        if arguments.kind in (None, entry[0])
    ):
        outcome = try_file(kind, path)
        tally[kind, outcome.verdict] += 1
        peak, slowest = max(peak, outcome.peak), max(slowest, outcome.seconds)
        if not outcome.held:
            print(f'{number} {kind} {outcome.verdict}: {outcome.detail}', flush=True)
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                kept = arguments.keep / f'{number:06}-{kind}-{outcome.verdict}'
                subprocess.run(['cp', '-a', str(path.parent), str(kept)], check=True)
    close()
    for kind in KINDS:
        found = {verdict: n for (of, verdict), n in sorted(tally.items()) if of == kind}
        print(f'{kind:12}', ', '.join(f'{n} {verdict}' for verdict, n in found.items()))
    bad = sum(n for (_, verdict), n in tally.items() if verdict not in ('accepted', 'refused'))
    print(f'{sum(tally.values())} files, {bad} did harm; peak {peak:.0f} MiB, {slowest:.1f} s')
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())
