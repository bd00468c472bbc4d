# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Building an engine from an ONNX, and reading back which types its layers compute in."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from segformer_ros.engines.cache import read_if_own, write_atomically
from segformer_ros.engines.engine import EngineError, Progress
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.model.normalization import (
    check_reductions,
    single_outputs,
    write_out_layer_norms,
)

# How the inspectors name a type: 'Row major linear FP16 format', 'Row major Int8 format', 'Half'.
_TYPES: Tuple[Tuple[str, str], ...] = (
    (r'\bint8\b', 'int8'),
    (r'\b(fp16|half)\b', 'fp16'),
    (r'\b(bf16|bfloat16)\b', 'bf16'),
    (r'\b(tf32)\b', 'tf32'),
    (r'\b(fp8|fp8e4m3)\b', 'fp8'),
    (r'\b(fp32|float)\b', 'fp32'),
    (r'\b(int32|int64|bool|uint8)\b', 'integer'),
)

# Layers that move or hold data and compute nothing.
_IDLE = re.compile(
    r'reformat|copy|move|constant|shape|noop|signal|wait|shuffle|cast|identity|slice|quantize'
    r'|^scale$',
    re.IGNORECASE,
)

# Layers that multiply by weights, and the products of attention, which no version tells apart.
_WEIGHTED = re.compile(
    r'conv(?!er)|gemm|matmul|matrix_?multiply|correlation|fully_?connected|einsum', re.IGNORECASE
)

_LEAST_SHARE = {'fp16': 0.5, 'int8': 0.25}
"""Share of the layers with weights that must compute in the precision asked for.

Less for INT8: quantisation leaves out up to half of them, and the products of attention.
"""

_NARROW = ('int8', 'fp16', 'bf16', 'fp8')

_BUILD_LAYER = re.compile(r'Name: (?P<name>[^,]*), LayerType: (?P<type>[^,]*), (?P<rest>[^\n]*)')
_BUILD_INPUTS = re.compile(r'Inputs: (.*?)\], (?:Constants|Outputs): ')
_BUILD_TACTIC = re.compile(r'TacticName: ([^,]*)')
_BUILD_TYPE = re.compile(r'Datatype: (\w+)')


class Layer(NamedTuple):
    """One layer of an engine: name, kind, the narrowest type that it reads or writes.

    weighted: whether it multiplies by weights; what it writes says nothing then.
    """

    name: str
    kind: str
    precision: str
    weighted: bool = False


class Layers(NamedTuple):
    """The computing layers of an engine."""

    layers: Tuple[Layer, ...]

    def count(self, precision: str) -> int:
        """How many compute in a precision."""
        return sum(layer.precision == precision for layer in self.layers)

    def summary(self) -> str:
        """Layers per type, '41 fp16, 3 fp32'."""
        kinds = sorted({layer.precision for layer in self.layers})
        return ', '.join(f'{self.count(kind)} {kind}' for kind in kinds) or 'not told'

    def check(self, precision: str, exactly: bool = False, mixed: bool = False) -> None:
        """Raise EngineError where the engine silently computes in a wider type than was asked.

        exactly: also where it computes partly in a narrower one than FP32, as a foreign file may.
        mixed: some layers were meant to be FP32.

        Where a version folds the network into one node ("foreign node"), that node's own inputs
        and outputs are all that can be seen.
        """
        if not self.layers:
            return
        if self.count('tf32'):
            raise EngineError(f'the engine computes in TF32, unasked: {self.summary()}')
        judged = [layer for layer in self.layers if layer.weighted] or self.layers
        found = sum(layer.precision == precision for layer in judged)
        wide = precision == 'fp32' and not exactly  # then some narrow layers are acceptable
        narrow = sum(layer.precision in _NARROW for layer in judged)
        if wide and (found or not narrow):
            return
        least = _LEAST_SHARE.get('int8' if mixed else precision, 0.5)
        if not wide and found >= max(1, least * len(judged)):
            return
        raise EngineError(
            f'{precision} was asked for, but the engine built has '
            f'{"no such layer" if not found else f"{found} such layers of {len(judged)}"} '
            f'({self.summary()}); use another precision: this GPU or TensorRT lacks it, or '
            'the graph has types of its own'
        )


def read_inspector(text: Optional[str]) -> Layers:
    """Layers from the engine inspector's JSON; none where it gives names alone, or nothing."""
    if not text:
        return Layers(())
    try:
        entries = json.loads(text)['Layers']
    except (ValueError, KeyError, TypeError):
        return Layers(())
    found = (_from_json(entry) for entry in entries if isinstance(entry, dict))
    return Layers(tuple(layer for layer in found if layer))


def read_build_log(text: str) -> Layers:
    """Layers from what TensorRT-RTX logs at the end of a build."""
    return Layers(tuple(_from_log(text)))


def _from_json(entry: Dict[str, Any]) -> Optional[Layer]:
    kind = str(entry.get('LayerType', ''))
    read, written = (
        [str(one.get('Format/Datatype', one.get('Datatype', ''))) for one in entry.get(side) or ()]
        for side in ('Inputs', 'Outputs')
    )
    kinds = f'{kind} {entry.get("ParameterType", "")}'
    return _layer(str(entry.get('Name', '')), kinds, read, written, str(entry.get('TacticName')))


def _from_log(text: str) -> Iterator[Layer]:
    for match in _BUILD_LAYER.finditer(text):
        rest = match['rest']
        inputs, tactic = _BUILD_INPUTS.search(rest), _BUILD_TACTIC.search(rest)
        read = _BUILD_TYPE.findall(inputs[1] if inputs else '')
        layer = _layer(
            match['name'], match['type'], read, _BUILD_TYPE.findall(rest),
            tactic[1] if tactic else '',
        )  # fmt: skip
        if layer:
            yield layer


