"""Power drawn while something runs, where this machine lets it be read."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from time import monotonic
from typing import Callable, List, Optional, Tuple

# The INA3221 monitor of the Jetson modules; its first channel is the input of the whole board.
_JETSON = '/sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*'
_RAPL = Path('/sys/class/powercap/intel-rapl:0/energy_uj')
_PERIOD = 0.2


class PowerMeter:
    """Mean power in watts over a `with` block; None where nothing can be read."""

    def __init__(self) -> None:
        self.watts: Optional[float] = None
        self.source = ''
        self._samples: List[float] = []
        self._done = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._energy: Optional[float] = None
        self._start = 0.0

    def __enter__(self) -> PowerMeter:
        for name, read in READERS:
            if read() is not None:
                self.source = name
                self._thread = threading.Thread(target=self._sample, args=(read,), daemon=True)
                self._thread.start()
                return self
        self._energy, self._start = _processor_energy(), monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread:
            self._done.set()
            self._thread.join()
            if self._samples:
                self.watts = sum(self._samples) / len(self._samples)
            return
        energy = _processor_energy()
        if energy is not None and self._energy is not None and energy > self._energy:
            self.source = 'processor (RAPL)'
            self.watts = (energy - self._energy) / (monotonic() - self._start)

    def _sample(self, read: Callable[[], Optional[float]]) -> None:
        while not self._done.wait(_PERIOD):
            watts = read()
            if watts is not None:
                self._samples.append(watts)


def _board_watts() -> Optional[float]:
    """A Jetson's whole board."""
    root = Path('/')
    for folder in sorted(root.glob(_JETSON.lstrip('/'))):
        millivolts = _number(folder / 'in1_input')
        milliamperes = _number(folder / 'curr1_input')
        if millivolts is not None and milliamperes is not None:
            return millivolts * milliamperes / 1e6
    return None


def _card_watts() -> Optional[float]:
    """The first GPU that nvidia-smi knows."""
    try:
        done = subprocess.run(
            ['nvidia-smi', '--query-gpu=power.draw', '--format=csv,noheader,nounits'],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=5,
        )
        return float(done.stdout.splitlines()[0])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None


READERS: Tuple[Tuple[str, Callable[[], Optional[float]]], ...] = (
    ('board (INA3221)', _board_watts),
    ('GPU (nvidia-smi)', _card_watts),
)


def _processor_energy() -> Optional[float]:
    """Joules that the processor has used since some time past."""
    microjoules = _number(_RAPL)
    return None if microjoules is None else microjoules / 1e6


def _number(file: Path) -> Optional[float]:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return None
