# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""NVIDIA's cuda-bindings in the shape of PyCUDA's driver module, as far as `CudaDevice` uses it.

Their wheels need no compiler. Objects free their resource with the last reference, in any thread,
unless their context was destroyed before.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
from cuda.bindings import driver

from segformer_ros.errors import SegformerError

ctx_flags = SimpleNamespace(SCHED_AUTO=0, MAP_HOST=8)
event_flags = SimpleNamespace(BLOCKING_SYNC=1)
host_alloc_flags = SimpleNamespace(PORTABLE=1, DEVICEMAP=2, WRITECOMBINED=4)

_thread = threading.local()


class Error(SegformerError, RuntimeError):
    """A call that the driver refused, in the driver's words."""


def _call(function: Callable[..., Tuple[Any, ...]], *arguments: Any) -> Any:
    """The result of a call, several as a tuple; raises Error."""
    try:
        result, *values = function(*arguments)
    except RuntimeError as error:  # a function that this driver is without
        raise Error(f'{function.__name__} failed: {error}') from error
    if int(result):
        text = driver.cuGetErrorString(result)[1]
        words = text.decode() if isinstance(text, bytes) else f'error {int(result)}'
        raise Error(f'{function.__name__} failed: {words}')
    return values[0] if len(values) == 1 else tuple(values)


def init() -> None:
    """Start the driver; raises Error where it is older than these bindings."""
    _call(driver.cuInit, 0)
    here, wanted = int(_call(driver.cuDriverGetVersion)) // 1000, driver.CUDA_VERSION // 1000
    if here < wanted:
        raise Error(
            f'cuda-bindings are for CUDA {wanted}, and the driver is for CUDA {here}: pip install '
            f"'cuda-bindings<{here + 1}'"
        )


class Context:
    """A CUDA context. end: destroys it, or releases it where it is the primary one."""

    def __init__(self, handle: Any, end: Callable[[], Any]) -> None:
        self._handle, self._end = handle, end
        self.ended = False

    def push(self) -> None:
        """Make it current."""
        _call(driver.cuCtxPushCurrent, self._handle)
        _stack().append(self)

    @staticmethod
    def pop() -> None:
        """Make the one before it current."""
        _call(driver.cuCtxPopCurrent)
        _stack().pop()

    def detach(self) -> None:
        """Destroy it with all its resources, or release this reference to a shared one."""
        self.ended = True
        self._end()


def _stack() -> List[Context]:
    if not hasattr(_thread, 'stack'):
        _thread.stack = []
    stack: List[Context] = _thread.stack
    return stack


class Device:
    """A GPU by its number."""

    def __init__(self, number: int) -> None:
        self._device = _call(driver.cuDeviceGet, number)

    def make_context(self, flags: int) -> Context:
        """A new context, which is current."""
        # In CUDA 13 cuCtxCreate is its v4, which takes creation parameters first.
        parameters = [None] if driver.CUDA_VERSION >= 13000 else []
        handle = _call(driver.cuCtxCreate, *parameters, flags, self._device)
        context = Context(handle, partial(_call, driver.cuCtxDestroy, handle))
        _stack().append(context)
        return context

    def retain_primary_context(self) -> Context:
        """The context that CUDA's runtime uses, which is not made current."""
        handle = _call(driver.cuDevicePrimaryCtxRetain, self._device)
        return Context(handle, partial(_call, driver.cuDevicePrimaryCtxRelease, self._device))


class _Owned:
    """A resource of the current context, freed with its last reference."""

    def __init__(self, handle: Any, free: Callable[..., Tuple[Any, ...]]) -> None:
        self._handle = handle
        ending = weakref.finalize(self, _free, _stack()[-1], free, handle)
        ending.atexit = False  # the process takes everything with it

    def __int__(self) -> int:
        return int(self._handle)


def _free(context: Context, free: Callable[..., Tuple[Any, ...]], handle: Any) -> None:
    if context.ended:
        return
    with suppress(Error):  # of a lost context nothing can be given back
        context.push()
        try:
            _call(free, handle)
        finally:
            Context.pop()


class Stream(_Owned):
    """A CUDA stream."""

    def __init__(self) -> None:
        super().__init__(_call(driver.cuStreamCreate, 0), driver.cuStreamDestroy)

    @property
    def handle(self) -> int:
        """The driver's number of it."""
        return int(self._handle)

    def synchronize(self) -> None:
        """Wait for all its work."""
        _call(driver.cuStreamSynchronize, self._handle)

    def wait_for_event(self, event: Event) -> None:
        """Have what follows wait for an event."""
        _call(driver.cuStreamWaitEvent, self._handle, event._handle, 0)


