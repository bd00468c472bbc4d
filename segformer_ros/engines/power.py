"""Power drawn while something runs, where this machine lets it be read."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from time import monotonic
from typing import Callable, List, Optional, Tuple

from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda.driver import select_gpu

# The INA3221 monitor of the Jetson modules; its first channel is the input of the whole board.
_JETSON = '/sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*'
_RAPL = Path('/sys/class/powercap/intel-rapl:0/energy_uj')
_PERIOD = 0.2

Reader = Callable[[], Optional[float]]


class PowerMeter:
    """Mean power in watts over a `with` block; None where nothing can be read.

    device: index of the GPU that works, as the engines count them; None where the CPU does. A
    board's meter reads both.
    """

    def __init__(self, device: Optional[int] = None) -> None:
        self._readers: Tuple[Tuple[str, Reader], ...] = (('board (INA3221)', _board_watts),)
        if device is not None:
            self._readers += (('GPU (nvidia-smi)', _card(device)),)
        self.watts: Optional[float] = None
        self.source = ''
        self._samples: List[float] = []
        self._done = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._energy: Optional[float] = None
        self._start = 0.0

    def __enter__(self) -> PowerMeter:
        for name, read in self._readers:
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

    def _sample(self, read: Reader) -> None:
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


def _card(device: int) -> Reader:
    """A GPU's reader. nvidia-smi counts GPUs in another order than CUDA, so it is told the bus."""
    try:
        place = select_gpu(device).bus
    except EngineError:
        return lambda: None
    return lambda: _card_watts(place)


def _card_watts(bus: str) -> Optional[float]:
    """The GPU at a place, as nvidia-smi reads it."""
    try:
        done = subprocess.run(
            ['nvidia-smi', '-i', bus, '--query-gpu=power.draw', '--format=csv,noheader,nounits'],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=5,
        )
        return float(done.stdout.splitlines()[0])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def _processor_energy() -> Optional[float]:
    """Joules that the processor has used since some time past."""
    microjoules = _number(_RAPL)
    return None if microjoules is None else microjoules / 1e6


def _number(file: Path) -> Optional[float]:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return None
