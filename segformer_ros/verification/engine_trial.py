# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A TensorRT engine in one precision: checks of everything that is promised about it."""

from __future__ import annotations

from collections import deque
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.drawing.overlay import blend
from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.engines import Engine, EngineError, EngineOptions, Wanted
from segformer_ros.engines.cuda.device import aligned
from segformer_ros.engines.cuda.device_frame import frame_on_device
from segformer_ros.engines.cuda.driver import Gpu
from segformer_ros.engines.engine import BrokenError, Progress
from segformer_ros.engines.precision import has_fast_fp16, has_fast_int8
from segformer_ros.engines.tensorrt import TensorRtEngine
from segformer_ros.engines.timing import BatchResult, BenchmarkResult, benchmark
from segformer_ros.engines.trt.network_runner import SETTLED
from segformer_ros.errors import in_words
from segformer_ros.frame import Frame
from segformer_ros.verification.checklist import CheckFigure, NotApplicable, Plan, Shipped, Step

AGREEMENT = {'fp32': 0.998, 'fp16': 0.995, 'int8': 0.95}
"""Least share of a frame's pixels that must have the CPU engine's label."""

DRIVABLE = (0, 1)
EVERYTHING = Wanted(confidence=True, overlay=0.5, drivable=DRIVABLE)

_LEVELS = {'fp32': 1.0, 'fp16': 2.0, 'int8': 12.0}
"""Greatest mean difference of the confidence from the CPU engine's, in levels of 0..255."""

_GROWTH = 8 << 20
"""Bytes by which the memory in use may grow while frames of one size are segmented."""

_REPEATED = 40
"""Frames after which the memory in use is looked at again."""

_OVERLAPPED, _ROUNDS = 20, 5
"""Frames of a round, and rounds, of which the medians one by one and overlapping are taken."""

_LEAST_GAIN = 0.95
"""Least speed of frames that overlap, in multiples of one by one: 1 but for noise.

Where the network takes nearly all of the time, there is nothing to be gained.
"""


def lacks(precision: str, gpu: Gpu) -> str:
    """Why a precision does not apply to a GPU; '' where it does."""
    fast = {'fp16': has_fast_fp16, 'int8': has_fast_int8}.get(precision)
    return '' if fast is None or fast(gpu.sm) else f'sm_{gpu.sm} has no fast {precision.upper()}'


_WANT = (
    'out of memory',
    'outofmemory',
    'out of gpu memory',
    'insufficient memory',
    'scratch memory',
)
"""What errors for want of memory say, of the driver, TensorRT and the engine's build."""


def _lacks_memory(reason: str) -> bool:
    text = reason.lower().replace('_', ' ')
    return any(words in text for words in _WANT)


