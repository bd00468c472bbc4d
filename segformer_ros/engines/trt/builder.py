# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Building an engine from an ONNX, whatever the TensorRT version."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Optional, Sequence, Tuple

from segformer_ros.engines.cache import read_if_own, write_atomically
from segformer_ros.engines.engine import EngineError, Progress
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.engines.trt.inspector import Layers, read_build_log
from segformer_ros.model.normalization import (
    check_reductions,
    squares,
    write_out_layer_norms,
)

MIB = 1 << 20
DEFAULT_WORKSPACE = 1024 * MIB
LEAST_WORKSPACE = 64 * MIB

_OUT_OF_MEMORY = ('out of memory', 'outofmemory', 'insufficient memory')

# 8.2 says no more than this where a layer needs more workspace, later versions add so.
_TOO_LITTLE = (
    'could not find any implementation',
    'insufficient workspace',
    'within workspace limit',
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built.

    precision: 'fp32', 'fp16' or 'int8'. batches: least, usual and greatest number of frames, for
    a network that leaves it free. workspace: limit of the builder's scratch memory in bytes.
    target_sm: compute capability times ten of a GPU that is not here; None for this machine's.
    timing_cache: file of earlier timings, None to keep none. half: whether FP16 may be beside
    INT8. single: tensors whose layers compute in FP32 whatever the precision.
    """

    precision: str = 'fp32'
    batches: Tuple[int, int, int] = (1, 1, 4)
    workspace: int = DEFAULT_WORKSPACE
    target_sm: Optional[int] = None
    timing_cache: Optional[Path] = None
    half: bool = True
    single: Tuple[str, ...] = ()


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine.

    workspace: the limit that it was built with. seconds: the build's time. batches: as asked.
    layers: as the builder told them, empty for versions that do not; an engine that is loaded
    tells by its inspector.
    """

    plan: bytes
    layers: Layers
    workspace: int
    seconds: float
    batches: Tuple[int, int, int]


def build_engine(
    library: TensorRt,
    model: bytes,
    options: BuildOptions = BuildOptions(),
    progress: Optional[Progress] = None,
) -> BuiltEngine:
    """Build an engine; raises EngineError with the library's reason, and KeyboardInterrupt.

    Out of memory is answered by half the workspace, down to 64 MiB. Unless a target is named, the
    driver must have been asked before (`cuda.driver`): a Builder may crash without one.
    """
    start = perf_counter()
    workspace = options.workspace
    while True:
        library.errors.clear()
        with library.interrupts.held(stops=library.monitored):
            plan = _build_once(library, model, options, workspace, progress)
        if plan is not None:
            seconds = perf_counter() - start
            layers = read_build_log(library.layers)
            return BuiltEngine(plan, layers, workspace, seconds, options.batches)
        workspace = _smaller(library, options, workspace)
        _log.warning('out of memory; building again with %d MiB of workspace', workspace // MIB)


def _smaller(library: TensorRt, options: BuildOptions, workspace: int) -> int:
    """The workspace to try after a failure with this one; raises EngineError where none helps."""
    mib, reason = workspace // MIB, library.last_error('stopped, or no reason given')
    # For a GPU that is not here the limit is all the memory there is.
    apart = options.target_sm is not None
    if _says(library, _OUT_OF_MEMORY) and not apart:
        if workspace > LEAST_WORKSPACE:
            return max(LEAST_WORKSPACE, workspace // 2)
        raise EngineError(
            f'the build ran out of memory even with a workspace of {mib} MiB ({reason}); '
            f'{_what_would_fit(options)}'
        )
    if not _says(library, _TOO_LITTLE + (_OUT_OF_MEMORY if apart else ())):
        raise EngineError(
            f'{library.version} could not build the engine: {reason}; try another precision, or '
            'run it on the CPU (engine openvino)'
        )
    if workspace < options.workspace:
        raise EngineError(
            f'the build ran out of memory, and with a workspace of {mib} MiB a layer has too '
            f'little ({reason}); {_what_would_fit(options)}'
        )
    raise EngineError(
        f'a layer needs more scratch memory than {mib} MiB, or cannot be built ({reason}); build '
        f'it with a larger workspace: segformer build --workspace {2 * mib}'
    )


def _build_once(
    library: TensorRt,
    model: bytes,
    options: BuildOptions,
    workspace: int,
    progress: Optional[Progress],
) -> Optional[bytes]:
    builder = library.create_builder()
    network = library.create_network(builder)
    if not library.normalizes(network):
        model = write_out_layer_norms(model)
    if not library.reads_axes:
        check_reductions(model)
    parser = library.parse(network, model)
    library.set_io_type(network, options.precision)
    config = builder.create_builder_config()
    library.set_workspace(config, workspace)
    library.set_precision(config, options.precision, options.half)
    if options.precision != 'fp32':
        library.keep_single(network, config, squares(model).union(options.single))
    library.set_details(config)
    library.set_batches(builder, network, config, options.batches)
    if options.target_sm is not None:
        library.set_target(config, options.target_sm)
    if options.timing_cache:
        library.set_timing_cache(config, read_if_own(options.timing_cache) or b'')
    monitor = library.set_progress(config, progress)
    plan = library.build(builder, network, config)
    del monitor, parser  # nothing else kept them alive during the build
    if plan is not None and options.timing_cache:
        _keep(options.timing_cache, library.timing_cache(config))
    return plan


def _keep(file: Path, timings: bytes) -> None:
    try:
        write_atomically(file, timings)
    except OSError as error:
        _log.warning('the timings of this build are not kept: %s', error)


def _says(library: TensorRt, words: Sequence[str]) -> bool:
    return any(word in line.lower() for line in library.errors for word in words)


def _what_would_fit(options: BuildOptions) -> str:
    advice = ['close other programs that use the GPU']
    if options.precision == 'fp32':
        advice.append('use precision fp16 (half the memory)')
    if options.batches[2] > 1:
        advice.append(f'use max_batch 1 instead of {options.batches[2]}')
    advice.append('use a model of a smaller input size (memory grows with its area)')
    return 'what would fit: ' + ', '.join(advice)
