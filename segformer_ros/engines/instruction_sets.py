"""What this machine's processor can do, as Linux tells it."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Set

CPU_INFO = Path('/proc/cpuinfo')

VNNI = frozenset(('avx512_vnni', 'avx_vnni'))
AMX = frozenset(('amx_int8',))


def cpu_flags(cpu_info: Path = CPU_INFO) -> Set[str]:
    """The kernel's names of the instruction sets; empty where it names none."""
    try:
        text = cpu_info.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return set()
    found = re.search(r'^(?:flags|Features)\s*:\s*(.+)$', text, re.MULTILINE)
    return set(found.group(1).split()) if found else set()


def saturates_int8(cpu_info: Path = CPU_INFO) -> bool:
    """Whether INT8 products are summed in 16 bits on this CPU, which clips the greatest of them.

    Without VNNI x86 has `pmaddubsw` for it (oneDNN's manual, "Nuances of int8 computations").
    """
    flags = cpu_flags(cpu_info)
    return platform.machine() == 'x86_64' and bool(flags) and not flags & (VNNI | AMX)
