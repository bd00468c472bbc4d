# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The engine for this machine: from the cache, or built, read back and, where asked, timed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from segformer_ros.engines.cache import (
    Built,
    EngineCache,
    EngineKey,
    Entry,
    cache_folder,
    read_plan,
)
from segformer_ros.engines.cuda.driver import Gpu
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.engines.engine import EngineError, EngineOptions, Progress
from segformer_ros.engines.precision import Candidate, choose_precision
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.engines.trt.builder import (
    MIB,
    BuildOptions,
    BuiltEngine,
    build_engine,
    read_inspector,
)
from segformer_ros.engines.trt.network_runner import check_engine
from segformer_ros.engines.trt.session import open_session
from segformer_ros.model import ModelError, ModelSpec
from segformer_ros.model.model_files import model_hash
from segformer_ros.model.normalization import to_half
from segformer_ros.model.onnx_network import Network, tensorrt_network

REVISION = 3
"""To be raised when the same ONNX becomes another network here; part of every cache key."""

NOWHERE = 'nowhere'
"""In place of the path, for an engine that could not be written to the cache."""

TIMING_CACHE = 'timings.cache'

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provided:
    """A loaded engine.

    spec: its input and output. facts: for diagnostics. kernels: file for what TensorRT-RTX
    compiles at run time.
    """

    engine: Any
    spec: ModelSpec
    facts: Dict[str, str]
    kernels: Optional[Path] = None


Timer = Callable[[Provided], float]


def provide_engine(
    library: TensorRt,
    spec: ModelSpec,
    options: EngineOptions,
    gpu: Gpu,
    timer: Optional[Timer] = None,
    progress: Optional[Progress] = None,
) -> Provided:
    """Load the engine of a model for a GPU, built where it has to be; raises EngineError.

    timer: milliseconds of one inference, needed for precision 'fastest' alone.
    """
    if spec.engine_file is not None and spec.engine_file.is_file():
        try:
            return _load_file(library, spec, options)
        except EngineError as error:
            if spec.built:
                raise
            _log.warning('%s; an engine is built from %s instead', error, spec.path)
    wanted = options.precision
    if wanted == 'auto':
        wanted = spec.precision or wanted
    candidates = choose_precision(wanted, spec, gpu.sm)
    provided = [
        _provide(library, spec, options, gpu, candidate, progress) for candidate in candidates
    ]
    if len(provided) == 1:
        return provided[0]
    if timer is None:
        raise EngineError("precision 'fastest' needs a GPU to time the engines on")
    return _fastest(provided, timer)


def parsed_network(
    spec: ModelSpec, candidate: Candidate, strongly_typed: bool, keep_io: bool = False
) -> Network:
    """The network that is given to the parser for a precision.

    strongly_typed: whether the types must be in the graph; keep_io: its input and output FP32.
    """
    network = tensorrt_network(replace(spec, path=candidate.model))
    return _typed(network, candidate, strongly_typed, keep_io)


def build_options(
    options: EngineOptions, spec: ModelSpec, candidate: Candidate, sm: Optional[int] = None
) -> BuildOptions:
    """The builder's options; sm: of a GPU that is not here, None for the one that is."""
    most = spec.max_batch or min(options.max_batch, MAX_BATCH)
    batches = (spec.batch,) * 3 if spec.batch else (1, 1, most)
    if options.dla_core >= 0 and not spec.batch:  # a DLA takes no free sides
        batches = (1, 1, 1)
    timings = cache_folder(options.cache_dir) / TIMING_CACHE
    return BuildOptions(
        precision=candidate.precision,
        half=candidate.half,
        single=candidate.single,
        dla_core=options.dla_core,
        batches=batches,
        workspace=options.workspace_mib * MIB,
        target_sm=sm,
        timing_cache=timings if sm is None else None,
    )


def build_apart(
    library: TensorRt,
    spec: ModelSpec,
    options: EngineOptions,
    candidate: Candidate,
    sm: Optional[int] = None,
    progress: Optional[Progress] = None,
) -> Tuple[BuiltEngine, ModelSpec]:
    """Build an engine without the cache, its layers read and checked; raises EngineError.

    With it comes its spec, as `write_sidecar` writes it beside the engine's file.
    sm: compute capability of a GPU that is not here; None for the one that is.
    """
    network = parsed_network(spec, candidate, library.strongly_typed)
    settings = build_options(options, spec, candidate, sm)
    made = replace(network.spec, precision=candidate.precision, max_batch=settings.batches[2])
    built = _build(library, candidate, network, settings, progress)
    layers = built.layers
    if not layers.layers:  # a version that tells by its inspector alone, on its own GPU
        plan = library.load(built.plan, options.dla_core)
        layers = read_inspector(library.describe(plan))
    layers.check(candidate.precision, mixed=bool(candidate.single))
    return replace(built, layers=layers), made


def engine_key(
    library: TensorRt, spec: ModelSpec, options: BuildOptions, model: Path, gpu: Gpu
) -> EngineKey:
    """What the cached engine must agree with."""
    height, width = spec.size
    single = sha256('\n'.join(options.single).encode()).hexdigest()[:16]
    beside = f', FP32 {single}' if options.single else ''
    if options.dla_core >= 0:
        beside += f', DLA core {options.dla_core}'
    return EngineKey(
        model=model_hash(model),
        library=library.version,
        gpu=f'{gpu.name}, {gpu.processors} multiprocessors',
        sm=gpu.sm,
        precision=options.precision,
        shapes=f'{width}x{height}, batch {options.batches}, revision {REVISION}{beside}',
    )


