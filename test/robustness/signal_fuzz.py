# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fuzz of signals: nodes that are interrupted at any moment of their start or their work."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from robustness.log import ALARMS
from robustness.node_process import ROOT
from robustness.report import Findings
from robustness.watch import Violation

WORKING = 3.0
"""Seconds after which a node on an idle machine is at work."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_STARTED = 0.3  # seconds at most until the shell of ./run handles signals
_PATIENCE = 60.0


class Start:
    """`./run segmentation_node`, from the moment at which the script is at work."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [str(ROOT / 'run'), 'segmentation_node', '--ros-args', '-p', 'engine:=fake',
             *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        end = monotonic() + _STARTED
        while not self._handles_signals() and monotonic() < end:
            sleep(0.002)

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> tuple[int | None, str]:
        """Wait for the end; gives the exit code, None for a hang, and what was said."""
        try:
            said = self._process.communicate(timeout=_PATIENCE)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            return None, self._process.communicate()[1]
        return self._process.returncode, said

    def wait_for(self, words: str) -> None:
        """Wait until the node has said something."""
        assert self._process.stderr
        while words not in (line := self._process.stderr.readline()):
            if not line:
                raise RuntimeError(f'the node ended with exit code {self._process.wait()}')

    def _handles_signals(self) -> bool:
        status = Path(f'/proc/{self._process.pid}/status').read_text()
        caught = int(status.partition('SigCgt:')[2].split()[0], 16)
        return any(caught >> (number - 1) & 1 for number in SIGNALS)


def alarm_in(said: str) -> str:
    """What of a program's words is no word to a user; '' where nothing is."""
    found = ALARMS.search(said)
    return f'{found.group()[:80]} ... {said.strip().splitlines()[-1][:120]}' if found else ''


def try_signal(rng: np.random.Generator, counts: Counter[str], findings: Findings) -> None:
    """One start that is interrupted somewhere, once or twice."""
    number = SIGNALS[int(rng.integers(len(SIGNALS)))]
    delay = float(rng.uniform(0.0, WORKING))
    again = float(rng.uniform(0.0, 0.5)) if rng.random() < 0.3 else None
    name = f'{number.name}{"" if again is None else " twice"} in the first {WORKING:g} s'
    start = Start()
    sleep(delay)
    start.interrupt(number)
    if again is not None:
        sleep(again)
        start.interrupt(number)
    code, said = start.wait()
    counts['starts'] += 1
    counts[f'exit code {code}'] += 1
    if code != 0:
        findings.add(Violation(f'exit code {code}', f'after {delay:.3f} s'), name, '')
    alarm = alarm_in(said)
    if alarm:
        findings.add(Violation('alarm', f'after {delay:.3f} s: {alarm}'), name, '')
