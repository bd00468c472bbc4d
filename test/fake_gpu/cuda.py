# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""pycuda.driver: memory is the host's, kernels are those compiled for the CPU."""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import host_kernels
import numpy as np

from segformer_ros.engines.cuda.launches import BLOCK, Launch

Work = Callable[[], object]

ILLEGAL_ADDRESS = 700

PAGE = 4096
"""Addresses below are nobody's."""


class Error(Exception):
    """pycuda.driver.Error."""


class LaunchError(Error):
    """pycuda.driver.LaunchError."""


class OutOfMemory(Error):
    """pycuda.driver.MemoryError."""


class Allocation:
    """Memory of a known address. `int()` of it is the address; it is poisoned when freed."""

    def __init__(self, cuda: FakeCuda, size: int) -> None:
        self.bytes = np.full(size, 0xCD, np.uint8)
        self._cuda = cuda
        cuda.live.add(self)

    def __int__(self) -> int:
        return int(self.bytes.ctypes.data)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.bytes.__array_interface__

    def get_device_pointer(self) -> int:
        """Address for kernels, of memory that was allocated as mapped."""
        assert self._cuda.mapped, 'not allocated with DEVICEMAP'
        return int(self)


class Stream:
    """Work in order, done when somebody waits for it."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.handle = next(cuda.handles)
        self.queue: list[Work] = []
        self.captured: list[Work] | None = None
        cuda.streams[self.handle] = self

    def put(self, work: Work) -> None:
        """Queue work, or note it while a graph is captured."""
        self._cuda.check_current()
        (self.queue if self.captured is None else self.captured).append(work)

    def wait_for_event(self, event: Event) -> None:
        marks = event.mark
        self.put(lambda: event.reach(marks))

    def synchronize(self) -> None:
        self._cuda.check_current()
        self.run_until(None)

    def run_until(self, mark: object) -> None:
        """Do the queued work up to a mark."""
        while self.queue:
            work = self.queue.pop(0)
            work()
            if work is mark:
                return


class Mark:
    """One recording of an event."""

    def __init__(self) -> None:
        self.reached = False

    def __call__(self) -> None:
        self.reached = True


class Event:
    """A place in a stream."""

    clock = itertools.count()

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self._stream: Stream | None = None
        self.mark: Mark | None = None
        self._time = 0

    def record(self, stream: Stream) -> None:
        self._stream, self.mark, self._time = stream, Mark(), next(Event.clock)
        stream.put(self.mark)

    def reach(self, mark: Mark | None) -> None:
        """Have its stream do what came before a recording of this event."""
        assert self._stream is not None and mark is not None, 'waited for before it was recorded'
        if not mark.reached:
            self._stream.run_until(mark)

    def synchronize(self) -> None:
        self._cuda.check_current()
        self.reach(self.mark)

    def time_till(self, later: Event) -> float:
        assert later._time >= self._time, 'recorded in the other order'
        return float(later._time - self._time)


class Function:
    """A kernel."""

    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self._cuda, self._name = cuda, name

    def __call__(
        self,
        argument: np.void,
        *,
        block: tuple[int, int, int],
        grid: tuple[int, int, int],
        stream: Stream,
    ) -> None:
        assert isinstance(argument, np.void) and block == (BLOCK, 1, 1)
        assert all(side > 0 for side in grid)
        # By value, and as bytes, which is how PyCUDA takes a struct.
        copy = np.frombuffer(bytes(argument.data), argument.dtype)[0]

        def work() -> None:
            if self._cuda.faults:
                raise self._cuda.faults.pop()
            if any(0 < place < PAGE for place in _pointers(copy)):
                raise LaunchError('cuEventSynchronize failed: an illegal memory access')
            host_kernels.run(Launch(self._name, copy, grid))

        self._cuda.journal.append(('launch', self._name))
        stream.put(work)


def _pointers(argument: Any) -> Iterator[int]:
    """The addresses in a kernel's argument, which are its only 64-bit numbers."""
    if argument.dtype.names:
        for name in argument.dtype.names:
            yield from _pointers(argument[name])
    elif argument.dtype == np.uint64:
        yield from map(int, np.ravel(argument))
    elif argument.dtype == object or argument.ndim:
        for part in argument:
            yield from _pointers(part)


