# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What keeps the middleware from working: one line, and a way around it where there is one."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from segformer_ros.node import transport
from segformer_ros.node.transport import (
    TransportError,
    check_shared_memory,
    prepare_transport,
    profile_variable,
    shared_memory_fault,
    shipped_profile,
)

MIB = 2**20

Usage = namedtuple('Usage', ['total', 'used', 'free'])


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*transport.PROFILE_VARIABLES, 'RMW_IMPLEMENTATION'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(profile_variable(), shipped_profile())
    free(monkeypatch, 1024 * MIB)


def free(monkeypatch: pytest.MonkeyPatch, size: int, total: int = 1024 * MIB) -> None:
    """Give the shared memory this much free space."""
    usage = SimpleNamespace(free=size, total=total)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)


def test_nothing_is_said_where_nothing_is_missing() -> None:
    check_shared_memory()
    assert prepare_transport() == []
    assert os.environ[profile_variable()] == shipped_profile()


@pytest.mark.parametrize('text', ['abc', '-1', '233', '1.5', '٣٣٣', ' '])
def test_a_domain_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', text)
    words = f'ROS_DOMAIN_ID is {text!r}; give a whole number from 0 to 232'
    with pytest.raises(TransportError, match=re.escape(words)):
        prepare_transport()


@pytest.mark.parametrize('text', ['', '0', '232'])
def test_a_domain_that_is_one_is_taken(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', text)
    prepare_transport()


def test_where_a_segment_does_not_fit_images_go_over_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 64 * MIB, 64 * MIB)  # as Docker gives it
    (line,) = prepare_transport()
    assert line.startswith('/dev/shm has 64 of 64 MiB free, and a node takes 68: images go over')
    assert line.endswith('--shm-size=1g')
    profile = Path(os.environ[profile_variable()])
    assert profile.name == 'fastdds_udp.xml'
    assert re.findall('<type>(.*)</type>', profile.read_text()) == ['UDPv4']


def test_a_users_own_profile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(profile_variable(), '/etc/mine.xml')
    free(monkeypatch, MIB)
    (line,) = prepare_transport()
    assert '/etc/mine.xml' in line
    assert os.environ[profile_variable()] == '/etc/mine.xml'


def allow_buffer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int) -> None:
    """Run with CycloneDDS where the kernel allows sockets this many bytes."""
    (tmp_path / 'rmem_max').write_text(f'{size}\n')
    monkeypatch.setattr(transport, 'RECEIVE_BUFFER_LIMIT', tmp_path / 'rmem_max')
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp')
    monkeypatch.delenv('CYCLONEDDS_URI', raising=False)


def test_a_small_receive_buffer_is_told_to_users_of_cyclonedds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    allow_buffer(monkeypatch, tmp_path, 64 * MIB)
    free(monkeypatch, MIB)
    assert prepare_transport() == []
    allow_buffer(monkeypatch, tmp_path, 212992)
    (line,) = prepare_transport()
    assert 'net.core.rmem_max is 0.2 MiB' in line and 'sysctl -w' in line
    monkeypatch.setattr(transport, 'RECEIVE_BUFFER_LIMIT', tmp_path / 'none')
    assert prepare_transport() == []


def settings(buffer: str) -> str:
    """Settings of CycloneDDS with this element."""
    return f'<CycloneDDS><Domain><Internal>{buffer}</Internal></Domain></CycloneDDS>'


@pytest.mark.parametrize('form', ['file://{}', '{}', ',file://{}', 'inline'])
@pytest.mark.parametrize(
    ('buffer', 'starts'),
    [
        ('<SocketReceiveBufferSize min="16MB"/>', False),
        ('<SocketReceiveBufferSize max="64MiB" min="8389 kB"/>', False),
        ("<SocketReceiveBufferSize\n min='10MB'\n/>", False),
        ('<SocketReceiveBufferSize min="8MiB"/>', True),
        ('<SocketReceiveBufferSize min="default" max="16MB"/>', True),
        ('<!-- <SocketReceiveBufferSize min="16MB"/> -->', True),
        ('<SocketSendBufferSize min="16MB"/>', True),
    ],
)
def test_settings_with_which_cyclonedds_does_not_start_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, buffer: str, starts: bool, form: str
) -> None:
    """4 MiB, of which the kernel makes 8."""
    allow_buffer(monkeypatch, tmp_path, 4 * MIB)
    (tmp_path / 'own.xml').write_text(settings(buffer))
    where = settings(buffer) if form == 'inline' else form.format(tmp_path / 'own.xml')
    monkeypatch.setenv('CYCLONEDDS_URI', where)
    (line,) = prepare_transport()
    assert ('CycloneDDS will not start' in line) != starts
    assert ('write SocketReceiveBufferSize max= in place of min=' in line) != starts


