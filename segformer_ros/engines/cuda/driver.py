# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The CUDA driver asked directly, before anything that would fail badly without one.

Some TensorRT versions crash the process when a Builder or Runtime is made where no GPU can be
used, and no exception handler catches that. So `cuInit` is asked first, through ctypes.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import Any, Iterator, List, NamedTuple

import numpy as np

from segformer_ros.engines.engine import EngineError

LIBRARIES = ('libcuda.so.1', 'libcuda.so')

# CUdevice_attribute of the driver API.
_PROCESSORS = 16
_INTEGRATED = 18
_PCI = (50, 33, 34)  # domain, bus, device
_MAJOR = 75
_MINOR = 76

# CUpointer_attribute.
_OWNER = 1
_ORDINAL = 9

_NO_TIMING = 2  # CUevent_flags

# CUresult values that users meet, and what to do about them.
_ADVICE = {
    3: 'the driver was not initialised',
    34: 'the library is a stub without a driver; remove the stubs folder from LD_LIBRARY_PATH',
    35: 'the driver is older than this library; update the driver',
    100: 'the driver sees no GPU; check nvidia-smi, CUDA_VISIBLE_DEVICES, and `--gpus all` of a '
    'container',
    101: 'that GPU does not exist',
    803: 'driver and library are of different versions; reboot after a driver update',
    804: 'the library in this container needs a newer driver on the host',
}


class Gpu(NamedTuple):
    """One GPU.

    sm: compute capability times ten (87 for Orin). memory: bytes. processors: how many it has
    (streaming multiprocessors). bus: PCI address, by which nvidia-smi knows it.
    """

    number: int
    name: str
    sm: int
    memory: int
    integrated: bool
    driver: str
    processors: int = 0
    bus: str = ''

    @property
    def label(self) -> str:
        """Name and compute capability, for people."""
        return f'{self.name} (sm_{self.sm})'


def pip_command(driver: str = '') -> str:
    """What installs TensorRT, a CUDA binding and NVRTC; driver: as in Gpu, '' if not known."""
    command = "pip install 'segformer_ros[tensorrt]'"
    if not driver:
        return f'{command}, or [tensorrt-cu12] for a driver of CUDA 12'
    # On Python 3.8 and 3.9 that extra has no binding, and the other one has PyCUDA.
    twelve = driver.startswith('CUDA 12.') and sys.version_info >= (3, 10)
    return command.replace('tensorrt', 'tensorrt-cu12') if twelve else command


def load_driver() -> Any:
    """The driver's library; raises EngineError where there is none or it does not start."""
    for name in LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        check(library.cuInit(0), 'cuInit')
        return library
    raise EngineError(
        f'no NVIDIA driver on this machine ({LIBRARIES[0]} is not found); install it, or in a '
        'container start it with the NVIDIA runtime'
    )


def check(result: int, call: str) -> None:
    """Raise EngineError for a CUresult that is not success, with what to do."""
    if result:
        advice = _ADVICE.get(result, 'see CUresult in the CUDA driver API')
        raise EngineError(f'{call} failed with CUDA error {result}: {advice}')


def find_gpus() -> List[Gpu]:
    """The GPUs that this process can use; raises EngineError where there are none."""
    driver = load_driver()
    version, count = ctypes.c_int(), ctypes.c_int()
    check(driver.cuDriverGetVersion(ctypes.byref(version)), 'cuDriverGetVersion')
    check(driver.cuDeviceGetCount(ctypes.byref(count)), 'cuDeviceGetCount')
    if count.value == 0:
        check(100, 'cuDeviceGetCount')
    cuda = f'{version.value // 1000}.{version.value % 1000 // 10}'
    return [_describe(driver, index, cuda) for index in range(count.value)]


def select_gpu(index: int) -> Gpu:
    """The GPU of an index; raises EngineError naming those there are."""
    gpus = find_gpus()
    if not 0 <= index < len(gpus):
        known = ', '.join(f'{gpu.number}: {gpu.label}' for gpu in gpus)
        raise EngineError(f'no GPU {index} on this machine; there is {known}')
    return gpus[index]


