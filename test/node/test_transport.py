"""Whether the profile can work on this machine."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from segformer_ros.node.transport import profile_variable, shared_memory_fault, shipped_profile

Usage = namedtuple('Usage', ['total', 'used', 'free'])


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