@pytest.mark.parametrize('uri', ['/no/such/file', 'a,b', '<CycloneDDS', 'file://'])
def test_settings_that_cannot_be_read_are_left_to_cyclonedds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uri: str
) -> None:
    allow_buffer(monkeypatch, tmp_path, 64 * MIB)
    monkeypatch.setenv('CYCLONEDDS_URI', uri)
    assert prepare_transport() == []


def test_the_shipped_settings_take_what_the_system_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repo: Path
) -> None:
    allow_buffer(monkeypatch, tmp_path, 212992)
    monkeypatch.setenv('CYCLONEDDS_URI', f'file://{repo / "config/cyclonedds.xml"}')
    (line,) = prepare_transport()
    assert 'will not start' not in line


def test_a_full_shared_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 100_000, 16 * MIB)
    with pytest.raises(TransportError, match=r'/dev/shm is full \(0\.1 of 16 MiB free\).*remove'):
        check_shared_memory()


def test_a_machine_without_shared_memory_is_left_to_the_middleware(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(transport, 'SHARED_MEMORY', tmp_path / 'none')
    check_shared_memory()


def test_a_port_of_another_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('', 7400 + 250 * 99))
        monkeypatch.setenv('ROS_DOMAIN_ID', '99')
        (line,) = prepare_transport()
    assert line.startswith('UDP port 32150 is in use by another program')
    assert line.endswith('choose another ROS_DOMAIN_ID than 99')


def test_a_port_of_other_nodes_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(('', 7400 + 250 * 99))
        monkeypatch.setenv('ROS_DOMAIN_ID', '99')
        assert prepare_transport() == []


@pytest.mark.ros
@pytest.mark.parametrize('module', ['segmentation_node', 'replay_node'])
def test_a_node_in_a_really_full_one_is_one_line(module: str, repo: Path) -> None:
    full = 'mount -t tmpfs -o size=1m none /dev/shm; head -c 2M /dev/zero >/dev/shm/x 2>/dev/null'
    within = ['unshare', '-m', 'bash', '-c', f'{full}; exec "$@"', '-']
    if subprocess.run(
        ['unshare', '-m', 'mount', '-t', 'tmpfs', 'none', '/dev/shm'],
        check=False, capture_output=True,
    ).returncode:  # fmt: skip
        pytest.skip('no right to mount a /dev/shm of its own')
    code = f'from segformer_ros.interrupts import node; node({module!r})'
    done = subprocess.run(
        [*within, sys.executable, '-c', code],
        capture_output=True, text=True, timeout=100, cwd=repo, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f'{module}: /dev/shm is full (0 of 1 MiB free)')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('megabytes', [16, 64, 128])
def test_shared_memory_of_a_container(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    usage = Usage(megabytes * 2**20, 0, megabytes * 2**19)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    monkeypatch.setenv(profile_variable(), shipped_profile())
    fault = shared_memory_fault()
    if megabytes == 128:
        assert fault == ''
    else:
        total = megabytes * 2**20 / 1e6
        assert fault.startswith(f'/dev/shm has {total / 2:.0f} of {total:.0f} MB free, and ')
        assert 'takes 67 MB in each process' in fault
        assert '--shm-size=1g (or --ipc=host)' in fault


def test_shared_memory_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(2**30, 2**30, 2**20))
    monkeypatch.setenv(profile_variable(), shipped_profile())
    assert shared_memory_fault().startswith('/dev/shm has 1 of 1074 MB free')
    assert 'fastdds shm clean' in shared_memory_fault()


def test_a_process_that_had_to_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a profile that lies beside the shipped one, for machines without room."""
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(2**30, 0, 2**30))
    other = Path(shipped_profile()).with_name('fastdds_udp.xml')
    monkeypatch.setenv(profile_variable(), str(other))
    assert 'takes 67 MB in each process' in shared_memory_fault()


def test_a_profile_without_shared_memory_needs_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(16 * 2**20, 0, 0))
    profile = tmp_path / 'own.xml'
    profile.write_text('<profiles></profiles>')
    monkeypatch.setenv(profile_variable(), str(profile))
    assert shared_memory_fault() == ''
    monkeypatch.setenv(profile_variable(), str(tmp_path / 'missing.xml'))
    assert shared_memory_fault() == ''
