# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How fast an engine is on this machine: frames per second, milliseconds per stage, watts."""

from __future__ import annotations

import resource
import subprocess
import threading
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.engines import Engine, EngineError, Traffic, Wanted
from segformer_ros.engines.cuda.driver import select_gpu
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.engines.trt.network_runner import SETTLED
from segformer_ros.frame import Frame
from segformer_ros.measurement import Percentiles, environment, percentiles
from segformer_ros.recordings import SourceError, open_source
from segformer_ros.text_table import format_table, markdown_table

_MONITORS = Path('/sys/bus/i2c/drivers')
_INPUTS = ('VDD_IN', 'POM_5V_IN', '5V_IN')
_SUMS = (
    ('GPU', 'CPU', 'SOC', 'CV', 'VDDRQ', 'SYS5V'),  # AGX Xavier
    ('VDD_GPU_SOC', 'VDD_CPU_CV', 'VIN_SYS_5V0'),  # AGX Orin, whose DDR is part of VIN_SYS_5V0
)
_RAPL = Path('/sys/class/powercap/intel-rapl:0/energy_uj')
_PERIOD = 0.2

Reader = Callable[[], Optional[float]]


class PowerMeter:
    """Mean power in watts over a `with` block; None where nothing can be read.

    device: index of the GPU that works, as the engines count them; None where the CPU does. A
    Jetson module's meter reads both. source: what was measured, with the names of its rails.
    """

    def __init__(self, device: Optional[int] = None) -> None:
        self._readers: Tuple[Tuple[str, Reader], ...] = tuple(_module())
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


def _module() -> Iterator[Tuple[str, Reader]]:
    """The power of a Jetson module, by the names of the rails that its INA3221 monitors read.

    That is the module's input where one is measured, which its other rails are parts of: VDD_IN
    (TX1, TX2, Xavier NX, Orin Nano and NX; 5V_IN in some documents) or POM_5V_IN (Nano); the
    carrier board of a TX (VDD_MUX) is beside it. The AGX modules measure no input, and the sum of
    the rails that do not contain each other stands for it. Boards with other names, as Thor, give
    no figure. Sources: "Power consumption modeling" of NVIDIA's Jetson Linux Developer Guide
    32.6.1 (TX, Nano, Xavier) and 36.4.3 (Orin: "VDDQ_VDD2_1V8AO power is also included in
    VIN_SYS_5V0 power"); jetson/JetsonPowerRails.md of energymon, which read the device trees.
    """
    rails = _rails()
    for names in (*((name,) for name in _INPUTS), *_SUMS):
        if all(name in rails for name in names):
            yield f'module ({" + ".join(names)})', partial(_sum, [rails[name] for name in names])


def _rails() -> Dict[str, Reader]:
    """A reader of watts for each rail that has a name."""
    found: Dict[str, Reader] = {}
    for label in sorted(_MONITORS.glob('ina3221*/*/hwmon/hwmon*/in[123]_label')):
        channel = label.name[2]
        factors = label.with_name(f'in{channel}_input'), label.with_name(f'curr{channel}_input')
        found[_text(label)] = partial(_product, factors, 1e-6)  # mV and mA
    for label in sorted(_MONITORS.glob('ina3221*/*/iio:device*/rail_name_[012]')):  # JetPack 4
        power = label.with_name(f'in_power{label.name[-1]}_input')
        found[_text(label)] = partial(_product, (power,), 1e-3)  # mW
    return found


