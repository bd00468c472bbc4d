"""The machine: its processor and what of it inference can use."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import AbstractSet, Iterator, NamedTuple

from segformer_ros.doctor.finding import Finding, Verdict
from segformer_ros.engines.openvino import AMX, CPU_INFO, VNNI, cpu_flags

_PART = 'machine'

MEMORY_INFO = Path('/proc/meminfo')


class _Feature(NamedTuple):
    """An instruction set: the kernel's flags for it (any of them), and what it is good for."""

    name: str
    flags: AbstractSet[str]
    use: str


_FEATURES = {
    'x86_64': (
        _Feature('AVX2', {'avx2'}, 'fast fp32'),
        _Feature('AVX-512', {'avx512f'}, 'faster fp32'),
        _Feature('VNNI', VNNI, 'int8 pays'),
        _Feature('AMX', AMX, 'int8 and bf16 pay most'),
    ),
    'aarch64': (
        _Feature('NEON', {'asimd'}, 'fast fp32'),
        _Feature('dot product', {'asimddp'}, 'int8 pays'),
        _Feature('bf16', {'bf16'}, 'bf16 pays'),
    ),
}


def examine_machine(cpu_info: Path = CPU_INFO) -> Iterator[Finding]:
    """The processor, its instruction sets and the memory."""
    text = _read(cpu_info)
    model = re.search(r'^(?:model name|Model)\s*:\s*(.+)$', text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    name = model.group(1).strip() if model else 'unknown processor'
    yield Finding(_PART, 'CPU', Verdict.OK, f'{name}, {cores} usable cores, {platform.machine()}')
    yield _instruction_sets(cpu_flags(cpu_info))
    memory = re.search(r'^MemAvailable:\s*(\d+) kB', _read(MEMORY_INFO), re.MULTILINE)
    if memory:
        yield Finding(
            _PART, 'memory', Verdict.OK, f'{int(memory.group(1)) / 2**20:.1f} GiB available'
        )


def _instruction_sets(flags: AbstractSet[str]) -> Finding:
    features = _FEATURES.get(platform.machine(), ())
    here = [f'{feature.name} ({feature.use})' for feature in features if feature.flags & flags]
    if not here:
        return Finding(
            _PART,
            'instruction sets',
            Verdict.WARNING,
            'none that inference is made for',
            'expect a few frames per second at most on this CPU',
        )
    return Finding(_PART, 'instruction sets', Verdict.OK, ', '.join(here))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