def _layer(
    name: str, kind: str, read: List[str], written: List[str], tactic: str
) -> Optional[Layer]:
    """A layer by the types that it reads and writes; None for one that computes nothing."""
    if _IDLE.search(kind.split()[0] if kind.split() else ''):
        return None
    weighted = bool(_WEIGHTED.search(kind))
    # A layer with weights that quantises its output computes in the type of its input.
    precision = (weighted and _narrowest(read)) or _narrowest(read + written)
    # No tensor is of TF32: it is a way to multiply numbers of FP32, which the kernel's name tells.
    if 'tf32' in tactic.lower():
        precision = 'tf32'
    return Layer(name, kind.strip(), precision, weighted) if precision else None


def _narrowest(described: List[str]) -> str:
    """The first of the types, from narrow to wide, that is among those described; '' for none.

    A quantised layer reads INT8 and may write FP16, so its narrow side says what it computes in.
    """
    joined = ' ; '.join(described).lower()
    return next((name for words, name in _TYPES if re.search(words, joined)), '')


MIB = 1 << 20
DEFAULT_WORKSPACE = 1024 * MIB
LEAST_WORKSPACE = 64 * MIB

_OUT_OF_MEMORY = ('out of memory', 'outofmemory', 'insufficient memory')

# 8.2 says only the first of these where a layer needs more workspace; later versions say why.
_TOO_LITTLE = (
    'could not find any implementation',
    'insufficient workspace',
    'within workspace limit',
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built.

    precision: 'fp32', 'fp16' or 'int8'. batches: min, opt and max of the optimization profile, for
    a network of dynamic batch. workspace: limit of the builder's scratch memory in bytes.
    target_sm: compute capability times ten of a GPU that is not here; None for this machine's.
    timing_cache: file of earlier timings, None to keep none. half: whether FP16 may be beside
    INT8. single: tensors whose layers compute in FP32 whatever the precision. dla_core: the DLA
    that takes what it can, -1 for none.
    """

    precision: str = 'fp32'
    batches: Tuple[int, int, int] = (1, 1, 4)
    workspace: int = DEFAULT_WORKSPACE
    target_sm: Optional[int] = None
    timing_cache: Optional[Path] = None
    half: bool = True
    single: Tuple[str, ...] = ()
    dla_core: int = -1


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine.

    workspace: the limit that it was built with. seconds: the build's time. batches: as asked.
    layers: as the builder told them, empty for versions that do not; an engine that is loaded
    tells by its inspector. beside_dla: name and kind of the layers that the DLA asked for cannot
    take.
    """

    plan: bytes
    layers: Layers
    workspace: int
    seconds: float
    batches: Tuple[int, int, int]
    beside_dla: Tuple[Tuple[str, str], ...] = ()


def build_engine(
    library: TensorRt,
    model: bytes,
    options: BuildOptions = BuildOptions(),
    progress: Optional[Progress] = None,
) -> BuiltEngine:
    """Build an engine; raises EngineError with the library's reason, and KeyboardInterrupt.

    Where memory runs out it tries again with half the workspace, down to 64 MiB. Unless a target
    is named, `cuda.driver` must have found a driver before: a Builder may crash without one.
    """
    start = perf_counter()
    workspace = options.workspace
    while True:
        library.errors.clear()
        with library.interrupts.held(stops=library.monitored):
            plan, beside = _build_once(library, model, options, workspace, progress)
        if plan is not None:
            seconds = perf_counter() - start
            layers = read_build_log(library.layers)
            return BuiltEngine(plan, layers, workspace, seconds, options.batches, beside)
        workspace = _smaller(library, options, workspace)
        _log.warning('out of memory; building again with %d MiB of workspace', workspace // MIB)


def _smaller(library: TensorRt, options: BuildOptions, workspace: int) -> int:
    """The workspace to try after a failure with this one; raises EngineError where none helps."""
    mib, reason = workspace // MIB, library.last_error('stopped, or no reason given')
    # Built for a GPU that is not here, a layer runs out of the workspace, not of GPU memory.
    elsewhere = options.target_sm is not None
    if _says(library, _OUT_OF_MEMORY) and not elsewhere:
        if workspace > LEAST_WORKSPACE:
            return max(LEAST_WORKSPACE, workspace // 2)
        raise EngineError(
            f'the build ran out of memory even with a workspace of {mib} MiB ({reason}); '
            f'{_what_would_fit(options)}'
        )
    if not _says(library, _TOO_LITTLE + (_OUT_OF_MEMORY if elsewhere else ())):
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
) -> Tuple[Optional[bytes], Tuple[Tuple[str, str], ...]]:
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
    if options.precision != 'fp32' and not library.strongly_typed:
        single, rounded = single_outputs(model, options.single)
        library.keep_single(network, config, single, rounded)
    library.set_details(config)
    library.set_batches(builder, network, config, options.batches)
    beside: Tuple[Tuple[str, str], ...] = ()
    if options.dla_core >= 0:
        beside = library.set_dla(builder, network, config, options.dla_core, options.precision)
    if options.target_sm is not None:
        library.set_target(config, options.target_sm)
    if options.timing_cache:
        library.set_timing_cache(config, read_if_own(options.timing_cache) or b'')
    monitor = library.set_progress(config, progress)
    plan = library.build(builder, network, config)
    del monitor, parser  # nothing else kept them alive during the build
    if plan is not None and options.timing_cache:
        _keep(options.timing_cache, library.timing_cache(config))
    return plan, beside


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
