# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A seeded share of hostile files: none is answered by a traceback, a hang or a gigabyte."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from robustness import hostile_files as hostile
from robustness import mutation
from robustness.mutation import KINDS

SEED = int(os.environ.get('SEGFORMER_FUZZ_SEED', '1'))
FILES = len(hostile.TURNS)

pytestmark = pytest.mark.ros  # command lines of nodes are among the hostile ones


@pytest.fixture(scope='module', autouse=True)
def server() -> Iterator[None]:
    yield
    hostile.close()


@pytest.mark.slow
def test_hostile_files_do_no_harm(tmp_path: Path) -> None:
    verdicts: list[str] = []
    for number, (kind, path) in enumerate(islice(hostile.hostile_files(SEED, tmp_path), FILES)):
        outcome = hostile.try_file(kind, path)
        assert outcome.held, f'seed {SEED}, file {number}, {kind}: {outcome}'
        verdicts.append(outcome.verdict)
    assert verdicts.count('refused') > FILES / 4, 'hardly a file was hostile'


def hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 3 << 30)


@pytest.mark.slow
@pytest.mark.parametrize('make', [hole, os.mkfifo, lambda path: path.symlink_to('/dev/zero')])
def test_what_is_no_file_does_no_harm_in_place_of_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    def write(rng: random.Random, path: Path, data: bytes) -> Path:
        path.unlink(missing_ok=True)
        make(path)
        return path

    monkeypatch.setattr(mutation, 'write', write)
    valid = mutation.valid_files(tmp_path / 'valid')
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        path = KINDS[kind].spoil(random.Random(3), valid, tmp_path / kind)
        outcome = hostile.try_file(kind, path)
        assert outcome.held, f'{kind}: {outcome}'


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    def contents() -> list[tuple[str, bytes]]:
        found = islice(hostile.hostile_files(7, tmp_path), 5)
        return [(kind, path.read_bytes() if path.is_file() else b'') for kind, path in found]

    assert contents() == contents()
    assert set(hostile.TURNS) == set(KINDS)


def divide(path: Path) -> int:
    return len(path.name) // 0


def take_memory(path: Path) -> int:
    return len(bytearray((hostile.PEAK_MIB + 100) << 20)) * 0


def crash(path: Path) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def say_much(path: Path) -> int:
    os.write(2, b'segformer inspect: one\nsegformer inspect: two\n')
    return hostile.REFUSED


def say_nothing(path: Path) -> int:
    return hostile.REFUSED


def wait(path: Path) -> int:
    time.sleep(60)
    return 0


def count(path: Path) -> int:
    while True:
        pass


@pytest.mark.parametrize(
    ('read', 'verdict'),
    [
        (divide, 'traceback'),
        (take_memory, 'memory'),
        (crash, 'crash'),
        (say_much, 'wordy'),
        (say_nothing, 'mute'),
        (wait, 'hang'),
        (count, 'hang'),
        (lambda path: 0, 'accepted'),
    ],
)
def test_harm_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], int], verdict: str
) -> None:
    monkeypatch.setattr(hostile, 'WALL_SECONDS', 1 if read is wait else 60)
    monkeypatch.setattr(hostile, 'CPU_SECONDS', 1 if read is count else 60)
    assert hostile.in_a_fork(read, tmp_path).verdict == verdict
