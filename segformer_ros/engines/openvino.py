# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The OpenVINO engine: the default on a machine without a GPU."""

from __future__ import annotations

import logging
import math
import os
import platform
import re
import sys
from functools import lru_cache, partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union, cast

import numpy as np

from segformer_ros.engines.cache import Built, EngineCache, EngineKey, cache_folder
from segformer_ros.engines.cpu import SLOTS, CpuEngine
from segformer_ros.engines.engine import EngineError
from segformer_ros.engines.precision import require_quantized
from segformer_ros.errors import in_words
from segformer_ros.model import ModelError, ModelSpec
from segformer_ros.model.model_files import model_hash, weight_files
from segformer_ros.model.onnx_network import read_network

CPU_INFO = Path('/proc/cpuinfo')

VNNI = frozenset(('avx512_vnni', 'avx_vnni'))
AMX = frozenset(('amx_int8',))


def cpu_flags(cpu_info: Path = CPU_INFO) -> Set[str]:
    """The kernel's names of the instruction sets; empty where it names none."""
    try:
        text = cpu_info.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return set()
    found = re.search(r'^(?:flags|Features)\s*:\s*(.+)$', text, re.MULTILINE)
    return set(found.group(1).split()) if found else set()


def saturates_int8(cpu_info: Path = CPU_INFO) -> bool:
    """Whether this CPU sums INT8 products in 16 bits, which saturates.

    Without VNNI x86 has `pmaddubsw` for it (oneDNN's manual, "Nuances of int8 computations").
    """
    flags = cpu_flags(cpu_info)
    return platform.machine() == 'x86_64' and bool(flags) and not flags & (VNNI | AMX)


OLDEST = (2024, 4)
"""OpenVINO's first version whose masks are right where a network ends with Softmax: those before
get 1 to 14 % of the pixels of this package's test networks wrong."""


def import_openvino() -> Any:
    """The module `openvino`; raises ImportError where it is not installed, or too old.

    Each import of it reports to Google Analytics through the package openvino_telemetry, which it
    does without where that is missing. Nobody has asked for the reports, and a robot has no use
    for the process that sends them: so it is missing.
    """
    cast(Dict[str, Any], sys.modules).setdefault('openvino_telemetry', None)
    import openvino

    release = re.match(r'(\d+)\.(\d+)', openvino.__version__)
    if release and tuple(map(int, release.groups())) < OLDEST:
        oldest = '.'.join(map(str, OLDEST))
        raise ImportError(f'OpenVINO {release[0]} gets masks wrong, use {oldest} or later')
    return openvino


@lru_cache(maxsize=None)
def openvino_core() -> Any:
    """The one Core of this process; raises ImportError without OpenVINO.

    Each Core loads its own CPU plugin, which installs an alternate signal stack for the thread and
    restores the previous one when it is unloaded. If two are not unloaded in reverse order, the
    stack restored is freed memory, and the next signal crashes the process.
    """
    return import_openvino().Core()


# OpenVINO takes bfloat16 unasked on CPUs that have it, so the precision is always named.
# INT8 is in the graph (Q/DQ) and runs under either hint.
PRECISION_HINT: Dict[str, str] = {'auto': 'f32', 'fp32': 'f32', 'bf16': 'bf16', 'int8': 'f32'}

_PRECISIONS = {'f32': 'fp32', 'f16': 'fp16', 'bf16': 'bf16'}
"""OpenVINO's names of what it computes in, and those that are used here."""

_LEAST_VALUES = 1 << 26
"""That any tensor may have, however small the images: 256 MiB of float32."""

REVISION = 1
"""Raised whenever the same ONNX would become another network here; part of every cache key."""

_WORTH_KEEPING = 0.2  # seconds of compiling; a network that takes less is compiled every time

_SATURATION = (
    'this CPU has no VNNI, without which the greatest products of INT8 are clipped: masks are '
    'worse than the report of segformer quantize says; use fp32 here'
)

_log = logging.getLogger(__name__)


