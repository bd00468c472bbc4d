# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""One GPU through PyCUDA, or NVIDIA's cuda-bindings: context, streams, memory and kernels.

Memory that frames and results pass through is page-locked, reused, and copied once each way.
"""

from __future__ import annotations

import ctypes
import weakref
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Dict, Iterator, List, NamedTuple, Set, Tuple, Union

import numpy as np

from segformer_ros.engines.cuda.device_frame import DeviceArray
from segformer_ros.engines.cuda.driver import (
    Gpu,
    has_primary_context,
    order_streams,
    pip_command,
    synchronize,
)
from segformer_ros.engines.cuda.launches import BLOCK, KERNEL_NAMES, Launch
from segformer_ros.engines.engine import EngineError

# After one of these every call in the context fails: a new context is needed.
_LOST = (
    'illegal memory access',
    'illegal address',
    'illegal instruction',
    'misaligned address',
    'launch failed',
    'launch failure',
    'launch timed out',
    'hardware stack',
    'invalid program counter',
    'global/shared address space',
    'uncorrectable',
    'context is destroyed',
    'device unavailable',
    'unknown error',
    'assert',
)


def _is_lost(error: Exception) -> bool:
    return any(words in str(error).lower() for words in _LOST)


BINDINGS = ('pycuda.driver', 'segformer_ros.engines.cuda.nvidia_bindings')
"""Bindings of the driver API; the first one installed is used (JetPack's users have PyCUDA)."""


def load_binding() -> Any:
    """PyCUDA's driver module, or one in its shape; raises EngineError where there is none."""
    reasons = []
    for name in BINDINGS:
        try:
            return import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise EngineError(
        f"the TensorRT engine needs NVIDIA's cuda-bindings or PyCUDA ({'; '.join(reasons)}): "
        f'{pip_command()}; on Python 3.8 and 3.9 this compiles PyCUDA, which needs the CUDA '
        "toolkit's bin folder in PATH"
    )


class GpuFault(EngineError):
    """A GPU error while frames were processed. lost: whether a new context is needed."""

    def __init__(self, error: Exception) -> None:
        self.lost = _is_lost(error)
        super().__init__(f'GPU error: {error}')


class HostBlock(NamedTuple):
    """Page-locked memory. host: (size,) uint8. address: for kernels; 0 where not mapped."""

    host: np.ndarray
    address: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.host)


class DeviceBlock(NamedTuple):
    """Memory of the device, freed with its last reference. size: in bytes."""

    memory: Any
    size: int

    @property
    def address(self) -> int:
        """For kernels."""
        return int(self.memory)


_PRIMARY: Dict[int, Any] = {}
"""Primary contexts in use, by the GPU's number; retained for the life of the process, as by torch.

PyCUDA would destroy one for everybody who shares it, instead of releasing its own reference.
"""