@contextmanager
def current_gpu(gpu: Gpu) -> Iterator[None]:
    """Make the GPU's primary context current in this thread."""
    driver = load_driver()
    device, context = ctypes.c_int(), ctypes.c_void_p()
    check(driver.cuDeviceGet(ctypes.byref(device), gpu.number), 'cuDeviceGet')
    check(
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), 'cuDevicePrimaryCtxRetain'
    )
    try:
        check(driver.cuCtxPushCurrent_v2(context), 'cuCtxPushCurrent')
        try:
            yield
        finally:
            driver.cuCtxPopCurrent_v2(ctypes.byref(context))
    finally:
        driver.cuDevicePrimaryCtxRelease(device)  # without _v2, which came with CUDA 11


def has_primary_context(gpu: Gpu) -> bool:
    """Whether something in this process (torch, CuPy) uses the GPU's primary context."""
    driver = load_driver()
    device, flags, active = ctypes.c_int(), ctypes.c_uint(), ctypes.c_int()
    check(driver.cuDeviceGet(ctypes.byref(device), gpu.number), 'cuDeviceGet')
    check(
        driver.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active)),
        'cuDevicePrimaryCtxGetState',
    )
    return bool(active.value)


def order_streams(before: int, after: int) -> None:
    """Make stream `after` wait for the work queued on stream `before`; by their handles."""
    driver, event = load_driver(), ctypes.c_void_p()
    check(driver.cuEventCreate(ctypes.byref(event), _NO_TIMING), 'cuEventCreate')
    try:
        check(driver.cuEventRecord(event, ctypes.c_void_p(before)), 'cuEventRecord')
        check(driver.cuStreamWaitEvent(ctypes.c_void_p(after), event, 0), 'cuStreamWaitEvent')
    finally:
        driver.cuEventDestroy_v2(event)  # the driver keeps it until the wait is over


def synchronize() -> None:
    """Wait for all work in the current context."""
    check(load_driver().cuCtxSynchronize(), 'cuCtxSynchronize')


def gpu_of(address: int) -> int:
    """Number of the GPU that an address of device memory is on."""
    return int(_pointer_attribute(address, _ORDINAL, ctypes.c_int()).value)


def _pointer_attribute(address: int, attribute: int, found: Any) -> Any:
    call = load_driver().cuPointerGetAttribute
    place = ctypes.c_uint64(address)
    check(call(ctypes.byref(found), attribute, place), 'cuPointerGetAttribute')
    return found


def check_reachable(address: int, gpu: Gpu) -> None:
    """Raises EngineError unless kernels of the current context may read an address."""
    driver = load_driver()
    number, current = gpu_of(address), ctypes.c_void_p()
    if number != gpu.number:
        raise EngineError(
            f'the frame is on GPU {number}, and the engine on GPU {gpu.number}; copy it, or '
            'choose the device of the engine'
        )
    owner = _pointer_attribute(address, _OWNER, ctypes.c_void_p())
    check(driver.cuCtxGetCurrent(ctypes.byref(current)), 'cuCtxGetCurrent')
    if owner.value not in (None, current.value):  # None: of no context, reached from all
        raise EngineError(
            'the frame is in memory of another CUDA context; use the GPU with torch, CuPy or what '
            'the frame is from before the engine is started, which then shares their context'
        )


def download(target: np.ndarray, address: int) -> None:
    """Copy device memory of the current context into an array, once all work in it is done."""
    synchronize()
    place, size = ctypes.c_void_p(target.ctypes.data), ctypes.c_size_t(target.nbytes)
    check(load_driver().cuMemcpyDtoH_v2(place, ctypes.c_uint64(address), size), 'cuMemcpyDtoH')


def _describe(driver: Any, index: int, cuda: str) -> Gpu:
    device = ctypes.c_int()
    check(driver.cuDeviceGet(ctypes.byref(device), index), 'cuDeviceGet')
    name = ctypes.create_string_buffer(128)
    check(driver.cuDeviceGetName(name, len(name), device), 'cuDeviceGetName')
    memory = ctypes.c_size_t()
    check(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), 'cuDeviceTotalMem')
    return Gpu(
        number=index,
        name=name.value.decode(),
        sm=10 * _attribute(driver, device, _MAJOR) + _attribute(driver, device, _MINOR),
        memory=memory.value,
        integrated=bool(_attribute(driver, device, _INTEGRATED)),
        driver=f'CUDA {cuda}',
        processors=_attribute(driver, device, _PROCESSORS),
        bus='{:08x}:{:02x}:{:02x}.0'.format(*(_attribute(driver, device, one) for one in _PCI)),
    )


def _attribute(driver: Any, device: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    check(
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device),
        'cuDeviceGetAttribute',
    )
    return value.value
