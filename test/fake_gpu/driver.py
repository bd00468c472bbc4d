# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""libcuda as ctypes sees it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fake_gpu.cuda import FakeCuda

PROCESSORS, INTEGRATED, MAJOR, MINOR = 16, 18, 75, 76


PCI = (50, 33, 34)

PRESENT = 7
"""The context that is current, as the driver is told of it."""


class FakeDriver:
    """The calls of the driver API that are made directly."""

    def __init__(
        self,
        cuda: FakeCuda | None = None,
        sm: int = 87,
        count: int = 1,
        integrated: bool = False,
        init: int = 0,
    ) -> None:
        self._cuda = cuda
        self._attributes = {
            PROCESSORS: 16,
            INTEGRATED: int(integrated),
            MAJOR: sm // 10,
            MINOR: sm % 10,
            **dict.fromkeys(PCI, 0),
        }
        self.count = count
        self.contexts: list[int] = []
        self._init = init
        self.graphs: list[list[Any]] = []
        self.alive: set[int] = set()
        self.launches = 0
        self.events: dict[int, Any] = {}
        self.owners: dict[int, int] = {}  # contexts of device memory that is not the engine's
        self.gpus: dict[int, int] = {}

    def set_processors(self, count: int) -> None:
        """The GPU's size."""
        self._attributes[PROCESSORS] = count

    def cuInit(self, flags: int) -> int:
        return self._init

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = b'Test GPU'
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
        size._obj.value = 8 << 30
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        bus = attribute == PCI[1]  # each GPU has one of its own, the last the lowest
        value._obj.value = 16 - device.value if bus else self._attributes[attribute]
        return 0

    # --- contexts; one is known by the number of its GPU and one ---

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:
        context._obj.value = device.value + 1
        return 0

    def cuDevicePrimaryCtxRelease(self, device: Any) -> int:
        assert device.value + 1 not in self.contexts
        return 0

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        self.contexts.append(context.value)
        if self._cuda is not None:
            self._cuda.stack.append(self)
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        context._obj.value = self.contexts.pop()
        if self._cuda is not None:
            self._cuda.stack.pop()
        return 0

    def cuDevicePrimaryCtxGetState(self, device: Any, flags: Any, active: Any) -> int:
        active._obj.value = self._cuda is not None and self._cuda.primary_is_active
        return 0

    def cuCtxGetCurrent(self, context: Any) -> int:
        context._obj.value = PRESENT
        return 0

    def cuCtxSynchronize(self) -> int:
        assert self._cuda is not None and self._cuda.stack
        for stream in self._cuda.streams.values():
            stream.run_until(None)
        return 0

    # --- memory and events that are not the engine's ---

    def cuPointerGetAttribute(self, value: Any, attribute: int, address: Any) -> int:
        known = self.owners if attribute == 1 else self.gpus
        value._obj.value = known.get(address.value, 0)
        return 0

    def cuMemcpyDtoH_v2(self, target: Any, source: Any, size: Any) -> int:
        assert self._cuda is not None and self._cuda.stack
        ctypes.memmove(target.value, source.value, size.value)
        return 0

    def cuEventCreate(self, event: Any, flags: int) -> int:
        assert self._cuda is not None
        number = len(self.events) + 1
        self.events[number] = self._cuda.module().Event(flags)
        event._obj.value = number
        return 0

    def cuEventRecord(self, event: Any, stream: Any) -> int:
        assert self._cuda is not None
        self.events[event.value].record(self._cuda.stream(stream.value))
        return 0

    def cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> int:
        assert self._cuda is not None
        self._cuda.stream(stream.value).wait_for_event(self.events[event.value])
        return 0

    def cuEventDestroy_v2(self, event: Any) -> int:
        return 0

    # --- CUDA graphs ---

    def cuStreamBeginCapture_v2(self, stream: ctypes.c_void_p, mode: int) -> int:
        assert self._cuda is not None
        self._cuda.stream(stream.value).captured = []
        return 0

    def cuStreamEndCapture(self, stream: ctypes.c_void_p, graph: Any) -> int:
        assert self._cuda is not None
        fake = self._cuda.stream(stream.value)
        assert fake.captured is not None
        self.graphs.append(fake.captured)
        fake.captured = None
        graph._obj.value = len(self.graphs)
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        executable._obj.value = graph.value
        self.alive.add(graph.value)
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        return 0

    def cuGraphLaunch(self, executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        assert self._cuda is not None and executable.value in self.alive
        self.launches += 1
        for work in self.graphs[executable.value - 1]:
            valid = getattr(work, 'valid', lambda: True)
            assert valid(), 'the execution context was changed after this graph was captured'
            self._cuda.stream(stream.value).put(work)
        return 0

    def cuGraphExecDestroy(self, executable: Any) -> int:
        self.alive.remove(executable.value)
        return 0
