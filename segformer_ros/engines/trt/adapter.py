# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""TensorRT's API from 8.2 to 11 and of TensorRT-RTX, chosen by what the module has.

Never by the version string: JetPack, the desktop and RTX number differently.
"""

from __future__ import annotations

import importlib
import logging
from collections import deque
from typing import Any, Collection, Deque, Dict, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines.engine import EngineError, Progress
from segformer_ros.interrupts import Interrupts

MODULES = ('tensorrt', 'tensorrt_rtx')

_log = logging.getLogger(__name__)

# By name, since each version has some of them only.
_TYPES: Dict[str, str] = {
    'FLOAT': 'float32',
    'HALF': 'float16',
    'INT8': 'int8',
    'INT32': 'int32',
    'INT64': 'int64',
    'UINT8': 'uint8',
    'BOOL': 'bool',
}


class TensorRt:
    """One TensorRT library.

    module: `tensorrt` or `tensorrt_rtx`. errors: the errors that the library logged, newest last:
    its calls return None instead of raising, so the reason is only here. layers: the layers of the
    engine built last, as TensorRT-RTX logs them (it cannot be asked for them without a GPU).
    interrupts: Ctrl-C that came while the library worked.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.errors: Deque[str] = deque(maxlen=20)
        self.layers = ''
        self.interrupts = Interrupts()
        self.logger = _make_logger(self)

    @property
    def version(self) -> str:
        """Library and version, as it stands in cache keys."""
        return f'{self.module.__name__} {self.module.__version__}'

    @property
    def monitored(self) -> bool:
        """Whether a build reports its progress and can be cancelled between steps (since 10)."""
        return hasattr(self.module, 'IProgressMonitor')

    @property
    def strongly_typed(self) -> bool:
        """Whether the precision is that of the graph alone (since TensorRT 11, and RTX)."""
        return not hasattr(self.module.BuilderFlag, 'FP16')

    def last_error(self, default: str) -> str:
        """The last error that was logged, in one line."""
        return self.errors[-1].strip().splitlines()[0] if self.errors else default

    def note(self, severity: Any, message: str) -> None:
        """Handle a line of the library's log."""
        if str(severity).endswith('ERROR'):  # or INTERNAL_ERROR
            self.errors.append(message)
        elif message.startswith('Layers:'):
            self.layers = message
        # What matters of it is said by the exception that follows.
        _log.debug('TensorRT: %s', message)

    # --- building ---

    def create_builder(self) -> Any:
        """A Builder; the driver must have been asked before. Raises EngineError."""
        return self._made('Builder')

    def _made(self, kind: str) -> Any:
        """A Builder or Runtime; where there can be none the bindings raise TypeError."""
        try:
            return getattr(self.module, kind)(self.logger)
        except TypeError as error:
            raise EngineError(
                f'{self.version} made no {kind} ({self.last_error(str(error))}); check that the '
                'driver is new enough for it and that memory is left on the GPU'
            ) from error

    def create_network(self, builder: Any) -> Any:
        """An empty network of explicit batch, strongly typed where there is nothing else."""
        flags = self.module.NetworkDefinitionCreationFlag
        names = ['EXPLICIT_BATCH'] + (['STRONGLY_TYPED'] if self.strongly_typed else [])
        bits = [1 << int(getattr(flags, name)) for name in names if hasattr(flags, name)]
        return builder.create_network(sum(bits))

    def parse(self, network: Any, model: bytes) -> Any:
        """Read an ONNX into the network; raises EngineError naming node and reason.

        The parser is returned and must be kept until the build is over: it owns the weights.
        """
        parser = self.module.OnnxParser(network, self.logger)
        if parser.parse(model):
            return parser
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reason = '; '.join(map(_in_words, errors)) or self.last_error('unknown')
        raise EngineError(
            f'{self.version} cannot read the ONNX: {reason}; export it with operators that this '
            'version knows (those of a lower opset, say), or run it on the CPU (engine openvino)'
        )

    def normalizes(self, network: Any) -> bool:
        """Whether there is a layer for LayerNormalization, which the parser then adds."""
        return hasattr(network, 'add_normalization')

    @property
    def reads_axes(self) -> bool:
        """Whether the parser reads the axes of reductions from an input (10 and later)."""
        return hasattr(self.module, 'IProgressMonitor')

    def set_workspace(self, config: Any, size: int) -> None:
        """Limit the builder's scratch memory to `size` bytes."""
        if hasattr(config, 'set_memory_pool_limit'):
            config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, size)
        else:
            config.max_workspace_size = size

    def set_precision(self, config: Any, precision: str, half: bool = True) -> None:
        """Allow a precision; FP32 means FP32, so TF32 is never taken silently.

        half: whether FP16 may be beside INT8.
        """
        flags = self.module.BuilderFlag
        if hasattr(flags, 'TF32'):
            config.clear_flag(flags.TF32)
        if self.strongly_typed:
            return
        if precision == 'fp16' or (precision == 'int8' and half):
            config.set_flag(flags.FP16)
        if precision == 'int8':
            config.set_flag(flags.INT8)

    def keep_single(
        self, network: Any, config: Any, outputs: Collection[str], rounded: Collection[str] = ()
    ) -> None:
        """Have the layers with these outputs compute in FP32; not for strongly typed ones.

        rounded: outputs of layers that multiply in INT8 in any case; they are FP32 all the same.
        """
        if not outputs:
            return
        single = self.module.DataType.FLOAT
        results = {network.get_output(index).name for index in range(network.num_outputs)}
        for number in range(network.num_layers):
            layer = network.get_layer(number)
            for place in range(layer.num_outputs):
                name = layer.get_output(place).name
                if name in outputs:
                    if name not in rounded:
                        layer.precision = single
                    if name not in results:  # whose type is the engine's
                        layer.set_output_type(place, single)
        config.set_flag(self.module.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)

    def set_io_type(self, network: Any, precision: str) -> None:
        """Let input and output be FP16 where the inside is; a strongly typed graph says it.

        Not of INT8: the input of such a graph is quantised, and TensorRT 8.2 quantises no FP16.
        """
        if self.strongly_typed or precision != 'fp16':
            return
        half = self.module.DataType.HALF
        tensors = [network.get_input(index) for index in range(network.num_inputs)]
        tensors += [network.get_output(index) for index in range(network.num_outputs)]
        for tensor in tensors:
            if tensor.dtype == self.module.DataType.FLOAT:
                tensor.dtype = half

    def set_details(self, config: Any) -> None:
        """Have the engine keep what its layers are, to be read back (8.2 and later)."""
        if hasattr(self.module, 'ProfilingVerbosity'):
            config.profiling_verbosity = self.module.ProfilingVerbosity.DETAILED

    def set_target(self, config: Any, sm: int) -> None:
        """Build for a GPU that is not here; TensorRT-RTX alone can. Raises EngineError."""
        if not hasattr(config, 'set_compute_capability'):
            raise EngineError(
                f'{self.version} builds for the GPU it runs on only; install TensorRT-RTX '
                '(tensorrt_rtx) to build for another, or build on the robot itself'
            )
        capabilities = self.module.ComputeCapability
        target = getattr(capabilities, f'SM{sm}', None)
        if target is None:
            known = [name for name in dir(capabilities) if name.startswith('SM')]
            raise EngineError(
                f'{self.version} does not build for sm_{sm}; it can for {", ".join(known)}'
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)

    def set_dla(
        self, builder: Any, network: Any, config: Any, core: int, precision: str
    ) -> Tuple[Tuple[str, str], ...]:
        """Give a DLA the layers that it can take; name and kind of the others, the GPU's.

        Raises EngineError where there is no such DLA, or it can take none of the network.
        """
        found = builder.num_DLA_cores
        if not found:
            raise EngineError(
                f'{self.version} finds no DLA on this machine (Jetson Orin and Xavier have them, '
                'but for Orin Nano; TensorRT-RTX uses none); leave dla_core at -1'
            )
        if core >= found:
            raise EngineError(f'no DLA core {core}; this machine has {found}, from 0')
        if precision == 'fp32':
            raise EngineError('a DLA computes in FP16 and INT8 alone; use precision fp16 with it')
        config.default_device_type = self.module.DeviceType.DLA
        config.DLA_core = core
        config.set_flag(self.module.BuilderFlag.GPU_FALLBACK)
        layers = [network.get_layer(number) for number in range(network.num_layers)]
        others = [layer for layer in layers if not config.can_run_on_DLA(layer)]
        if len(others) == len(layers):
            raise EngineError(
                f'DLA core {core} takes no layer of this network; leave dla_core at -1'
            )
        return tuple((layer.name, str(layer.type).split('.')[-1]) for layer in others)

    def set_timing_cache(self, config: Any, data: bytes) -> None:
        """Start from the timings of earlier builds; those of another GPU are ignored."""
        if hasattr(config, 'create_timing_cache'):
            cache = config.create_timing_cache(data)
            if cache is None or not config.set_timing_cache(cache, False):
                config.set_timing_cache(config.create_timing_cache(b''), False)

    def timing_cache(self, config: Any) -> bytes:
        """The timings after a build; empty where the version keeps none."""
        cache = config.get_timing_cache() if hasattr(config, 'get_timing_cache') else None
        return bytes(cache.serialize()) if cache is not None else b''

    def set_progress(self, config: Any, progress: Optional[Progress]) -> Any:
        """Report a build's progress, if `monitored`; keep the returned monitor until it ends.

        Even without `progress` it is needed: it lets Ctrl-C end the build.
        """
        if not self.monitored:
            return None
        monitor = _make_monitor(self, progress)
        config.progress_monitor = monitor
        return monitor

    def set_batches(
        self, builder: Any, network: Any, config: Any, batches: Tuple[int, int, int]
    ) -> None:
        """Add an optimization profile (min, opt, max batch) to a network of dynamic batch."""
        profile = builder.create_optimization_profile()
        dynamic = False
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            shape = tuple(tensor.shape)
            if -1 in shape[1:]:
                raise EngineError(f'input {tensor.name!r} has free sides {shape}; fix its size')
            if shape[0] == -1:
                dynamic = True
                profile.set_shape(tensor.name, *[(batch, *shape[1:]) for batch in batches])
        if dynamic:
            config.add_optimization_profile(profile)

    def build(self, builder: Any, network: Any, config: Any) -> Optional[bytes]:
        """The serialised engine, None where the build failed or was interrupted."""
        result = builder.build_serialized_network(network, config)
        return None if result is None else bytes(result)

    # --- running ---

    def load(self, plan: bytes, dla_core: int = -1) -> Any:
        """Deserialise an engine; raises EngineError."""
        self.errors.clear()
        runtime = self._made('Runtime')
        if dla_core >= 0:
            runtime.DLA_core = dla_core
        self._check_validity(runtime, plan)
        with self.interrupts.held():
            engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reason = self.last_error('damaged, or of another version or GPU')
            raise EngineError(f'{self.version} cannot load the engine: {reason}')
        return engine

    def _check_validity(self, runtime: Any, plan: bytes) -> None:
        """Ask TensorRT-RTX beforehand, which tells more than a failed attempt."""
        if not hasattr(runtime, 'get_engine_validity'):
            return
        validity, bits = runtime.get_engine_validity(plan)
        if validity == self.module.EngineValidity.INVALID:
            known = self.module.EngineInvalidityDiagnostics.__members__
            reasons = [name for name, bit in known.items() if int(bit) & int(bits)]
            reason = ', '.join(reasons) or self.last_error('not valid on this GPU')
            raise EngineError(f'{self.version} cannot load the engine: {reason}')

    def tensor_type(self, dtype: Any) -> np.dtype:
        """numpy's type of a DataType; raises EngineError for one that has none."""
        for name, plain in _TYPES.items():
            if getattr(self.module.DataType, name, None) == dtype:
                return np.dtype(plain)
        raise EngineError(f'the engine has a tensor of type {dtype}, which is not supported')

    def describe(self, engine: Any) -> Optional[str]:
        """The engine inspector's JSON; None where the version has no inspector (before 8.2)."""
        if not hasattr(engine, 'create_engine_inspector'):
            return None
        information = self.module.LayerInformationFormat.JSON
        return str(engine.create_engine_inspector().get_engine_information(information))


