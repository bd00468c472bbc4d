# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What is on the GPU: frames of torch, CuPy, a video decoder, a ROS message; results that stay."""

from __future__ import annotations

import ctypes
import importlib
import math
from contextlib import suppress
from functools import cached_property, partial
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    NamedTuple,
    Optional,
    Protocol,
    Set,
    Tuple,
)

import numpy as np

from segformer_ros.engines.cuda.driver import (
    current_gpu,
    download,
    gpu_of,
    order_streams,
    select_gpu,
)
from segformer_ros.formats import FULL, BitDepth
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError, check_size
from segformer_ros.frame import ALIASES, BY_CHANNELS, PACKED_CHANNELS, Frame, Stamp

_CUDA = (2, 13)
"""DLDeviceType of DLPack: device and managed memory of CUDA."""

_LEGACY = 1
"""Handle of CUDA's legacy default stream, which a producer means that names none."""


class _Tensor(ctypes.Structure):
    """DLTensor, with which a DLManagedTensor begins."""

    _fields_ = (
        ('data', ctypes.c_uint64),
        ('device_type', ctypes.c_int32),
        ('device', ctypes.c_int32),
        ('ndim', ctypes.c_int32),
        ('kind', ctypes.c_uint8),  # 1: unsigned
        ('bits', ctypes.c_uint8),
        ('lanes', ctypes.c_uint16),
        ('shape', ctypes.POINTER(ctypes.c_int64)),
        ('strides', ctypes.POINTER(ctypes.c_int64)),  # in elements; NULL where rows are packed
        ('offset', ctypes.c_uint64),
    )


class Acquired(NamedTuple):
    """Pixels that a stream may read. release: to be called once it has, or will no more."""

    address: int
    release: Callable[[], object]


class DeviceFrame(Frame):
    """A Frame in device memory, which the TensorRT engine's kernels read where it is.

    acquire: called with the handle of the stream that is going to read, behind what writes the
    pixels. step: bytes from one row to the next. shape: (H, W, C), or (H, W) for mono8. find_gpu:
    the number of the GPU that has it.
    """

    def __init__(
        self,
        acquire: Callable[[int], Acquired],
        shape: Tuple[int, ...],
        step: int,
        encoding: str,
        find_gpu: Callable[[], int],
        stamp: Stamp = Stamp(),
        frame_id: str = '',
    ) -> None:
        found = {'encoding': encoding, 'stamp': stamp, 'frame_id': frame_id}
        self.__dict__.update(found, acquire=acquire, shape=shape, step=step, find_gpu=find_gpu)
        self.acquire: Callable[[int], Acquired]
        self.shape: Tuple[int, ...]
        self.step: int
        self.find_gpu: Callable[[], int]
        check_size(shape[0], shape[1], math.inf)

    @cached_property
    def pixels(self) -> np.ndarray:
        """A copy in host memory, made for whoever needs one: a CPU engine, or an overlay."""
        row = math.prod(self.shape[1:])
        data = np.empty(self.step * self.shape[0], np.uint8)
        with current_gpu(select_gpu(self.find_gpu())):
            acquired = self.acquire(_LEGACY)
            try:
                download(data[: len(data) - self.step + row], acquired.address)
            finally:
                acquired.release()
        return data.reshape(self.shape[0], self.step)[:, :row].reshape(self.shape)

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self.shape[1]

    @property
    def size(self) -> Tuple[int, int]:
        """(height, width) of the image."""
        return self.shape[0], self.shape[1]


class Holder(Protocol):
    """Owner of a result's memory, which is reused once the holder is collected.

    gpu: number of the memory's GPU. readers: handles of streams that may still read the memory by
    then; its next use waits for them.
    """

    gpu: int
    readers: Set[int]

    def current(self) -> ContextManager[None]:
        """Make its CUDA context this thread's current one."""