class CudaDevice:
    """A context on one GPU; `current()` around every use, from any one thread.

    The context is its own, unless `share` asks for the GPU's primary context, or something in this
    process uses that: it is shared then, since frames cannot pass between contexts. A shared one
    that is lost does not come back in this process.

    An integrated GPU (Jetson) shares its memory with the CPU: there kernels use page-locked
    memory in place (`mapped`), and nothing is copied.
    """

    def __init__(self, gpu: Gpu, share: bool = False) -> None:
        cuda = load_binding()
        self.gpu = gpu
        self.mapped = gpu.integrated
        self._cuda = cuda
        self._functions: Dict[str, Any] = {}
        try:
            cuda.init()
            device = cuda.Device(gpu.number)
            self._shared = share or gpu.number in _PRIMARY or has_primary_context(gpu)
            if self._shared and gpu.number not in _PRIMARY:
                _PRIMARY[gpu.number] = device.retain_primary_context()
            self._context = (
                _PRIMARY[gpu.number]
                if self._shared
                else device.make_context(cuda.ctx_flags.SCHED_AUTO | cuda.ctx_flags.MAP_HOST)
            )
        except cuda.Error as error:
            # After such an error CUDA may be unusable in this process (CUresult in its manual).
            cure = '; restart this process' if _is_lost(error) else ''
            raise EngineError(f'no CUDA context on {gpu.label}: {error}{cure}') from error
        if not self._shared:
            cuda.Context.pop()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this thread's CUDA calls go to the context; its errors become GpuFault."""
        try:
            self._context.push()
            try:
                yield
            finally:
                self._cuda.Context.pop()
        except self._cuda.Error as error:
            raise GpuFault(error) from error

    def close(self) -> None:
        """Destroy the context, if it is its own, with all its memory, which nobody may use then.

        To be called in the thread that made it: in any other, PyCUDA does not destroy it.
        """
        self._functions.clear()
        if not self._shared:
            with suppress(self._cuda.Error):  # a lost context cannot be left in order
                self._context.detach()
        self._context = None

    def load_kernels(self, image: bytes) -> None:
        """Load the compiled kernels (cubin or PTX); raises EngineError for what is refused."""
        try:
            module = self._cuda.module_from_buffer(image)
        except self._cuda.Error as error:
            raise EngineError(
                f'the driver ({self.gpu.driver}) refuses the kernels: {error}'
            ) from error
        for name in KERNEL_NAMES:
            self._functions[name] = module.get_function(name)

    def launch(self, job: Launch, stream: Any) -> None:
        """Start a kernel on a stream."""
        self._functions[job.kernel](
            job.argument, block=(BLOCK, 1, 1), grid=job.grid, stream=stream
        )

    def create_stream(self) -> Any:
        """A new stream."""
        return self._cuda.Stream()

    def drain(self, stream: Any) -> None:
        """Wait until a stream is idle, whatever errors its work had."""
        with suppress(self._cuda.Error):
            stream.synchronize()

    def create_event(self) -> Any:
        """A new event; waiting for it blocks instead of spinning, which leaves the CPU free."""
        return self._cuda.Event(self._cuda.event_flags.BLOCKING_SYNC)

    def allocate(self, size: int) -> Any:
        """Device memory; `int()` of it is its address, and it is freed with its last reference."""
        return self._cuda.mem_alloc(size)

    def store(self, array: np.ndarray) -> Any:
        """Device memory with the contents of an array, as `allocate` gives it."""
        return self._cuda.to_device(np.ascontiguousarray(array))

    def allocate_host(self, size: int, write_only: bool = False) -> HostBlock:
        """Page-locked memory, mapped for kernels where the GPU is integrated.

        write_only: never read by the CPU, which lets writes go past its caches.
        """
        flags = self._cuda.host_alloc_flags
        wanted = flags.PORTABLE
        if self.mapped:
            wanted |= flags.DEVICEMAP
        if write_only:
            wanted |= flags.WRITECOMBINED
        array = self._cuda.pagelocked_empty(size, np.uint8, mem_flags=wanted)
        return HostBlock(array, int(array.base.get_device_pointer()) if self.mapped else 0)

    def upload(self, address: int, data: np.ndarray, stream: Any) -> None:
        """Start copying page-locked bytes to the device."""
        self._cuda.memcpy_htod_async(address, data, stream)

    def fill(self, address: int, value: int, count: int, stream: Any) -> None:
        """Start filling device memory with `count` copies of a 32-bit number."""
        self._cuda.memset_d32_async(address, value & 0xFFFFFFFF, count, stream)

    def download(self, data: np.ndarray, address: int, stream: Any) -> None:
        """Start copying from the device into page-locked bytes."""
        self._cuda.memcpy_dtoh_async(data, address, stream)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Start copying within the device."""
        self._cuda.memcpy_dtod_async(target, source, size, stream)

    def memory(self) -> int:
        """Bytes of device memory in use, by all programs."""
        free, total = self._cuda.mem_get_info()
        return int(total - free)


class CapturedWork:
    """Work of a stream, captured once as a CUDA graph and started again with a single call.

    PyCUDA has no calls for it, so the driver's own are used (cuGraphInstantiateWithFlags: CUDA
    11.4 and later).
    """

    _THREAD_LOCAL = 1  # CUstreamCaptureMode: other threads may go on using CUDA

    def __init__(self, driver: Any, stream: int, graph: ctypes.c_void_p) -> None:
        self._driver = driver
        self._stream = ctypes.c_void_p(stream)
        self._graph = graph

    @classmethod
    def capture(cls, driver: Any, stream: int, start: Any) -> CapturedWork:
        """Capture what `start()` puts on the stream; raises EngineError where that cannot be."""
        if not hasattr(driver, 'cuGraphInstantiateWithFlags'):
            raise EngineError('this driver is too old for CUDA graphs')
        handle = ctypes.c_void_p(stream)
        _check(driver.cuStreamBeginCapture_v2(handle, cls._THREAD_LOCAL), 'begin')
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        try:
            start()
        finally:
            ended = driver.cuStreamEndCapture(handle, ctypes.byref(graph))
        _check(ended, 'end')
        made = driver.cuGraphInstantiateWithFlags(
            ctypes.byref(executable), graph, ctypes.c_uint64(0)
        )
        driver.cuGraphDestroy(graph)
        _check(made, 'instantiate')
        return cls(driver, stream, executable)

    def launch(self) -> None:
        """Start the work again; raises EngineError."""
        _check(self._driver.cuGraphLaunch(self._graph, self._stream), 'launch')

    def close(self) -> None:
        """Free the graph."""
        self._driver.cuGraphExecDestroy(self._graph)


def _check(result: int, step: str) -> None:
    if result:
        raise EngineError(f'CUDA graph: {step} failed with error {result}')


ALIGNMENT = 256
"""Bytes on which parts of a buffer start, as CUDA's own allocations do."""