def _sum(readers: Sequence[Reader]) -> Optional[float]:
    values = [read() for read in readers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _product(files: Sequence[Path], factor: float) -> Optional[float]:
    """The product of the numbers in files; None where one cannot be read."""
    for file in files:
        number = _number(file)
        if number is None:
            return None
        factor *= number
    return factor


def _card(device: int) -> Reader:
    """A GPU's reader, by PCI address: nvidia-smi counts GPUs in another order than CUDA."""
    try:
        bus = select_gpu(device).bus
    except EngineError:
        return lambda: None
    return lambda: _card_watts(bus)


def _card_watts(bus: str) -> Optional[float]:
    """Power of the GPU at a PCI address, as nvidia-smi reads it."""
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
    """Joules that the processor has used, from an arbitrary start."""
    microjoules = _number(_RAPL)
    return None if microjoules is None else microjoules / 1e6


def _number(file: Path) -> Optional[float]:
    try:
        return float(_text(file))
    except ValueError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ''


FRAMES = 8
"""Frames of a recording that engines are timed on."""


def load_frames(location: str, size: Tuple[int, int], count: int = FRAMES) -> List[Frame]:
    """The first frames of a recording, scaled to (height, width); raises SourceError."""
    height, width = size
    frames = [
        Frame.from_array(np.asarray(cv2.resize(entry.frame.bgr(), (width, height))))
        for entry in open_source(location).frames(0, count)
        if entry.frame is not None
    ]
    if not frames:
        raise SourceError(f'{location} has no image that can be read')
    return frames


_WARM_UP = SETTLED + 2
"""Untimed calls: set-up, and the runs up to the capture of a CUDA graph."""

STAGES = ('preprocess', 'inference', 'postprocess')
_SHORT = dict(zip(STAGES, ('pre', 'net', 'post')))

UNITS = (
    'Milliseconds: a call is one batch; pre, net and post are per frame. KB and mJ per frame; MiB '
    'of memory in use.'
)
"""What the columns of a table of speed mean."""


@dataclass(frozen=True)
class BatchResult:
    """One batch size.

    calls: that were timed. fps: frames of the whole run over its seconds. call: one `segment` of
    the batch. stages: per frame. traffic: bytes moved per frame. memory: bytes, of the GPU where
    the engine has one, else the peak of this process. watts: mean, None where it cannot be read;
    meter: what measured it.
    """

    batch: int
    calls: int
    frames: int
    fps: float
    call: Percentiles
    stages: Dict[str, Percentiles]
    traffic: Traffic
    memory: int
    watts: Optional[float]
    meter: str

    @property
    def energy(self) -> Optional[float]:
        """Joules per frame, None where the power cannot be read."""
        return None if self.watts is None else self.watts / self.fps

    def columns(self) -> Dict[str, object]:
        """A row of every table of speed, see UNITS."""
        times = {'call': self.call, **{_SHORT[stage]: self.stages[stage] for stage in STAGES}}
        return {
            'batch': self.batch,
            'calls': self.calls,
            'FPS': f'{self.fps:.1f}',
            **{
                f'{name} {which}': f'{getattr(time, which):.2f}'
                for name, time in times.items()
                for which in ('p50', 'p99')
            },
            'KB copied': round(self.traffic.host / 1e3),
            'KB up': round(self.traffic.upload / 1e3),
            'KB down': round(self.traffic.download / 1e3),
            'MiB': round(self.memory / 2**20),
            'W': '-' if self.watts is None else f'{self.watts:.1f}',
            'mJ': '-' if self.energy is None else f'{1e3 * self.energy:.1f}',
        }

    def as_json(self) -> Dict[str, Any]:
        """The numbers by name."""
        return {
            **asdict(self),
            'traffic': self.traffic._asdict(),
            'call': self.call._asdict(),
            'stages': {name: times._asdict() for name, times in self.stages.items()},
            'joules': self.energy,
        }


@dataclass(frozen=True)
class BenchmarkResult:
    """All batch sizes of one engine, and what ran. name: the model's."""

    name: str
    facts: Dict[str, str]
    batches: List[BatchResult]


def benchmark(
    engine: Engine,
    frames: Sequence[Frame],
    batches: Sequence[int],
    seconds: float,
    wanted: Wanted = Wanted(),
    after_batch: Callable[[], object] = lambda: None,
) -> BenchmarkResult:
    """Time an active engine on frames, `seconds` for each batch size; `after_batch` after each.

    Raises EngineError for a batch that the model or the engine does not take.
    """
    most = engine.spec.batch
    for batch in batches:
        if batch < 1:
            raise EngineError(f'batch {batch}; a batch has 1 frame or more')
        if most and batch > most and engine.facts().get('device') != 'CPU':
            raise EngineError(
                f'batch {batch} is above the {most} that {engine.spec.path} takes; export it '
                'with a dynamic batch, or ask for less'
            )
        if engine.max_batch and batch > engine.max_batch:
            raise EngineError(
                f'batch {batch} is above the {engine.max_batch} frames that this engine runs at '
                f'once; build it with segformer build --max-batch ({MAX_BATCH} at most), or ask '
                'for less'
            )
    results = []
    for batch in batches:
        results.append(_time_batch(engine, frames, batch, seconds, wanted))
        after_batch()
    sizes = sorted({f'{frame.width}x{frame.height}' for frame in frames})
    facts = {
        **engine.facts(),
        'frames': ', '.join(sizes),
        'input': engine.spec.size_in_words,
        'inference': engine.options.inference,
        'upsampling': wanted.upsampling,
        'confidence': 'made too' if wanted.confidence else 'not made',
        **environment(),
    }
    facts['date'] = date.today().isoformat()
    if results[-1].meter:
        facts['power of'] = results[-1].meter
    return BenchmarkResult(engine.spec.path.stem, facts, results)


def _time_batch(
    engine: Engine, frames: Sequence[Frame], batch: int, seconds: float, wanted: Wanted
) -> BatchResult:
    parts = [
        [frames[(first + place) % len(frames)] for place in range(batch)]
        for first in range(0, max(len(frames), batch), batch)
    ]
    for part in islice(cycle(parts), _WARM_UP):
        engine.segment(part, wanted)
    calls: List[float] = []
    stages: Dict[str, List[float]] = {stage: [] for stage in STAGES}
    on_gpu = engine.facts().get('device') != 'CPU'
    with PowerMeter(engine.options.device if on_gpu else None) as meter:
        start = perf_counter()
        while perf_counter() - start < seconds or len(calls) < 3:
            begun = perf_counter()
            results = engine.segment(parts[len(calls) % len(parts)], wanted)
            calls.append(1e3 * (perf_counter() - begun))
            for stage in STAGES:
                stages[stage] += [getattr(result.times, stage) for result in results]
        elapsed = perf_counter() - start
    moved = engine.traffic
    return BatchResult(
        batch=batch,
        calls=len(calls),
        frames=batch * len(calls),
        fps=batch * len(calls) / elapsed,
        call=percentiles(calls),
        stages={stage: percentiles(times) for stage, times in stages.items()},
        traffic=Traffic(*(count // batch for count in moved)),
        memory=engine.memory or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        watts=meter.watts,
        meter=meter.source,
    )


def as_json(result: BenchmarkResult) -> Dict[str, Any]:
    """The numbers by name."""
    batches = [entry.as_json() for entry in result.batches]
    return {'model': result.name, 'facts': result.facts, 'batches': batches}


def as_text(result: BenchmarkResult) -> str:
    """A table for a terminal; milliseconds, per frame but for `call`."""
    facts = '\n'.join(f'{name}: {value}' for name, value in result.facts.items())
    header, rows = _table(result)
    return f'{facts}\n\n{format_table(header, rows)}\n\n{UNITS}\n'


def as_markdown(result: BenchmarkResult) -> str:
    """A table for a document; milliseconds, per frame but for `call`."""
    lines = [f'- {name}: {value}' for name, value in result.facts.items()]
    return '\n'.join([*lines, '', markdown_table(*_table(result)), '', UNITS]) + '\n'


def _table(result: BenchmarkResult) -> Tuple[List[str], List[List[object]]]:
    rows = [entry.columns() for entry in result.batches]
    return list(rows[0]), [list(row.values()) for row in rows]