class DeviceArray:
    """uint8 values in the GPU's memory, for torch, CuPy and other libraries.

    The values are complete on any stream. The memory is reused once the array is collected. A
    tensor made by DLPack (`torch.from_dlpack`, `cupy.from_dlpack`) also holds it, and its reuse
    waits for the work on that tensor's stream. A user of `__cuda_array_interface__` must keep the
    array until everything that reads it is done.
    """

    def __init__(self, address: int, shape: Tuple[int, ...], holder: Holder) -> None:
        self.address, self.shape = address, shape
        self._holder = holder

    @property
    def __cuda_array_interface__(self) -> Dict[str, Any]:
        return {
            'version': 3,
            'shape': self.shape,
            'typestr': '|u1',
            'data': (self.address, False),
            'strides': None,
            'stream': None,
        }

    def __dlpack_device__(self) -> Tuple[int, int]:
        return _CUDA[0], self._holder.gpu

    def __dlpack__(
        self,
        *,
        stream: Optional[int] = None,
        max_version: Optional[Tuple[int, int]] = None,
        dl_device: Optional[Tuple[int, int]] = None,
        copy: Optional[bool] = None,
    ) -> Any:
        """A capsule that holds the memory; raises BufferError for a copy or another device.

        stream: handle of the stream that will read it; -1: the caller synchronises.
        """
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(
                f'values on GPU {self._holder.gpu} are not copied; copy them with torch or CuPy, '
                'or take a copy in host memory with host()'
            )
        if stream != -1:
            self._holder.readers.add(stream or _LEGACY)
        return _capsule(self.address, self.shape, self._holder)

    def host(self) -> np.ndarray:
        """A copy in host memory."""
        copy = np.empty(self.shape, np.uint8)
        with self._holder.current():
            download(copy, self.address)
        return copy


class _ManagedTensor(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (
        ('tensor', _Tensor),
        ('context', ctypes.c_void_p),
        ('deleter', ctypes.c_void_p),
    )


_given: Dict[int, Tuple[object, ...]] = {}
"""Exported DLManagedTensors by address, until their consumer calls the deleter."""

_NAME = b'dltensor'
"""Name of a capsule that nobody has consumed yet; its consumer renames it."""


# By address, since a capsule that is being destroyed must not get a new reference.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ('PyCapsule_IsValid', ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ('PyCapsule_GetPointer', ctypes.pythonapi)
)


def _forget(address: int, given: Dict[int, Tuple[object, ...]] = _given) -> None:
    """The deleter of a DLManagedTensor; its consumer may call it in any thread."""
    given.pop(address, None)


_end_tensor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_forget)


def _forget_untaken(
    capsule: int,
    name: bytes = _NAME,
    is_valid: Any = _is_valid,
    pointer: Any = _pointer,
    end: Any = _end_tensor,
) -> None:
    """The destructor of a capsule, which deletes a tensor that nobody consumed."""
    if is_valid(capsule, name):
        end(pointer(capsule, name))


_end_capsule = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_forget_untaken)

# Another library's tensor may outlive this module when the interpreter ends.
for _kept in (_given, _end_tensor, _end_capsule):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))

_make_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(('PyCapsule_New', ctypes.pythonapi))


def _capsule(address: int, shape: Tuple[int, ...], holder: Holder) -> Any:
    """A DLPack capsule of packed uint8 values."""
    sides = (ctypes.c_int64 * len(shape))(*shape)
    tensor = _Tensor(address, _CUDA[0], holder.gpu, len(shape), 1, 8, 1, sides, None, 0)
    managed = _ManagedTensor(tensor, None, ctypes.cast(_end_tensor, ctypes.c_void_p))
    place = ctypes.addressof(managed)
    _given[place] = managed, sides, holder
    return _make_capsule(place, _NAME, ctypes.cast(_end_capsule, ctypes.c_void_p))


def is_on_device(image: Any) -> bool:
    """Whether an object shows device memory, by `__cuda_array_interface__` or DLPack."""
    with suppress(Exception):  # of torch, where the tensor is not on the GPU
        if hasattr(image, '__cuda_array_interface__'):
            return True
    return hasattr(image, '__dlpack_device__') and image.__dlpack_device__()[0] in _CUDA


def frame_on_device(image: Any, encoding: str = '') -> DeviceFrame:
    """A frame of such an object, in a packed 8-bit encoding, '' for OpenCV's; raises FrameError.

    Streams are ordered by the object where it has DLPack, else by an event on its stream.
    """
    if hasattr(image, '__dlpack__'):
        tensor, capsule = _exported(image, -1)  # -1: nothing is waited for, it is only looked at
        sides = range(tensor.ndim)
        shape = tuple(int(tensor.shape[side]) for side in sides)
        plain = (tensor.kind, tensor.bits, tensor.lanes) == (1, 8, 1)
        strides = tuple(int(tensor.strides[side]) for side in sides) if tensor.strides else None
        gpu = int(tensor.device)
        del tensor, capsule
        encoding = encoding or _usual(shape)
        step = _step(shape, strides, plain, encoding)
        return DeviceFrame(partial(_of_dlpack, image), shape, step, encoding, lambda: gpu)
    shown = image.__cuda_array_interface__
    shape = tuple(map(int, shown['shape']))
    plain = np.dtype(shown['typestr']) == np.uint8 and shown.get('mask') is None
    encoding = encoding or _usual(shape)
    step = _step(shape, shown.get('strides'), plain, encoding)
    address = int(shown['data'][0])
    return DeviceFrame(partial(_of_array, image), shape, step, encoding, partial(gpu_of, address))