_GRAIN = 1 << 20


def aligned(size: int) -> int:
    """A size rounded up so that what follows it is aligned."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _rounded(size: int) -> int:
    return -(-max(size, 1) // _GRAIN) * _GRAIN


class DeviceBuffer:
    """Device memory that grows when more is needed and never shrinks."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._memory: Any = None
        self.size = 0

    def reserve(self, size: int) -> int:
        """Address of at least `size` bytes; what was in them may be lost."""
        if size > self.size:
            self._memory, self.size = None, 0  # freed before the larger one is taken
            self._memory = self._device.allocate(_rounded(size))
            self.size = _rounded(size)
        return int(self._memory)


class Uploads:
    """Memory that the CPU writes frames into and kernels read them from."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._twin = DeviceBuffer(device)
        self._block = HostBlock(np.empty(0, np.uint8), 0)

    def reserve(self, size: int) -> np.ndarray:
        """(size,) uint8 to write into."""
        if size > len(self._block.host):
            self._block = self._device.allocate_host(_rounded(size), write_only=True)
        return self._block.host[:size]

    def send(self, size: int, stream: Any) -> Tuple[int, int]:
        """Start the upload of the first `size` bytes; their device address, and bytes copied."""
        if self._device.mapped:
            return self._block.address, 0
        address = self._twin.reserve(size)
        self._device.upload(address, self._block.host[:size], stream)
        return address, size


class Lease:
    """Memory of a result; it returns to its pool with the last reference to it.

    readers: handles of streams that may still be reading it at that time.
    """

    def __init__(
        self, block: Union[HostBlock, DeviceBlock], device: CudaDevice, crowded: bool
    ) -> None:
        self.block, self.gpu, self.current = block, device.gpu.number, device.current
        self.readers: Set[int] = set()
        self._crowded = crowded

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        assert isinstance(self.block, HostBlock)
        interface: Dict[str, Any] = self.block.host.__array_interface__
        return interface

    def device_array(self, offset: int, shape: Tuple[int, ...]) -> DeviceArray:
        """uint8 array over part of memory that kernels can reach; never a copy."""
        return DeviceArray(self.block.address + offset, shape, self)

    def array(self, offset: int, shape: Tuple[int, ...]) -> np.ndarray:
        """uint8 array over part of the memory; a copy if too many results are held already."""
        flat = np.asarray(self)  # its base is this lease, which every view of it keeps alive
        part = flat[offset : offset + int(np.prod(shape))].reshape(shape)
        return part.copy() if self._crowded else part


_MOST_LEASED = 16
"""Results that are handed out in the pool's own memory at a time; more are copied."""


class ResultPool:
    """Blocks of memory for results, each reused once its last result is garbage-collected.

    That may happen in any thread, but PyCUDA frees memory only in its context's thread: whoever
    closes the context keeps the pool until none of it is in use.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        # Results may be collected in any thread; adding or removing one entry needs no lock.
        # For the host, and on the device; each block with the streams that may still read it.
        self._free: Tuple[List[Any], List[Any]] = ([], [])
        self._leased: Set[object] = set()

    def lease(self, size: int, writer: int, on_device: bool = False) -> Lease:
        """Page-locked memory of at least `size` bytes, or device memory.

        On an integrated GPU both are page-locked memory, which its kernels can reach. writer:
        handle of the stream that writes it, which waits for streams that may still read it.
        """
        on_device = on_device and not self._device.mapped
        kept = self._free[on_device]
        sizes = [block.size for block, _ in kept]
        fitting = [place for place, free in enumerate(sizes) if free >= size]
        block: Union[HostBlock, DeviceBlock]
        if fitting:
            block, readers = kept.pop(min(fitting, key=sizes.__getitem__))
            for reader in readers:
                try:
                    order_streams(reader, writer)
                except EngineError:  # that stream is destroyed: wait for all work instead
                    synchronize()
        else:
            kept.clear()  # smaller than what is needed now
            room = _rounded(size)
            block = (
                DeviceBlock(self._device.allocate(room), room)
                if on_device
                else self._device.allocate_host(room)
            )
        token = object()
        self._leased.add(token)
        lease = Lease(block, self._device, crowded=len(self._leased) > _MOST_LEASED)
        weakref.finalize(lease, self._give_back, kept, (block, lease.readers), token)
        return lease

    @property
    def in_use(self) -> bool:
        """Whether somebody still holds a result."""
        return bool(self._leased)

    def close(self) -> None:
        """Free the blocks; to be called once none is in use, with the context current."""
        for kept in self._free:
            kept.clear()

    def _give_back(self, kept: List[Any], entry: Any, token: object) -> None:
        kept.append(entry)
        self._leased.discard(token)
