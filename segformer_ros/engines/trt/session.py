# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Sessions: engines run by the calls that their TensorRT version has."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines.cache import read_if_own, write_atomically
from segformer_ros.engines.engine import EngineError
from segformer_ros.engines.trt.adapter import TensorRt

_log = logging.getLogger(__name__)


class RuntimeCache:
    """File of the kernels that an engine compiles at run time; nothing where it compiles none.

    A file that another user could have written is not read, and one of another driver, GPU or
    version is refused by the library itself; both are overwritten.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._cache: Any = None
        self._kept = b''

    def attach(self, config: Any) -> None:
        """Have contexts of a runtime configuration start from the file."""
        if self._path is None or not hasattr(config, 'create_runtime_cache'):
            return
        cache = config.create_runtime_cache()
        if cache is None:
            return
        data = read_if_own(self._path) or b''
        if data and cache.deserialize(data):
            self._kept = data
        if config.set_runtime_cache(cache):
            self._cache = cache

    def save(self) -> None:
        """Write the file if its contents have changed since it was read."""
        cache, self._cache = self._cache, None
        if cache is None or self._path is None:
            return
        try:
            data = bytes(cache.serialize())
            if data and data != self._kept:
                write_atomically(self._path, data)
        except Exception as error:  # harmless: the next start is slower
            _log.warning('the kernels of this run are not kept in %s: %s', self._path, error)


class TensorInfo(NamedTuple):
    """An engine's input or output; a side of -1 is dynamic."""

    name: str
    is_input: bool
    dtype: np.dtype
    shape: Tuple[int, ...]


class Session(ABC):
    """One execution context: shapes and addresses in, work on a stream out.

    kernels: file of the kernels that TensorRT-RTX compiles at run time; None to keep none.
    """

    def __init__(self, library: TensorRt, engine: Any, kernels: Optional[Path] = None) -> None:
        self._engine = engine  # must outlive its context
        self._library = library
        self._kernels = RuntimeCache(kernels)
        self._context = self._create_context()
        if self._context is None:
            raise EngineError(f'no execution context: {library.last_error("out of GPU memory")}')
        self.tensors = tuple(self._describe())
        for tensor in self.tensors:
            self._check_format(tensor.name)

    def close(self) -> None:
        """Release context and engine, which must end while their CUDA context is current."""
        self._kernels.save()
        self._context = self._engine = None

    @property
    def max_batch(self) -> int:
        """Most frames of one inference."""
        batch = self.input.shape[0]
        return batch if batch != -1 else int(self._profile(self.input.name)[2][0])

    @property
    def fixed_batch(self) -> bool:
        """Whether every inference has exactly `max_batch` frames."""
        return self.input.shape[0] != -1

    @property
    def input(self) -> TensorInfo:
        """The one input; raises EngineError where there are others."""
        inputs = [tensor for tensor in self.tensors if tensor.is_input]
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            found = ', '.join(f'{tensor.name} {tensor.shape}' for tensor in inputs)
            raise EngineError(f'the engine needs one image input of 4 axes, but has {found}')
        return inputs[0]

    def output(self, name: str) -> TensorInfo:
        """An output by its name, or the only one whatever its name; raises EngineError."""
        outputs = {tensor.name: tensor for tensor in self.tensors if not tensor.is_input}
        if name in outputs:
            return outputs[name]
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        raise EngineError(f'the engine has no output {name!r}; it has {", ".join(outputs)}')

    def set_batch(self, batch: int) -> None:
        """Choose the number of frames of the next inferences; raises EngineError."""
        if batch > self.max_batch or (self.fixed_batch and batch != self.max_batch):
            raise EngineError(
                f'batch {batch} does not fit the engine, which takes '
                f'{"exactly" if self.fixed_batch else "up to"} {self.max_batch}; build it with a '
                'larger max_batch'
            )
        if not self.fixed_batch and not self._set_shape((batch, *self.input.shape[1:])):
            raise EngineError(f'the engine refused batch {batch}: {self._library.last_error("")}')

    @property
    def may_be_captured(self) -> bool:
        """Whether a CUDA graph may be made of an inference.

        Not of TensorRT-RTX: it runs general kernels for a shape while it compiles better ones,
        and a graph would keep the general ones. It makes graphs itself, see `_create_context`.
        """
        return not hasattr(self._library.module, 'DynamicShapesKernelSpecializationStrategy')

    @abstractmethod
    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        """Device address of each tensor by its name."""

    @abstractmethod
    def shape(self, name: str) -> Tuple[int, ...]:
        """Shape of a tensor at the batch that was set."""

    @abstractmethod
    def enqueue(self, stream: int) -> None:
        """Start an inference on a CUDA stream, by its handle; raises EngineError."""

    @abstractmethod
    def _describe(self) -> List[TensorInfo]: ...

    @abstractmethod
    def _format(self, name: str) -> Any: ...

    @abstractmethod
    def _profile(self, name: str) -> Sequence[Sequence[int]]: ...

    @abstractmethod
    def _set_shape(self, shape: Tuple[int, ...]) -> bool: ...

    def _create_context(self) -> Any:
        """An execution context; TensorRT-RTX's makes its CUDA graphs itself, since 1.2."""
        strategies = getattr(self._library.module, 'CudaGraphStrategy', None)
        if strategies is None:
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE
        self._kernels.attach(config)
        return self._engine.create_execution_context(config)

    def _check_format(self, name: str) -> None:
        """The kernels read and write plain arrays; engines from elsewhere may want others."""
        found = self._format(name)
        if found != self._library.module.TensorFormat.LINEAR:
            raise EngineError(
                f'the engine takes or gives {name!r} in format {found}; build it with linear '
                '(plain) inputs and outputs'
            )

    def _check(self, done: bool) -> None:
        if not done:
            raise EngineError(f'inference was not started: {self._library.last_error("")}')