class EngineTrial:
    """One precision: its engine is built by the first step, and is closed by the last.

    told: callback for the build's progress. speeds: receives the measured speed, by precision.
    """

    def __init__(
        self,
        plan: Plan,
        precision: str,
        speeds: Dict[str, BenchmarkResult],
        told: Optional[Progress] = None,
    ) -> None:
        self._plan, self._precision, self._speeds, self._told = plan, precision, speeds, told
        self._engine: Optional[TensorRtEngine] = None
        self._seconds = 0.0  # of its first start; 0 where it failed
        self._max_batch = max(plan.batches)  # less where that does not fit

    def steps(self, damages: bool, loses: bool, lack: str) -> List[Step]:
        """The checks, in order.

        damages: also damage the cached engine's file, which costs a build. loses: also destroy the
        context, which may cost the process. lack: why no check applies; '' where they do.
        """
        checks: List[Tuple[str, Callable[[], CheckFigure]]] = [
            ('build and start', self._start),
            ('precision read back', self._layers),
            ("masks against the CPU's", self._masks),
            ("confidence against the CPU's", self._confidence),
            ('overlay and drivable rows against the mask', self._extras),
            ("masks of windows against the CPU's", self._windows),
            ('bytes moved per frame', self._traffic),
            ('frames and results on the GPU', self._on_gpu),
            ('CUDA graph', self._graph),
            ('memory stays', self._memory),
            ('frames overlap', self._overlap),
            ('speed', self._speed),
            ('second start loads', self._second_start),
        ]
        if damages:
            checks.append(('a damaged file is not loaded', self._damaged))
        if loses:
            checks.append(('a lost context is made anew', self._lose))
        if lack:
            return [Step(self._precision, name, _inapplicable(lack)) for name, _ in checks]
        return [Step(self._precision, name, run) for name, run in checks]

    def _make(self, inference: str = 'whole') -> TensorRtEngine:
        plan = self._plan
        options = EngineOptions(
            precision=self._precision,
            device=plan.device,
            cache_dir=plan.cache,
            max_batch=self._max_batch,
            inference=inference,
        )
        spec = plan.quantized() if self._precision == 'int8' else plan.spec
        engine = TensorRtEngine(spec, options)
        engine.progress = self._told
        return engine

    def _running(self) -> TensorRtEngine:
        self._require_start()
        assert self._engine is not None
        return self._engine

    def _require_start(self) -> None:
        if not self._seconds:
            raise NotApplicable('its engine did not start')

    def _start(self) -> CheckFigure:
        """Where it fails it is made for smaller batches; only want of memory is no failure."""
        failed: Dict[str, List[int]] = {}
        while not self._engine:
            engine = self._make()
            try:
                self._seconds, self._engine = _activated(engine), engine
            except EngineError as error:
                if self._max_batch == 1 or engine.spec.batch:
                    raise
                failed.setdefault(in_words(error), []).append(self._max_batch)
                self._max_batch //= 2
        tensorrt = engine.facts()['tensorrt']
        figure = f'{self._seconds:.1f} s, {_origin(engine)}, {tensorrt}'
        if failed:
            figure += f'; batch {self._max_batch} at most'
        for reason, batches in failed.items():
            figure += f'; not for batch {", ".join(map(str, batches))} ({reason})'
        return CheckFigure(figure, all(map(_lacks_memory, failed)), self._seconds, 's')

    def _layers(self) -> CheckFigure:
        """The precision that each start reads back from the engine's layers."""
        facts = self._running().facts()
        if facts['layers'] == 'not told':
            raise NotApplicable('this TensorRT does not tell')
        return CheckFigure(facts['layers'], facts['precision'] == self._precision)

    def _masks(self) -> CheckFigure:
        shipped = self._plan.on_cpu()
        return self._agreement(self._running(), shipped)

    def _agreement(self, engine: Engine, shipped: Shipped) -> CheckFigure:
        results = engine.segment(shipped.frames)
        shares = [
            float((result.labels == wanted.labels).mean())
            for result, wanted in zip(results, shipped.results)
        ]
        least, allowed = min(shares), AGREEMENT[self._precision]
        figure = f'{least:.2%} of the pixels or more on {len(shares)} frames, {allowed:.1%} asked'
        return CheckFigure(figure, least >= allowed, least)

    def _confidence(self) -> CheckFigure:
        engine, shipped = self._running(), self._plan.on_cpu()
        results = engine.segment(shipped.frames, Wanted(confidence=True))
        differences = [
            float(np.abs(result.confidence.astype(np.int16) - wanted.confidence).mean())
            for result, wanted in zip(results, shipped.results)
            if result.confidence is not None and wanted.confidence is not None
        ]
        most, allowed = max(differences), _LEVELS[self._precision]
        figure = f'{most:.2f} of 255 levels apart in the mean, {allowed:g} allowed'
        return CheckFigure(figure, most <= allowed, most, 'levels')

    def _extras(self) -> CheckFigure:
        engine = self._running()
        frame = self._plan.frames[0]
        (result,) = engine.segment([frame], EVERYTHING)
        palette = engine.spec.class_map.palette_bgr
        if result.overlay is None or result.blocked is None:
            raise EngineError('the engine made no overlay or no drivable rows')
        drawn = blend(frame.bgr(), result.labels, palette, 0.5)
        overlay = np.abs(result.overlay.astype(np.int16) - drawn) > 1
        starts = np.full(frame.width, frame.height - 1, np.int32)
        rows = result.blocked.rows != first_blocked_rows(result.labels, IdSet(DRIVABLE), starts)
        wrong = int(overlay.sum()) + int(rows.sum())
        return CheckFigure(f'{wrong} values differ', not wrong, wrong)

    def _windows(self) -> CheckFigure:
        self._running()
        shipped = self._plan.on_cpu('slide')
        with self._make('slide') as engine:
            return self._agreement(engine, shipped)

    def _traffic(self) -> CheckFigure:
        """The CPU copies each byte of a frame once; without mapped memory it is uploaded once.

        The mask is downloaded once, or made in mapped memory.
        """
        engine, frame = self._running(), self._plan.timed[0]
        engine.segment([frame])
        moved, mapped = engine.traffic, engine.facts()['memory'] == 'mapped'
        pixels, mask = frame.pixels.size, frame.height * frame.width
        upload, download = (0, 0) if mapped else (aligned(pixels), aligned(mask))
        kept = (moved.host, moved.upload, moved.download)
        figure = (
            f'{moved.host} copied by the CPU, {moved.upload} up, {moved.download} down; '
            f'{pixels}, {upload} and {download} promised where memory is '
            f'{"mapped" if mapped else "copied"}'
        )
        passed = all(one <= most for one, most in zip(kept, (pixels, upload, download)))
        return CheckFigure(figure, passed, sum(kept), 'bytes')

    def _on_gpu(self) -> CheckFigure:
        """A frame that is on the GPU, shown in both ways, and results that stay there.

        The frame is an overlay of the engine's own, which it left there.
        """
        engine, frame = self._running(), self._plan.frames[0]
        plain = engine.segment([frame])[0].labels.copy()
        (kept,) = engine.segment([frame], Wanted(overlay=0.5, on_device=True))
        downloaded = engine.traffic.download
        labels: Any = kept.labels
        array: Any = kept.overlay
        wanted = engine.segment([Frame.from_array(array.host())])[0].labels.copy()
        shown = SimpleNamespace(__cuda_array_interface__=array.__cuda_array_interface__)
        found = []  # name, labels, those wanted, bytes copied
        for name, image in (('__cuda_array_interface__', shown), ('DLPack', array)):
            (result,) = engine.segment([frame_on_device(image, 'bgr8')])
            moved = engine.traffic
            found.append((name, result.labels, wanted, moved.host + moved.upload))
        found.append(('results that stay', labels.host(), plain, downloaded))
        figures, passed = [], True
        for name, given, right, copied in found:
            wrong = int((given != right).sum())
            passed &= not wrong and not copied
            figures.append(f'{name}: {wrong} pixels differ, {copied} bytes copied')
        return CheckFigure('; '.join(figures), passed)

    def _graph(self) -> CheckFigure:
        """Captured once the batch is stable, dropped when that changes; it must change no mask."""
        engine, frame = self._running(), self._plan.frames[0]
        batches = [1, 2, 1] if (engine.max_batch or 1) > 1 else [1]
        wanted = engine.segment([frame])[0].labels.copy()
        wrong = 0
        for batch in batches:
            for _ in range(SETTLED + 2):
                results = engine.segment([frame] * batch)
                wrong += sum(not np.array_equal(one.labels, wanted) for one in results)
        state = engine.facts()['CUDA graph']
        if 'too old' in state or 'its own' in state:
            raise NotApplicable(state)
        figure = f'{state}; {wrong} masks differ from those of plain runs'
        return CheckFigure(figure, state == 'yes' and not wrong)

    def _memory(self) -> CheckFigure:
        engine, frame = self._running(), self._plan.timed[0]
        for _ in range(SETTLED + 2):
            engine.segment([frame])
        before = engine.memory
        for _ in range(_REPEATED):
            engine.segment([frame])
        grown = engine.memory - before
        figure = (
            f'{before / 2**20:.0f} MiB in use, {grown / 2**20:+.1f} MiB after {_REPEATED} frames'
        )
        return CheckFigure(figure, grown <= _GROWTH, grown, 'bytes')

    def _overlap(self) -> CheckFigure:
        """Speed with each frame started before the last one's result is taken, or one by one.

        Medians of several rounds of each in turns. What could be gained: the network alone.
        """
        engine, frames = self._running(), self._plan.timed
        todo = [frames[number % len(frames)] for number in range(_OVERLAPPED)]
        first = [engine.segment([frame])[0] for frame in frames]
        alone = [result.labels.copy() for result in first]
        network = median(result.times.inference for result in first)
        del first
        wrong, times = 0, []
        for number in range(2 * _ROUNDS):
            begun = perf_counter()
            for place, labels in enumerate(_in_turn(engine, todo, ahead=number % 2)):
                wrong += not np.array_equal(labels, alone[place % len(alone)])
            times.append(1e3 * (perf_counter() - begun) / len(todo))
        single, together = median(times[::2]), median(times[1::2])
        gain, most = single / together, single / max(network, 1e-3)
        figure = (
            f'{single:.2f} ms a frame one by one, {together:.2f} overlapping ({gain:.2f}x, '
            f'{_LEAST_GAIN:g} asked; {network:.2f} in the network alone, which would be '
            f'{most:.2f}x); {wrong} masks differ'
        )
        return CheckFigure(figure, gain >= _LEAST_GAIN and not wrong, gain)

    def _speed(self) -> CheckFigure:
        plan, engine = self._plan, self._running()
        batches = [batch for batch in plan.batches if batch <= self._max_batch]
        others = ', '.join(str(batch) for batch in plan.batches if batch not in batches)
        lack = f'batch {others}: not applicable, the engine takes {self._max_batch} at most'
        if not batches:
            raise NotApplicable(lack)
        result = benchmark(engine, plan.timed, batches, plan.seconds)
        self._speeds[self._precision] = result
        found = speed_figure(result)
        return found._replace(figure=f'{found.figure}; {lack}') if others else found

    def _second_start(self) -> CheckFigure:
        engine, self._engine = self._running(), None
        engine.deactivate()
        try:
            seconds = _activated(engine)
            origin = _origin(engine)
        finally:
            engine.deactivate()
        figure = f'{seconds:.2f} s {origin}, {self._seconds:.1f} s at first'
        return CheckFigure(figure, origin == 'from the cache', seconds, 's')

    def _damaged(self) -> CheckFigure:
        self._require_start()
        files = list(self._plan.cache.glob('*.engine'))
        if not files:
            raise NotApplicable('no engine was kept')
        file = max(files, key=lambda path: path.stat().st_mtime)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)
        engine = self._make()
        try:
            seconds = _activated(engine)
            origin = _origin(engine)
        finally:
            engine.deactivate()
        return CheckFigure(f'{origin}, {seconds:.1f} s', origin == 'built now', seconds, 's')

    def _lose(self) -> CheckFigure:
        self._require_start()
        frame = self._plan.frames[0]
        engine = self._make()
        with engine:
            wanted = engine.segment([frame])[0].labels.copy()
            try:
                engine.lose_context()
            except BrokenError:
                pass
            else:
                return CheckFigure('a kernel that read an invalid address was not noticed', False)
            engine.deactivate()
            seconds = _activated(engine)
            same = np.array_equal(engine.segment([frame])[0].labels, wanted)
        words = 'the masks are the same' if same else 'the masks differ'
        return CheckFigure(f'back after {seconds:.2f} s; {words}', same, seconds, 's')