def _provide(
    library: TensorRt,
    spec: ModelSpec,
    options: EngineOptions,
    gpu: Gpu,
    candidate: Candidate,
    progress: Optional[Progress],
) -> Provided:
    """One candidate, from the cache or built, its layers checked."""
    settings = build_options(options, spec, candidate)
    cache = EngineCache(cache_folder(options.cache_dir))
    key = engine_key(library, spec, settings, candidate.model, gpu)
    network = tensorrt_network(replace(spec, path=candidate.model))

    def build() -> Tuple[bytes, Dict[str, str]]:
        _log.info(
            'building a %s engine for %s (%s); this takes minutes once',
            candidate.precision,
            gpu.label,
            candidate.reason,
        )
        typed = _typed(network, candidate, library.strongly_typed)
        built = _build(library, candidate, typed, settings, progress)
        return built.plan, {
            'build': f'{built.seconds:.0f} s, workspace {built.workspace // MIB} MiB',
            **dla_facts(options, built),
        }

    engine, cached_facts = _load_cached(library, cache, key, build, options.dla_core)
    layers = read_inspector(library.describe(engine))
    layers.check(candidate.precision, mixed=bool(candidate.single))
    facts = {
        'precision': candidate.precision,
        'precision reason': candidate.reason,
        'layers': layers.summary(),
        **cached_facts,
    }
    return Provided(engine, network.spec, facts, cache.folder / f'{key.file_name}.kernels')


def dla_facts(options: EngineOptions, built: BuiltEngine, named: bool = False) -> Dict[str, str]:
    """Which layers a DLA left to the GPU, counted by kind; `named`: with every name."""
    if options.dla_core < 0:
        return {}
    kinds: Dict[str, List[str]] = {}
    for name, kind in built.beside_dla:
        kinds.setdefault(kind, []).append(name)
    others = '; '.join(
        f'{len(names)} {kind}' + (f' ({", ".join(names)})' if named else '')
        for kind, names in sorted(kinds.items())
    )
    return {'DLA': f'core {options.dla_core}; on the GPU: {others or "nothing"}'}


def _build(
    library: TensorRt,
    candidate: Candidate,
    network: Network,
    settings: BuildOptions,
    progress: Optional[Progress],
) -> BuiltEngine:
    try:
        return build_engine(library, network.model, settings, progress)
    except (EngineError, ModelError) as error:
        raise EngineError(f'{candidate.model}: {error}') from error


def _load_cached(
    library: TensorRt,
    cache: EngineCache,
    key: EngineKey,
    build: Callable[[], Built],
    dla_core: int,
) -> Tuple[Any, Dict[str, str]]:
    """The engine of a key and its facts; one that does not load is built again once."""
    entry = cache.load_or_build(key, build)
    try:
        return library.load(entry.plan, dla_core), _entry_facts(cache, key, entry)
    except EngineError as error:
        if entry.built:
            raise
        _log.warning('%s; the cached engine is built again', error)
    cache.discard(key)
    entry = cache.load_or_build(key, build)
    return library.load(entry.plan, dla_core), _entry_facts(cache, key, entry)


def _entry_facts(cache: EngineCache, key: EngineKey, entry: Entry) -> Dict[str, str]:
    path = cache.folder / key.file_name
    origin = 'built now' if entry.built else 'from the cache'
    return {**entry.facts, 'kept in': f'{path}, {origin}' if path.is_file() else NOWHERE}


def _typed(
    network: Network, candidate: Candidate, strongly_typed: bool, keep_io: bool = False
) -> Network:
    if not strongly_typed or candidate.precision == 'fp32' or not candidate.half:
        return network
    return network._replace(model=to_half(network.model, keep_io, candidate.single))


def _load_file(library: TensorRt, spec: ModelSpec, options: EngineOptions) -> Provided:
    """The engine file that the user gave, or that a configuration names beside the ONNX.

    Raises EngineError where it does not compute in the wanted precision (else that of the
    configuration), or where its input or output is not the model's.
    """
    wanted = options.precision
    asked = spec.precision if wanted in ('auto', 'fastest') else wanted
    assert spec.engine_file is not None
    plan = read_plan(spec.engine_file)
    try:
        engine = library.load(plan, options.dla_core)
    except EngineError as error:
        cure = '; build it from its ONNX on this machine: segformer build' if spec.built else ''
        raise EngineError(f'{spec.engine_file}: {error}{cure}') from error
    layers = read_inspector(library.describe(engine))
    facts = {
        'precision': asked or 'as built',
        'layers': layers.summary(),
        'engine file': str(spec.engine_file),
    }
    own = spec if spec.built else tensorrt_network(spec).spec
    try:
        if asked:
            layers.check(asked, exactly=True)
        _check_file(library, engine, own)
    except EngineError as error:
        raise EngineError(f'{spec.engine_file}: {error}') from error
    kernels = cache_folder(options.cache_dir) / f'{sha256(plan).hexdigest()[:32]}.kernels'
    return Provided(engine, own, facts, kernels)


def _check_file(library: TensorRt, engine: Any, spec: ModelSpec) -> None:
    session = open_session(library, engine)
    try:
        check_engine(session, spec)
    finally:
        session.close()


def _fastest(provided: List[Provided], timer: Timer) -> Provided:
    times = [timer(one) for one in provided]
    best = min(range(len(times)), key=times.__getitem__)
    measured = ', '.join(
        f'{one.facts["precision"]} {time:.2f} ms' for one, time in zip(provided, times)
    )
    chosen = provided[best]
    return replace(chosen, facts={**chosen.facts, 'precision reason': f'fastest here: {measured}'})
