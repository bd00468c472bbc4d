"""How fast an engine is on this machine: frames per second and milliseconds per stage."""

from __future__ import annotations

import resource
from dataclasses import asdict, dataclass
from datetime import date
from itertools import cycle, islice
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional, Sequence

from segformer_ros.engines import Engine, EngineError, Traffic, Wanted
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.engines.power import PowerMeter
from segformer_ros.engines.trt.network_runner import SETTLED
from segformer_ros.environment import environment
from segformer_ros.frame import Frame
from segformer_ros.percentiles import Percentiles, percentiles
from segformer_ros.text_table import format_table, markdown_table

_WARM_UP = SETTLED + 2
"""Calls before the timing: set-up, and the runs before and of the capture of a CUDA graph."""

STAGES = ('preprocess', 'inference', 'postprocess')

_HEADER = (
    'batch', 'calls', 'FPS', 'call p50', 'call p99', 'pre p50', 'pre p99', 'net p50', 'net p99',
    'post p50', 'post p99', 'KB copied', 'KB up', 'KB down', 'MiB', 'W',
)  # fmt: skip


_UNITS = (
    'Milliseconds: a call is one batch; pre, net and post are per frame. KB per frame; MiB of '
    'memory in use.'
)


@dataclass(frozen=True)
class BatchResult:
    """One batch size.

    calls: that were timed. fps: frames of the whole run over its seconds. call: one `segment` of
    the batch. stages: per frame. traffic: bytes moved per frame. memory: bytes, of the GPU where
    the engine has one, else of this process at its greatest. watts: mean, None where it cannot be
    read; meter: whose.
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
    told: Callable[[], object] = lambda: None,
) -> BenchmarkResult:
    """Time an active engine on frames, `seconds` for each batch size; `told` after each.

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
        told()
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
    batches = []
    for entry in result.batches:
        values = asdict(entry)
        values['traffic'] = entry.traffic._asdict()
        values['call'] = entry.call._asdict()
        values['stages'] = {name: times._asdict() for name, times in entry.stages.items()}
        batches.append(values)
    return {'model': result.name, 'facts': result.facts, 'batches': batches}


def as_text(result: BenchmarkResult) -> str:
    """A table for a terminal; milliseconds, per frame but for `call`."""
    facts = '\n'.join(f'{name}: {value}' for name, value in result.facts.items())
    return f'{facts}\n\n{format_table(_HEADER, _rows(result))}\n\n{_UNITS}\n'


def as_markdown(result: BenchmarkResult) -> str:
    """A table for a document; milliseconds, per frame but for `call`."""
    lines = [f'- {name}: {value}' for name, value in result.facts.items()]
    return '\n'.join([*lines, '', markdown_table(_HEADER, _rows(result)), '', _UNITS]) + '\n'


def _rows(result: BenchmarkResult) -> List[List[Any]]:
    rows = []
    for entry in result.batches:
        times = [entry.call, *(entry.stages[stage] for stage in STAGES)]
        rows.append(
            [
                entry.batch,
                entry.calls,
                f'{entry.fps:.1f}',
                *(f'{value:.2f}' for one in times for value in (one.p50, one.p99)),
                *(round(count / 1e3) for count in entry.traffic),
                round(entry.memory / 2**20),
                '-' if entry.watts is None else f'{entry.watts:.1f}',
            ]
        )
    return rows