def _in_turn(engine: Engine, frames: Sequence[Frame], ahead: int) -> Iterator[np.ndarray]:
    """The label maps of frames, each started while `ahead` before it are under way."""
    pending = deque(engine.start([frame]) for frame in frames[:ahead])
    for following in [*frames[ahead:], *[None] * ahead]:
        if following is not None:
            pending.append(engine.start([following]))
        yield pending.popleft()()[0].labels


def speed_figure(result: BenchmarkResult) -> CheckFigure:
    """The speed at the first batch size, and at the fastest one."""
    first, best = result.batches[0], max(result.batches, key=lambda entry: entry.fps)
    figure = f'{_words(first)}, call p50 {first.call.p50:.2f} ms, p99 {first.call.p99:.2f} ms'
    if best is not first:
        figure += f'; most {_words(best)}'
    return CheckFigure(figure, True, first.fps, 'FPS')


def _words(entry: BatchResult) -> str:
    watts = '' if entry.energy is None else f' ({entry.watts:.1f} W, {1e3 * entry.energy:.0f} mJ)'
    return f'{entry.fps:.1f} FPS at batch {entry.batch}{watts}'


def _activated(engine: Engine) -> float:
    """Seconds that an engine takes to start."""
    begun = perf_counter()
    engine.activate()
    return perf_counter() - begun


def _origin(engine: Engine) -> str:
    """Whether the engine was built now or came from the cache, without the path."""
    return engine.facts()['kept in'].rpartition(', ')[2]


def _inapplicable(reason: str) -> Callable[[], CheckFigure]:
    def run() -> CheckFigure:
        raise NotApplicable(reason)

    return run
