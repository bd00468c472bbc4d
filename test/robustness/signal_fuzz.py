"""Fuzz of signals: nodes that are interrupted at any moment of their start or their work."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from time import sleep

import numpy as np
from robustness.node_process import ROOT

from robustness.log import ALARMS
from robustness.report import Findings
from robustness.watch import Violation
from segformer_ros.errors import EXIT_INTERRUPTED

WORKING = 2.5
"""Seconds after which a node on an idle machine is at work."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_EXPECTED = (0, EXIT_INTERRUPTED)
_BEFORE_PYTHON = 0.2
"""Seconds in which a signal may come before the interpreter can see to it."""
_PATIENCE = 60.0


def interrupt(delay: float, number: signal.Signals, again: float | None = None) -> tuple[int, str]:
    """Start the node, interrupt it, perhaps again; gives its exit code and what it said.

    The exit code is negative where the signal ended it before it could, None being a hang.
    """
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'scripts/segmentation_node'), '--ros-args',
         '-p', 'engine:=fake'],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    sleep(delay)
    process.send_signal(number)
    if again is not None:
        sleep(again)
        process.send_signal(number)
    try:
        said = process.communicate(timeout=_PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, said


def try_signal(rng: np.random.Generator, counts: Counter[str], findings: Findings) -> None:
    """One start that is interrupted somewhere."""
    number = SIGNALS[int(rng.integers(len(SIGNALS)))]
    delay = float(rng.uniform(0.0, WORKING))
    again = float(rng.uniform(0.0, 0.5)) if rng.random() < 0.3 else None
    name = f'{number.name} {"twice " if again is not None else ""}in the first {WORKING:g} s'
    counts['starts'] += 1
    try:
        code, said = interrupt(delay, number, again)
    except subprocess.TimeoutExpired:
        findings.add(Violation('hang', f'after {delay:.3f} s'), name, '')
        return
    counts[f'exit code {code}'] += 1
    early = delay < _BEFORE_PYTHON * (1 + os.getloadavg()[0])
    if code not in _EXPECTED and not (early and code == -number):
        findings.add(Violation(f'exit code {code}', f'after {delay:.3f} s'), name, '')
    alarm = re.search(ALARMS, said)
    if alarm:
        lines = said.strip().split('\n')
        findings.add(
            Violation('alarm', f'{alarm.group()[:80]} ... {lines[-1][:120]} ({delay:.3f} s)'),
            name,
            '',
        )