def cuda_buffers() -> Any:
    """CudaBuffer of ROS 2 Lyrical's CUDA buffers in messages; None where it is not installed."""
    try:
        return importlib.import_module('cuda_buffer').CudaBuffer
    except (ImportError, AttributeError):  # or an empty folder of that name
        return None


def frame_of_message(
    message: Any, max_megapixels: float = MAX_MEGAPIXELS, depth: BitDepth = FULL
) -> Frame:
    """Like Frame.from_image, but a CUDA buffer stays on the GPU; raises FrameError.

    It is copied to the host where the buffers' Python package is not installed, or the encoding is
    not packed.
    """
    encoding = ALIASES.get(message.encoding, message.encoding)
    buffers = cuda_buffers() if getattr(message.data, 'backend_type', 'cpu') == 'cuda' else None
    if buffers is None or encoding not in PACKED_CHANNELS:
        return Frame.from_image(message, max_megapixels, depth)
    check_size(message.height, message.width, max_megapixels)
    channels = PACKED_CHANNELS[encoding]
    row, needed = message.width * channels, message.step * message.height
    if message.step < row or len(message.data) < needed:
        raise FrameError(
            f'{len(message.data)} bytes of data on the GPU with step {message.step} are no '
            f'{message.width}x{message.height} {encoding} image'
        )

    def acquire(stream: int) -> Acquired:
        handle = buffers.from_input_buffer(message.data, stream)
        return Acquired(int(handle.device_ptr), handle.close)

    def find_gpu() -> int:
        with buffers.from_input_buffer(message.data) as handle:  # on a stream of the buffer's own
            return gpu_of(int(handle.device_ptr))

    shape = (message.height, message.width) + ((channels,) if channels > 1 else ())
    stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
    frame_id = message.header.frame_id
    return DeviceFrame(acquire, shape, message.step, encoding, find_gpu, stamp, frame_id)


def _usual(shape: Tuple[int, ...]) -> str:
    channels = shape[2] if len(shape) == 3 else 1
    return BY_CHANNELS.get(channels, 'bgr8')


def _step(
    shape: Tuple[int, ...], strides: Optional[Tuple[int, ...]], plain: bool, encoding: str
) -> int:
    """Bytes between rows; raises FrameError unless they lie as the encoding has them."""
    channels = PACKED_CHANNELS.get(encoding)
    if channels is None:
        raise FrameError(
            f'encoding {encoding!r} of pixels on the GPU; use one of {", ".join(PACKED_CHANNELS)}'
        )
    fits = len(shape) == 2 if channels == 1 else len(shape) == 3 and shape[2] == channels
    if not plain or not fits:
        raise FrameError(
            f'pixels on the GPU of shape {shape} are not {encoding}; give '
            f'(H, W{"" if channels == 1 else f", {channels}"}) uint8 (of torch: '
            'tensor.permute(1, 2, 0).contiguous() where the channels come first)'
        )
    row = shape[1] * channels
    inner = (1,) if channels == 1 else (channels, 1)
    if strides is None:
        return row
    if tuple(strides[1:]) != inner or strides[0] < row:
        raise FrameError(
            f'pixels on the GPU with strides {tuple(strides)} are not packed in their rows; make '
            'them contiguous'
        )
    return int(strides[0])


def _exported(image: Any, stream: int) -> Tuple[_Tensor, Any]:
    """What DLPack tells, and the capsule that holds it; unused, it is freed with the capsule."""
    capsule = image.__dlpack__(stream=stream)
    return _Tensor.from_address(_pointer(id(capsule), _NAME)), capsule


def _of_dlpack(image: Any, stream: int) -> Acquired:
    tensor, capsule = _exported(image, stream)
    kept = [capsule]
    return Acquired(tensor.data + tensor.offset, kept.clear)


def _of_array(image: Any, stream: int) -> Acquired:
    shown = image.__cuda_array_interface__
    # None: the pixels are there. Before version 3 nothing was said of streams.
    writer = shown.get('stream', _LEGACY)
    if writer is not None:
        order_streams(int(writer), stream)
    kept = [shown, image]
    return Acquired(int(shown['data'][0]), kept.clear)