class OpenVinoEngine(CpuEngine):
    """Runs an ONNX on the CPU; conversion and normalisation are folded into its graph."""

    name = 'openvino'
    precisions = tuple(PRECISION_HINT)
    _compiled: Any = None
    _model: Optional[Path] = None
    _running: Mapping[str, str] = {}
    _requests: Sequence[Any] = ()
    _begun: List[float]

    def activate(self) -> None:
        """Read, adapt and compile the network; raises EngineError."""
        try:
            openvino = import_openvino()
        except ImportError as error:
            raise EngineError(
                f'the OpenVINO engine needs its library ({error}): pip install -U openvino'
            ) from error
        settings: Dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': PRECISION_HINT[self.options.precision],
            # Pinned, networks of several processes share one core while others are idle.
            'ENABLE_CPU_PINNING': False,
        }
        if self.options.threads:
            settings['INFERENCE_NUM_THREADS'] = self.options.threads
        if self.at_once > 1:
            settings['NUM_STREAMS'] = self.at_once
        path = self.spec.path
        if self.options.precision == 'int8':
            path = require_quantized(path)
        batch = self.spec.batch or 1
        try:
            quantized = self._compile(openvino, path, settings, 1)
        except EngineError:
            if batch == 1:
                raise
            quantized = self._compile(openvino, path, settings, batch)
            _log.warning(
                '%s takes no fewer than %d frames at once, so that each frame costs that many '
                'here; export it with a dynamic batch',
                path,
                batch,
            )
        self._model, self._running = path, self._read_facts(openvino, quantized)
        self._begun = [0.0] * SLOTS
        self._requests = [self._compiled.create_infer_request() for _ in self._inputs]
        for request, pixels in zip(self._requests, self._inputs):
            request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
        self.active = True

    def _compile(self, openvino: Any, path: Path, settings: Mapping[str, Any], batch: int) -> bool:
        """Load the network for a batch; whether it is quantised. Raises EngineError.

        From the cache, if it was compiled before.
        """
        core = openvino_core()
        try:
            cache = EngineCache(cache_folder(self.options.cache_dir))
            key = self._key(openvino, core, path, settings, batch)
            facts = self._load(core, cache, key, settings)
            if facts is None:
                began = perf_counter()
                model = core.read_model(_source(self.spec, path))
                quantized = any(node.get_type_name() == 'FakeQuantize' for node in model.get_ops())
                facts = {'quantized': 'yes' if quantized else 'no'}
                adapted = self._adapted(openvino, model, batch)
                self._compiled = core.compile_model(adapted, 'CPU', dict(settings))
                if perf_counter() - began > _WORTH_KEEPING:
                    cache.load_or_build(key, partial(self._built, facts))
        except RuntimeError as error:
            raise EngineError(f'OpenVINO cannot run {path}: {_cause(error)}') from error
        output = self._compiled.output(self.spec.output_name).partial_shape
        if output.is_static:
            count, *shape = output.to_shape()
            if count != batch:
                raise EngineError(
                    f'{path} gives {count} results for {batch} frames; export it with a dynamic '
                    'batch'
                )
            self._take_shape(tuple(shape))
        self._inputs = [np.zeros((batch, *self.spec.size, 3), np.uint8) for _ in self._inputs]
        return facts['quantized'] == 'yes'

    def _key(
        self, openvino: Any, core: Any, path: Path, settings: Mapping[str, Any], batch: int
    ) -> EngineKey:
        """What a compiled network must agree with; raises EngineError."""
        try:
            model = model_hash(path)
        except (ModelError, OSError) as error:
            raise EngineError(f'{path} cannot be read: {in_words(error)}') from error
        spec, flags = self.spec, sha256(' '.join(sorted(cpu_flags())).encode()).hexdigest()
        described = (
            *(spec.size, batch, spec.input_name, spec.input_layout, spec.input_dtype, spec.color),
            *(spec.mean, spec.std, spec.output_name, spec.heads, sorted(settings.items())),
        )
        return EngineKey(
            model=model,
            library=f'OpenVINO {openvino.__version__}',
            gpu=f'{core.get_property("CPU", "FULL_DEVICE_NAME")}, {flags[:16]}',
            sm=0,
            precision=self.options.precision,
            shapes=f'{described}, revision {REVISION}',
        )

    def _load(
        self, core: Any, cache: EngineCache, key: EngineKey, settings: Mapping[str, Any]
    ) -> Optional[Dict[str, str]]:
        """Load the network from the cache; returns its facts, None where it is not there."""
        entry = cache.load(key)
        if entry is None:
            return None
        try:
            self._compiled = core.import_model(entry.plan, 'CPU', dict(settings))
        except RuntimeError as error:
            _log.warning('%s; the network is compiled again', _cause(error))
            cache.discard(key)
            return None
        return entry.facts

    def _built(self, facts: Dict[str, str]) -> Built:
        # Into a stream: without one, it is bytes up to OpenVINO 2024 and a stream since.
        plan = BytesIO()
        self._compiled.export_model(plan)
        return plan.getvalue(), facts

    @property
    def at_once(self) -> int:
        """As many as were asked for, if there is a thread for each."""
        threads = self.options.threads or len(os.sched_getaffinity(0))
        return max(1, min(self.options.streams, SLOTS, threads))

    def deactivate(self) -> None:
        """Free the network."""
        super().deactivate()
        self._requests, self._compiled, self._running = [], None, {}

    def facts(self) -> Dict[str, str]:
        """Device, precision and version."""
        facts = {'engine': self.name, 'device': 'CPU', 'model': str(self._model or self.spec.path)}
        return {**facts, **self._running}

    def _read_facts(self, openvino: Any, quantized: bool) -> Dict[str, str]:
        """Facts of the compiled network, read before it runs."""
        hint = self._compiled.get_property('INFERENCE_PRECISION_HINT')
        facts = {
            'device': str(self._compiled.get_property('EXECUTION_DEVICES')[0]),
            'precision': 'int8' if quantized else _PRECISIONS[hint.get_type_name()],
        }
        if self.options.precision == 'bf16' != facts['precision']:
            facts['precision reason'] = 'bf16 was asked for, which this CPU does not have'
        if quantized and saturates_int8():
            facts['precision reason'] = _SATURATION
            _log.warning('%s', _SATURATION)
        facts['threads'] = str(self._compiled.get_property('INFERENCE_NUM_THREADS'))
        facts['openvino'] = str(openvino.__version__)
        return facts

    def _adapted(self, openvino: Any, model: Any, batch: int) -> Any:
        """The network with a static (batch, h, w, 3) uint8 BGR input."""
        layout = self.spec.input_layout
        sides = dict(zip('NCHW', (batch, 3, *self.spec.size)))
        model.reshape({self.spec.input_name: [sides[axis] for axis in layout]})
        self._check_tensors(model, batch)
        steps = openvino.preprocess.PrePostProcessor(model)
        node = steps.input(self.spec.input_name)
        node.model().set_layout(openvino.Layout(layout))
        node.tensor().set_element_type(openvino.Type.u8)
        node.tensor().set_layout(openvino.Layout('NHWC'))
        node.tensor().set_color_format(openvino.preprocess.ColorFormat.BGR)
        if self.spec.input_dtype != 'uint8':
            node.preprocess().convert_element_type(openvino.Type.f32)
        if self.spec.color == 'rgb':
            node.preprocess().convert_color(openvino.preprocess.ColorFormat.RGB)
        if any(self.spec.mean):
            node.preprocess().mean(list(self.spec.mean))
        if any(value != 1.0 for value in self.spec.std):
            node.preprocess().scale(list(self.spec.std))
        if self.spec.input_dtype == 'float16':
            node.preprocess().convert_element_type(openvino.Type.f16)
        return steps.build()

    def _check_tensors(self, model: Any, batch: int) -> None:
        """Raises EngineError for a tensor of a size that no segmenter of such images has.

        A few bytes of an ONNX ask for any (ConstantOfShape, Expand, Tile, Resize). Allowed are
        512 values a pixel, and the attention of SegFormer's first stage: 8 heads, 1/16 of the
        pixels against 1/1024 of them.
        """
        pixels = self.spec.size[0] * self.spec.size[1]
        most = _LEAST_VALUES + 512 * pixels + 8 * (pixels // 16) * (pixels // 1024)
        most *= batch
        for node in model.get_ops():
            for output in node.outputs():
                shape = output.partial_shape
                if shape.is_static and math.prod(shape.to_shape()) > most:
                    raise EngineError(
                        f'{self.spec.path}: its node {node.get_friendly_name()!r} gives '
                        f'{list(shape.to_shape())}, more than any segmenter does of '
                        f'{self.spec.size_in_words}; export it again'
                    )

    def _begin(self, slot: int) -> None:
        self._requests[slot].wait()
        self._begun[slot] = perf_counter()
        self._requests[slot].start_async()

    def _end(self, slot: int) -> Tuple[np.ndarray, float]:
        request = self._requests[slot]
        request.wait()
        output = request.get_tensor(self._compiled.output(self.spec.output_name)).data[0]
        return self._arranged(output), self._begun[slot] + request.latency * 1e-3


def _source(spec: ModelSpec, path: Path) -> Union[str, bytes]:
    """What OpenVINO reads of an ONNX: its path, or its bytes; raises EngineError.

    Bytes where two heads are to be joined, or where the weights are in another file: OpenVINO
    does not follow the symbolic links of Hugging Face's cache.
    """
    try:
        if weight_files(path) or spec.heads:
            return bytes(read_network(spec, path).SerializeToString())
        return str(path)
    except (ModelError, ValueError) as error:  # beyond protobuf's 2 GB
        raise EngineError(str(error)) from error


def _cause(error: RuntimeError) -> str:
    """The cause in OpenVINO's text, without the locations in its source that surround it."""
    detail, _, summary = str(error).partition('Summary:')
    unknown = re.search('No conversion rule found for operations: (.+)', summary)
    if unknown is not None:
        cause = f'it does not know {unknown.group(1).strip()}'
        return f'{cause}; export the model with operators of the ONNX standard'
    lines = detail.strip().splitlines() or [type(error).__name__]
    return f'{lines[-1].strip(" .")}; export the model again'