class FakeCuda:
    """One process's CUDA. journal: what was called. faults: errors that the next kernels give."""

    def __init__(self) -> None:
        self.handles = itertools.count(16)  # lower ones have a meaning of their own
        self.streams: dict[int, Stream] = {}
        self.streams[1] = Stream(self)  # the default one
        self.primary_is_active = False
        self.live: weakref.WeakSet[Allocation] = weakref.WeakSet()
        self.journal: list[tuple[Any, ...]] = []
        self.faults: list[Exception] = []
        self.stack: list[object] = []
        self.mapped = False
        self.late: list[str] = []
        self._dependent: list[tuple[weakref.ref[object], str, list[object]]] = []

    def put_elsewhere(self, pixels: np.ndarray) -> tuple[int, int, object]:
        """What another library puts on the device: its address, the stream, and what holds it.

        The pixels are there once the stream, which nobody has waited for, was.
        """
        self.primary_is_active = True
        memory, stream, source = Allocation(self, pixels.nbytes), Stream(self), pixels.copy()
        place = int(memory)
        stream.queue.append(lambda: ctypes.memmove(place, source.ctypes.data, source.nbytes))
        return place, stream.handle, memory

    def fail(self, error: int) -> None:
        """Have the next kernel leave its context with a CUresult, an illegal address."""
        assert error == ILLEGAL_ADDRESS
        self.faults.append(LaunchError('cuEventSynchronize failed: an illegal memory access'))

    def needs_context(self, thing: object, name: str) -> None:
        """Note in `late` where a thing is still there when the present context ends."""
        self._dependent.append((weakref.ref(thing), name, self.stack[-1:]))

    def end_context(self, context: object) -> None:
        """What is in flight ends with the context."""
        self.journal.append(('detach',))
        for stream in self.streams.values():
            stream.queue.clear()
        self.late += [
            name for thing, name, owner in self._dependent if owner == [context] and thing()
        ]

    def check_current(self) -> None:
        assert self.stack, 'a CUDA call without a current context'

    def stream(self, handle: int | None) -> Stream:
        assert handle is not None
        return self.streams[handle]

    def count(self, name: str) -> int:
        """How often something was called."""
        return sum(entry[0] == name for entry in self.journal)

    def module(self) -> ModuleType:
        """pycuda.driver."""
        cuda = self
        module = ModuleType('pycuda.driver')

        class Context:
            def push(self) -> None:
                cuda.stack.append(self)

            @staticmethod
            def pop() -> None:
                cuda.check_current()
                cuda.stack.pop()

            def detach(self) -> None:
                cuda.end_context(self)

        class Device:
            def __init__(self, number: int) -> None:
                self.number = number

            def make_context(self, flags: int) -> Context:
                assert flags & module.ctx_flags.MAP_HOST
                cuda.journal.append(('make_context', self.number))
                context = Context()
                context.push()
                return context

            def retain_primary_context(self) -> Context:
                cuda.primary_is_active = True  # the driver makes it, if need be
                cuda.journal.append(('retain_primary_context', self.number))
                return Context()

        def mem_alloc(size: int) -> Allocation:
            cuda.check_current()
            cuda.journal.append(('mem_alloc', size))
            return Allocation(cuda, size)

        def pagelocked_empty(size: int, dtype: Any, *, mem_flags: int) -> np.ndarray:
            cuda.check_current()
            cuda.journal.append(('pagelocked_empty', size))
            cuda.mapped = bool(mem_flags & module.host_alloc_flags.DEVICEMAP)
            assert dtype is np.uint8
            return np.asarray(Allocation(cuda, size))

        def to_device(array: np.ndarray) -> Allocation:
            memory = mem_alloc(array.nbytes)
            copy(int(memory), array.ctypes.data, array.nbytes)
            return memory

        def memset_d32_async(address: int, value: int, count: int, stream: Stream) -> None:
            memory = (ctypes.c_uint32 * count).from_address(address)
            stream.put(lambda: np.ctypeslib.as_array(memory).fill(value))

        def memcpy_htod_async(address: int, data: np.ndarray, stream: Stream) -> None:
            cuda.journal.append(('upload', data.nbytes))
            source = data.ctypes.data
            stream.put(lambda: copy(address, source, data.nbytes))

        def memcpy_dtoh_async(data: np.ndarray, address: int, stream: Stream) -> None:
            cuda.journal.append(('download', data.nbytes))
            target = data.ctypes.data
            stream.put(lambda: copy(target, address, data.nbytes))

        def memcpy_dtod_async(target: int, source: int, size: int, stream: Stream) -> None:
            stream.put(lambda: copy(target, source, size))

        def copy(target: int, source: int, size: int) -> None:
            ctypes.memmove(target, source, size)

        module.__dict__.update(
            Error=Error,
            LaunchError=LaunchError,
            Context=Context,
            Device=Device,
            Stream=lambda: Stream(cuda),
            Event=lambda flags: Event(cuda),
            ctx_flags=SimpleNamespace(SCHED_AUTO=0, MAP_HOST=8),
            event_flags=SimpleNamespace(BLOCKING_SYNC=1),
            host_alloc_flags=SimpleNamespace(PORTABLE=1, DEVICEMAP=2, WRITECOMBINED=4),
            init=lambda: cuda.journal.append(('init',)),
            mem_alloc=mem_alloc,
            memset_d32_async=memset_d32_async,
            mem_get_info=lambda: (6 << 30, 8 << 30),
            memcpy_dtod_async=memcpy_dtod_async,
            memcpy_htod_async=memcpy_htod_async,
            memcpy_dtoh_async=memcpy_dtoh_async,
            module_from_buffer=lambda image: SimpleNamespace(
                get_function=lambda name: Function(cuda, name)
            ),
            pagelocked_empty=pagelocked_empty,
            to_device=to_device,
        )
        return module
