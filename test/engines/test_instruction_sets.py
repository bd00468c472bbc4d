"""Instruction sets: read from the kernel's list, and what INT8 makes of them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from segformer_ros.engines.instruction_sets import cpu_flags, saturates_int8


@pytest.mark.parametrize(
    ('machine', 'line', 'saturates'),
    [
        ('x86_64', 'flags : fpu avx2', True),
        ('x86_64', 'flags : fpu avx2 avx_vnni', False),
        ('x86_64', 'flags : fpu avx512f avx512_vnni', False),
        ('x86_64', 'flags : avx512f amx_int8', False),
        ('aarch64', 'Features : fp asimd', False),
        ('x86_64', 'nothing that is known', False),
    ],
)
def test_int8_saturates_without_vnni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, line: str, saturates: bool
) -> None:
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    file = tmp_path / 'cpuinfo'
    file.write_text(f'processor : 0\n{line}\n')
    assert saturates_int8(file) == saturates


def test_where_nothing_can_be_read_there_are_no_flags(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / 'cpuinfo') == set()
