# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Runtime, engine and execution context: ONNX Runtime in the order of a CUDA stream."""

from __future__ import annotations

import ctypes
import json
import struct
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from fake_gpu.tensorrt.datatypes import NUMPY, DataType
from fake_gpu.tensorrt.networks import Tensor
from fake_gpu.tensorrt.plans import MAGIC
from fake_gpu.tensorrt.surfaces import restricted

if TYPE_CHECKING:
    from fake_gpu.tensorrt.library import FakeTensorRt


class Runtime:
    """IRuntime."""

    def __init__(self, fake: FakeTensorRt, kinds: dict[str, type], logger: Any) -> None:
        self._fake, self._kinds, self._logger = fake, kinds, fake.register(logger)
        fake.journal.append(('Runtime',))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'DLA_core':
            self._fake.journal.append(('runs on DLA', value))
        object.__setattr__(self, name, value)

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if not plan.startswith(MAGIC):
            self._logger.log('Severity.ERROR', 'Serialization assertion magicTagRead failed.')
            return None
        (length,) = struct.unpack_from('<I', plan, 4)
        header = json.loads(plan[8 : 8 + length])
        if header['version'] != self._fake.surface.version:
            self._logger.log('Severity.ERROR', 'Version tag does not match.')
            return None
        if len(plan) != 8 + length + header['size']:
            self._logger.log('Severity.ERROR', 'Serialization assertion stdSize failed.')
            return None
        return self._kinds['ICudaEngine'](header, plan[8 + length :])


class Engine:
    """ICudaEngine, all versions together. _format: of what goes in and out; 0 is LINEAR."""

    _fake: FakeTensorRt
    _format = 0

    def __init__(self, header: dict[str, Any], model: bytes) -> None:
        graph = onnx.load_from_string(model).graph
        types = self._fake.module.DataType
        self._fake.cuda.needs_context(self, 'ICudaEngine')
        self._header = header
        self._tensors = [Tensor(value, types) for value in (graph.input[0], *graph.output)]
        self._run = onnxruntime.InferenceSession(model)
        for tensor, name in zip(self._tensors, header['types'], strict=True):
            tensor.dtype = types[name]

    def _named(self, name: str) -> Tensor:
        return next(tensor for tensor in self._tensors if tensor.name == name)

    def create_execution_context(self) -> Any:
        kinds = self._fake.surface.members['IExecutionContext']
        return restricted(Context, kinds, self._fake)(self)

    def create_engine_inspector(self) -> Any:
        words = f'Row major linear {self._header["precision"]} format'
        layer = {
            'Name': 'conv',
            'LayerType': 'CaskConvolution',
            'Inputs': [{'Format/Datatype': words}],
            'Outputs': [],
        }
        text = json.dumps({'Layers': [layer], 'Bindings': []})
        return type('Inspector', (), {'get_engine_information': lambda self, form: text})()

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors[index].name)

    def get_tensor_mode(self, name: str) -> int:
        modes = self._fake.module.TensorIOMode
        return int(modes.INPUT if name == self._tensors[0].name else modes.OUTPUT)

    def get_tensor_dtype(self, name: str) -> Any:
        return self._named(name).dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._named(name).shape

    def get_tensor_format(self, name: str) -> int:
        return self._format

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        return self._header['profile']

    @property
    def num_bindings(self) -> int:
        return len(self._tensors)

    def get_binding_name(self, index: int) -> str:
        return str(self._tensors[index].name)

    def get_binding_index(self, name: str) -> int:
        return [tensor.name for tensor in self._tensors].index(name)

    def binding_is_input(self, index: int) -> bool:
        return index == 0

    def get_binding_dtype(self, index: int) -> Any:
        return self._tensors[index].dtype

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return self._tensors[index].shape

    def get_binding_format(self, index: int) -> int:
        return self._format

    def get_profile_shape(self, profile: int, name: str) -> Any:
        return self._header['profile']


class Context:
    """IExecutionContext, all versions together; the engine must outlive it."""

    _fake: FakeTensorRt

    def __init__(self, engine: Engine) -> None:
        self._fake.cuda.needs_context(self, 'IExecutionContext')
        self._engine = weakref.ref(engine)
        self._shape = engine._tensors[0].shape
        self._changes = 0
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._fake.journal.append(('set_input_shape', tuple(shape)))
        return self._change(shape)

    def set_binding_shape(self, index: int, shape: tuple[int, ...]) -> bool:
        self._fake.journal.append(('set_binding_shape', tuple(shape)))
        return self._change(shape)

    def _change(self, shape: tuple[int, ...]) -> bool:
        self._shape = tuple(shape)
        self._changes += 1
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shape_of(name)

    def _shape_of(self, name: str) -> tuple[int, ...]:
        engine = self._owner()
        if name == engine._tensors[0].name:
            return self._shape
        pixels = np.zeros(self._shape, NUMPY[_onnx_type(engine)])
        output: np.ndarray = engine._run.run(None, {engine._tensors[0].name: pixels})[0]
        return tuple(output.shape)

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return self._shape_of(self._owner()._tensors[index].name)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self._fake.journal.append(('execute_async_v3', self._shape))
        return self._execute(stream)

    def execute_async_v2(self, bindings: list[int], stream: int) -> bool:
        self._fake.journal.append(('execute_async_v2', self._shape))
        names = [tensor.name for tensor in self._owner()._tensors]
        self._addresses = dict(zip(names, bindings, strict=True))
        return self._execute(stream)

    def _owner(self) -> Engine:
        engine = self._engine()
        assert engine is not None, 'the engine is gone before its context'
        return engine

    def _execute(self, handle: int) -> bool:
        engine, shape, addresses = self._owner(), self._shape, dict(self._addresses)
        source, target = engine._tensors
        changes = self._changes

        def work() -> None:
            pixels = _at(addresses[source.name], shape, NUMPY[DataType[source.dtype.name]])
            feed = np.asarray(pixels, NUMPY[_onnx_type(engine)])
            output: np.ndarray = engine._run.run(None, {source.name: feed})[0]
            kind = NUMPY[DataType[target.dtype.name]]
            _at(addresses[target.name], output.shape, kind)[...] = output

        # NVIDIA: what changes a context makes the graphs undefined that were captured from it.
        work.__dict__['valid'] = lambda: self._changes == changes
        self._fake.cuda.stream(handle).put(work)
        return True


def _onnx_type(engine: Engine) -> DataType:
    """What ONNX Runtime takes, whatever type the engine's input was given."""
    kind = engine._run.get_inputs()[0].type
    return DataType.HALF if kind == 'tensor(float16)' else DataType.FLOAT


def _at(address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = memoryview((ctypes.c_uint8 * size).from_address(address))
    return np.ndarray(shape, dtype, buffer)