class Event(_Owned):
    """A CUDA event."""

    def __init__(self, flags: int = 0) -> None:
        super().__init__(_call(driver.cuEventCreate, flags), driver.cuEventDestroy)

    def record(self, stream: Stream) -> None:
        """Record it after the work queued on the stream."""
        _call(driver.cuEventRecord, self._handle, stream._handle)

    def synchronize(self) -> None:
        """Wait until it has occurred."""
        _call(driver.cuEventSynchronize, self._handle)

    def time_till(self, later: Event) -> float:
        """Milliseconds from this event to a later one."""
        return float(_call(driver.cuEventElapsedTime, self._handle, later._handle))


class _HostMemory(_Owned):
    """Page-locked memory, which numpy views."""

    def __init__(self, size: int, flags: int) -> None:
        super().__init__(_call(driver.cuMemHostAlloc, size, flags), driver.cuMemFreeHost)
        self._size = size

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        place = (int(self._handle), False)
        return {'version': 3, 'typestr': '|u1', 'shape': (self._size,), 'data': place}

    def get_device_pointer(self) -> int:
        """Its address for kernels, where it was allocated as mapped."""
        return int(_call(driver.cuMemHostGetDevicePointer, self._handle, 0))


class _Function:
    """A kernel. module: must outlive it."""

    def __init__(self, module: Any, name: str) -> None:
        self._module = module
        self._handle = _call(driver.cuModuleGetFunction, module, name.encode())

    def __call__(
        self,
        argument: np.void,
        *,
        block: Tuple[int, int, int],
        grid: Tuple[int, int, int],
        stream: Stream,
    ) -> None:
        copy = np.array(argument)  # read by the driver before the call returns
        places = (ctypes.c_void_p * 1)(copy.ctypes.data)
        _call(
            driver.cuLaunchKernel, self._handle, *grid, *block, 0, stream._handle,
            ctypes.addressof(places), 0,
        )  # fmt: skip


class _Module:
    """A loaded module of kernels."""

    def __init__(self, image: bytes) -> None:
        data = np.frombuffer(image + b'\0', np.uint8)  # PTX is a string
        self._handle = _call(driver.cuModuleLoadData, data.ctypes.data)

    def get_function(self, name: str) -> _Function:
        """A kernel by its name."""
        return _Function(self._handle, name)


def module_from_buffer(image: bytes) -> _Module:
    """Load a cubin or PTX."""
    return _Module(image)


def mem_alloc(size: int) -> _Owned:
    """Device memory; `int()` of it is its address."""
    return _Owned(_call(driver.cuMemAlloc, size), driver.cuMemFree)


def to_device(array: np.ndarray) -> _Owned:
    """Device memory with the contents of an array."""
    memory = mem_alloc(array.nbytes)
    _call(driver.cuMemcpyHtoD, int(memory), array.ctypes.data, array.nbytes)
    return memory


def pagelocked_empty(size: int, dtype: Any, *, mem_flags: int) -> np.ndarray:
    """(size,) uint8 in page-locked memory."""
    return np.asarray(_HostMemory(size, mem_flags), dtype)  # its base is the memory


def memcpy_htod_async(address: int, data: np.ndarray, stream: Stream) -> None:
    """Start copying to the device."""
    _call(driver.cuMemcpyHtoDAsync, address, data.ctypes.data, data.nbytes, stream._handle)


def memcpy_dtoh_async(data: np.ndarray, address: int, stream: Stream) -> None:
    """Start copying from the device."""
    _call(driver.cuMemcpyDtoHAsync, data.ctypes.data, address, data.nbytes, stream._handle)


def memcpy_dtod_async(target: int, source: int, size: int, stream: Stream) -> None:
    """Start copying within the device."""
    _call(driver.cuMemcpyDtoDAsync, target, source, size, stream._handle)


def memset_d32_async(address: int, value: int, count: int, stream: Stream) -> None:
    """Start writing a 32 bit number many times."""
    _call(driver.cuMemsetD32Async, address, value, count, stream._handle)


def mem_get_info() -> Tuple[int, int]:
    """Free bytes of the device, and all."""
    free, total = _call(driver.cuMemGetInfo)
    return int(free), int(total)
