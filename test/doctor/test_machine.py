"""What the doctor reads from the processor's description."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from segformer_ros.doctor import Finding, Verdict
from segformer_ros.doctor.machine import examine_machine

XEON = 'model name\t: Intel Xeon 6\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8 amx_bf16\n'
OLD = 'model name\t: Old CPU\nflags\t\t: fpu sse4_2\n'
ORIN = 'Features\t: fp asimd asimddp\nModel\t\t: Jetson Orin\n'


def examine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, machine: str
) -> dict[str, Finding]:
    """Findings about a processor, by name."""
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    (tmp_path / 'cpuinfo').write_text(text)
    return {finding.name: finding for finding in examine_machine(tmp_path / 'cpuinfo')}


def test_instruction_sets_and_their_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch, XEON, 'x86_64')
    assert found['CPU'].detail.startswith('Intel Xeon 6, ')
    detail = found['instruction sets'].detail
    assert 'VNNI (int8 pays)' in detail
    assert 'AMX' in detail


def test_an_arm_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch, ORIN, 'aarch64')
    assert found['CPU'].detail.startswith('Jetson Orin')
    assert found['instruction sets'].detail == 'NEON (fast fp32), dot product (int8 pays)'


def test_an_old_processor_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch, OLD, 'x86_64')['instruction sets']
    assert found.verdict is Verdict.WARNING
    assert 'a few frames per second' in found.cure