_loaded: Dict[str, TensorRt] = {}


def load_tensorrt(names: Sequence[str] = ()) -> TensorRt:
    """The first of these modules that loads, MODULES by default; raises EngineError without one.

    Each is made once: up to 8.4 TensorRT logs to the first logger that it was ever given.
    """
    reasons = []
    for name in names or MODULES:
        try:
            module = importlib.import_module(name)
            if name not in _loaded or _loaded[name].module is not module:
                _loaded[name] = TensorRt(module)
            return _loaded[name]
        except ImportError as error:
            reasons.append(_missing(name, error))
    raise EngineError(f'no TensorRT on this machine: {"; ".join(reasons)}; see doc/tensorrt.md')


def _in_words(error: Any) -> str:
    """A parser's error, with the operator that it is about where the version tells (10 on)."""
    operator = error.node_operator() if hasattr(error, 'node_operator') else ''
    reason = error.desc().strip()
    return f'operator {operator} ({error.node_name()}): {reason}' if operator else reason


def _missing(name: str, error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return f'no Python module {name!r}'
    return f'module {name!r} is there but does not load ({error})'


def _make_logger(library: TensorRt) -> Any:
    class Log(library.module.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            library.module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            library.note(severity, message)

    return Log()


def _make_monitor(library: TensorRt, progress: Optional[Progress]) -> Any:
    class Monitor(library.module.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            library.module.IProgressMonitor.__init__(self)
            self._steps: Dict[str, int] = {}

        def phase_start(self, name: str, parent: Optional[str], steps: int) -> None:
            self._steps[name] = steps
            self._tell(name, 0)

        def step_complete(self, name: str, step: int) -> bool:
            self._tell(name, step + 1)
            return not library.interrupts.noted  # False ends the build, which then gives None

        def phase_finish(self, name: str) -> None:
            self._tell(name, self._steps[name])

        def _tell(self, name: str, step: int) -> None:
            if progress:
                progress(name, step, self._steps[name])

    return Monitor()