class _NamedSession(Session):
    """Named tensors and execute_async_v3: TensorRT 8.5 and later."""

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                reason = self._library.last_error('no reason given')
                raise EngineError(f'the engine refused the memory of {name!r}: {reason}')

    def shape(self, name: str) -> Tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    def enqueue(self, stream: int) -> None:
        self._check(self._context.execute_async_v3(stream))

    def _describe(self) -> List[TensorInfo]:
        engine, modes = self._engine, self._library.module.TensorIOMode
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return [
            TensorInfo(
                name,
                engine.get_tensor_mode(name) == modes.INPUT,
                self._library.tensor_type(engine.get_tensor_dtype(name)),
                tuple(engine.get_tensor_shape(name)),
            )
            for name in names
        ]

    def _format(self, name: str) -> Any:
        return self._engine.get_tensor_format(name)

    def _profile(self, name: str) -> Sequence[Sequence[int]]:
        shapes: Sequence[Sequence[int]] = self._engine.get_tensor_profile_shape(name, 0)
        return shapes

    def _set_shape(self, shape: Tuple[int, ...]) -> bool:
        return bool(self._context.set_input_shape(self.input.name, shape))


class _BindingSession(Session):
    """Numbered bindings and execute_async_v2: before TensorRT 8.5."""

    def __init__(self, library: TensorRt, engine: Any, kernels: Optional[Path] = None) -> None:
        super().__init__(library, engine, kernels)
        self._bindings = [0] * engine.num_bindings

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            self._bindings[self._number(name)] = address

    def shape(self, name: str) -> Tuple[int, ...]:
        return tuple(self._context.get_binding_shape(self._number(name)))

    def enqueue(self, stream: int) -> None:
        self._check(self._context.execute_async_v2(self._bindings, stream))

    def _describe(self) -> List[TensorInfo]:
        engine = self._engine
        return [
            TensorInfo(
                engine.get_binding_name(number),
                bool(engine.binding_is_input(number)),
                self._library.tensor_type(engine.get_binding_dtype(number)),
                tuple(engine.get_binding_shape(number)),
            )
            for number in range(engine.num_bindings)
        ]

    def _format(self, name: str) -> Any:
        return self._engine.get_binding_format(self._number(name))

    def _profile(self, name: str) -> Sequence[Sequence[int]]:
        shapes: Sequence[Sequence[int]] = self._engine.get_profile_shape(0, name)
        return shapes

    def _set_shape(self, shape: Tuple[int, ...]) -> bool:
        return bool(self._context.set_binding_shape(self._number(self.input.name), shape))

    def _number(self, name: str) -> int:
        return int(self._engine.get_binding_index(name))


def open_session(library: TensorRt, engine: Any, kernels: Optional[Path] = None) -> Session:
    """An execution context of an engine, `kernels` as in Session; raises EngineError."""
    named = hasattr(engine, 'num_io_tensors')
    return (_NamedSession if named else _BindingSession)(library, engine, kernels)
