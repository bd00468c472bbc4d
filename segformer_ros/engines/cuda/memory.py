# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Memory that frames and results pass through: page-locked, reused, copied once each way."""

from __future__ import annotations

import weakref
from typing import Any, Dict, List, Set, Tuple

import numpy as np

from segformer_ros.engines.cuda.device import CudaDevice, HostBlock

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
    """Where frames are written by the CPU and read by kernels."""

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
        """Start bringing the first bytes to the kernels: their address and the bytes copied."""
        if self._device.mapped:
            return self._block.address, 0
        address = self._twin.reserve(size)
        self._device.upload(address, self._block.host[:size], stream)
        return address, size


class Lease:
    """Page-locked memory of a result; it goes back to its pool when nothing views it any more."""

    def __init__(self, block: HostBlock, crowded: bool) -> None:
        self.block = block
        self._crowded = crowded

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        interface: Dict[str, Any] = self.block.host.__array_interface__
        return interface

    def array(self, offset: int, shape: Tuple[int, ...]) -> np.ndarray:
        """uint8 array over part of the memory; a copy where too many results are kept already."""
        flat = np.asarray(self)  # its base is this lease, and so is that of every view of it
        part = flat[offset : offset + int(np.prod(shape))].reshape(shape)
        return part.copy() if self._crowded else part


class ResultPool:
    """Page-locked blocks for results, each used again when its last result is forgotten.

    That may be in any thread, but PyCUDA frees the memory in the thread of its context alone:
    whoever closes the context keeps the pool until nothing of it is in use.
    """

    def __init__(self, device: CudaDevice, limit: int = 16) -> None:
        self._device = device
        self._limit = limit
        # Results are forgotten in any thread; adding and removing one entry needs no lock.
        self._free: List[HostBlock] = []
        self._leased: Set[object] = set()

    def lease(self, size: int) -> Lease:
        """Memory of at least `size` bytes."""
        sizes = [len(block.host) for block in self._free]
        fitting = [place for place, free in enumerate(sizes) if free >= size]
        if fitting:
            block = self._free.pop(min(fitting, key=sizes.__getitem__))
        else:
            self._free.clear()  # smaller than what is needed now
            block = self._device.allocate_host(_rounded(size))
        token = object()
        self._leased.add(token)
        lease = Lease(block, crowded=len(self._leased) > self._limit)
        weakref.finalize(lease, self._give_back, block, token)
        return lease

    @property
    def in_use(self) -> bool:
        """Whether somebody still holds a result."""
        return bool(self._leased)

    def close(self) -> None:
        """Free the blocks; to be called once none is in use, with the context current."""
        self._free.clear()

    def _give_back(self, block: HostBlock, token: object) -> None:
        self._free.append(block)
        self._leased.discard(token)
