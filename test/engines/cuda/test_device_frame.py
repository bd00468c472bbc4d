# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frames that are on the GPU: read where they are, behind what writes them, and let go after."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_rig import frame
from fake_gpu import Machine, MakeMachine

from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines.cuda import device, device_frame, driver
from segformer_ros.engines.cuda.device_frame import (
    DeviceFrame,
    _ManagedTensor,
    _Tensor,
    frame_of_message,
    is_on_device,
)
from segformer_ros.engines.cuda.driver import order_streams
from segformer_ros.engines.engine import Traffic
from segformer_ros.frame import Frame, FrameError
from segformer_ros.model import ModelSpec
from segformer_ros.segmenter.segmenter import Segmenter, as_frame


class Shown:
    """Pixels of another library on the device, with `__cuda_array_interface__`."""

    def __init__(self, machine: Machine, pixels: np.ndarray, **more: Any) -> None:
        self.address, self.stream, self.kept = machine.cuda.put_elsewhere(pixels)
        self.shape, self.given = pixels.shape, more

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            'version': 3,
            'shape': self.shape,
            'typestr': '|u1',
            'data': (self.address, True),
            'strides': None,
            'stream': self.stream,
            **self.given,
        }


class Exported(Shown):
    """The same with DLPack alone. asked: the streams that were going to read."""

    __cuda_array_interface__ = property()

    def __init__(self, machine: Machine, pixels: np.ndarray) -> None:
        super().__init__(machine, pixels)
        self.asked: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int) -> Any:
        self.asked.append(stream)
        if stream > 0:
            order_streams(self.stream, stream)
        sides = (ctypes.c_int64 * len(self.shape))(*self.shape)
        tensor = _Tensor(self.address - 64, 2, 0, len(self.shape), 1, 8, 1, sides, None, 64)
        self.tensor = (tensor, sides)
        make = ctypes.pythonapi.PyCapsule_New
        make.restype, make.argtypes = (
            ctypes.py_object,
            (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
        )
        return make(ctypes.addressof(tensor), b'dltensor', None)


def labels(spec: ModelSpec, image: Any, encoding: str = '') -> np.ndarray:
    with Segmenter(spec, engine='tensorrt') as segment:
        return segment(image, encoding).labels


@pytest.mark.parametrize('kind', [Shown, Exported])
@pytest.mark.parametrize('integrated', [False, True])
def test_it_is_read_where_it_is_once_it_is_written(
    make_machine: MakeMachine, spec: ModelSpec, kind: type[Shown], integrated: bool
) -> None:
    machine = make_machine(integrated=integrated)
    plain = frame(3)
    on_device = as_frame(kind(machine, plain.pixels))
    with create_engine(spec, 'tensorrt') as engine:
        (wanted,) = engine.segment([plain])
        (found,) = engine.segment([on_device])
        assert engine.traffic.host == engine.traffic.upload == 0
        np.testing.assert_array_equal(found.labels, wanted.labels)
        mixed = engine.segment([frame(1), on_device, frame(2)])
        assert engine.traffic.host == 2 * plain.pixels.size
        np.testing.assert_array_equal(mixed[1].labels, wanted.labels)


def test_rows_may_be_padded(make_machine: MakeMachine, spec: ModelSpec) -> None:
    machine, plain = make_machine(), frame(4)
    padded = np.full((90, 512), 255, np.uint8)
    padded[:, :480] = plain.pixels.reshape(90, 480)
    shown = Shown(machine, padded, shape=(90, 160, 3), strides=(512, 3, 1))
    np.testing.assert_array_equal(labels(spec, shown), labels(spec, plain))


def test_other_encodings_are_named(make_machine: MakeMachine, spec: ModelSpec) -> None:
    machine, plain = make_machine(), frame(4)
    shown = Shown(machine, np.ascontiguousarray(plain.pixels[..., ::-1]))
    np.testing.assert_array_equal(labels(spec, shown, 'rgb8'), labels(spec, plain))


@pytest.mark.parametrize('kind', [Shown, Exported])
def test_a_cpu_engine_and_an_overlay_get_a_copy(
    make_machine: MakeMachine, kind: type[Shown]
) -> None:
    machine, plain = make_machine(), frame(5)
    found = as_frame(kind(machine, plain.pixels))
    assert isinstance(found, DeviceFrame) and found.size == (90, 160)
    np.testing.assert_array_equal(found.bgr(), plain.pixels)


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ({'shape': (3, 90, 160)}, r'shape \(3, 90, 160\) are not bgr8; give \(H, W, 3\) uint8'),
        ({'typestr': '<f4'}, r'are not bgr8'),
        ({'strides': (960, 6, 1)}, r'strides \(960, 6, 1\) are not packed'),
    ],
)
def test_what_the_kernels_cannot_read_is_refused(
    make_machine: MakeMachine, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(FrameError, match=words):
        as_frame(Shown(make_machine(), frame().pixels, **more))
    with pytest.raises(FrameError, match="encoding 'nv12' of pixels on the GPU"):
        as_frame(Shown(make_machine(), frame().pixels), 'nv12')


def test_memory_of_another_context_or_gpu_is_refused(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    machine = make_machine()
    shown = Shown(machine, frame().pixels)
    on_device = as_frame(shown)
    with create_engine(spec, 'tensorrt') as engine:
        machine.driver.owners[shown.address] = 99
        with pytest.raises(EngineError, match='memory of another CUDA context'):
            engine.segment([on_device])
        machine.driver.gpus[shown.address] = 1
        with pytest.raises(EngineError, match='is on GPU 1, and the engine on GPU 0'):
            engine.segment([on_device])
        engine.segment([frame()])


def test_a_context_in_use_is_shared(make_machine: MakeMachine, spec: ModelSpec) -> None:
    machine = make_machine()
    with create_engine(spec, 'tensorrt'):
        assert machine.cuda.count('make_context') == 1
    machine.cuda.put_elsewhere(frame().pixels)
    with create_engine(spec, 'tensorrt'):
        assert machine.cuda.count('make_context') == 1
        assert machine.cuda.count('retain_primary_context') == 1


def test_messages_buffers_will_be_in_the_primary_context(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    """Which nothing uses yet when a node starts its engine."""
    machine = make_machine()
    with create_engine(spec, 'tensorrt', EngineOptions(share_context=True)):
        assert machine.cuda.count('retain_primary_context') == 1
        assert machine.cuda.count('make_context') == 0


def test_who_receives_no_buffers_keeps_a_context_that_can_be_made_anew(
    make_machine: MakeMachine, spec: ModelSpec, handles: list[ReadHandle]
) -> None:
    """Though their package is installed."""
    machine = make_machine()
    with create_engine(spec, 'tensorrt'):
        assert machine.cuda.count('make_context') == 1
        assert machine.cuda.count('retain_primary_context') == 0


def test_an_empty_folder_is_not_the_buffers_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'cuda_buffer', ModuleType('cuda_buffer'))
    assert device_frame.cuda_buffers() is None


def test_it_is_let_go_after_its_result(make_machine: MakeMachine, spec: ModelSpec) -> None:
    machine = make_machine()
    exported = Exported(machine, frame().pixels)
    alive = sys.getrefcount(exported)
    with create_engine(spec, 'tensorrt') as engine:
        pending = engine.start([as_frame(exported)])
        assert len(exported.asked) == 2 and exported.asked[0] == -1 and exported.asked[1] > 0
        pending()
        del pending
        assert sys.getrefcount(exported) == alive


@pytest.mark.parametrize('integrated', [False, True])
def test_results_stay_on_request(
    make_machine: MakeMachine, spec: ModelSpec, integrated: bool
) -> None:
    """They are those of a plain call, nothing is fetched, and they may be the next input."""
    make_machine(integrated=integrated)
    plain = frame(7)
    with Segmenter(spec, engine='tensorrt') as segment:
        wanted = segment(plain)
        found: Any = segment.on_device(plain)
        assert segment._engine.traffic.download == 0
        assert found.labels.__cuda_array_interface__['shape'] == (90, 160)
        again = as_frame(found.labels)
        assert isinstance(again, DeviceFrame) and again.encoding == 'mono8'
        np.testing.assert_array_equal(again.pixels, wanted.labels)
    # The engine is closed, and the memory there as long as the result.
    np.testing.assert_array_equal(found.labels.host(), wanted.labels)
    np.testing.assert_array_equal(found.confidence.host(), wanted.confidence)


def test_what_stays_is_kept_apart_and_used_again(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine()
    with create_engine(spec, 'tensorrt') as engine:
        wanted = [engine.segment([frame(seed)])[0].labels.copy() for seed in range(20)]
        asked = Wanted(on_device=True, drivable=(0,))
        kept: list[Any] = [engine.segment([frame(seed)], asked)[0] for seed in range(20)]
        assert {one.blocked for one in kept} == {None}
        places = {one.labels.address for one in kept}
        assert len(places) == 20
        found = [one.labels.host() for one in kept]
        np.testing.assert_array_equal(found, wanted)
        del kept
        (again,) = engine.segment([frame()], asked)
        assert again.labels.address in places  # type: ignore[attr-defined]


class Taken:
    """What a library makes of an array by DLPack: it takes the capsule, and ends it in the end."""

    def __init__(self, array: Any, **options: Any) -> None:
        capsule = array.__dlpack__(**options)
        point = ctypes.pythonapi.PyCapsule_GetPointer
        point.restype, point.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        self.place = point(capsule, b'dltensor')
        rename = ctypes.pythonapi.PyCapsule_SetName
        rename.argtypes = (ctypes.py_object, ctypes.c_char_p)
        rename(capsule, b'used_dltensor')
        self.managed = _ManagedTensor.from_address(self.place)

    def values(self) -> np.ndarray:
        tensor = self.managed.tensor
        sides = [tensor.shape[side] for side in range(tensor.ndim)]
        found = np.empty(sides, np.uint8)
        ctypes.memmove(found.ctypes.data, tensor.data + tensor.offset, found.nbytes)
        return found

    def end(self) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.managed.deleter)(self.place)


def test_results_are_taken_by_dlpack(make_machine: MakeMachine, spec: ModelSpec) -> None:
    make_machine()
    plain = frame(7)
    with Segmenter(spec, engine='tensorrt') as segment:
        wanted = segment(plain).labels
        found: Any = segment.on_device(plain)
        address = found.labels.address
        assert found.labels.__dlpack_device__() == (2, 0)
        taken = Taken(found.labels, stream=1, max_version=(1, 1), dl_device=(2, 0), copy=None)
        shown = taken.managed.tensor
        assert (shown.device_type, shown.device) == (2, 0)
        assert (shown.kind, shown.bits, shown.lanes) == (1, 8, 1)
        # Held by what was made of it, though the result itself is forgotten.
        del found
        other: Any = segment.on_device(frame(8))
        assert other.labels.address != address
        np.testing.assert_array_equal(taken.values(), wanted)
        taken.end()
        again: Any = segment.on_device(frame(9))
        assert again.labels.address == address
        # A capsule that nobody takes gives the memory back by itself.
        again.labels.__dlpack__()
        del again
        assert segment.on_device(plain).labels.address == address  # type: ignore[attr-defined]
        for refused in ({'copy': True}, {'dl_device': (1, 0)}, {'dl_device': (2, 1)}):
            with pytest.raises(BufferError, match='values on GPU 0 are not copied'):
                other.labels.__dlpack__(**refused)


def test_numpy_s_own_reader_takes_and_ends_them(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory of the stand-in for a GPU is the host's: said to be so, any library reads it."""
    make_machine()
    with Segmenter(spec, engine='tensorrt') as segment:
        wanted = segment(frame(7))
        kept: Any = segment.on_device(frame(7))
        address = kept.labels.address
        monkeypatch.setattr(device_frame, '_CUDA', (1, 13))
        taken = [np.from_dlpack(kept.labels), np.from_dlpack(kept.confidence)]
        del kept
        np.testing.assert_array_equal(taken, [wanted.labels, wanted.confidence])
        given = len(device_frame._given)
        del taken
        assert len(device_frame._given) == given - 2
        monkeypatch.setattr(device_frame, '_CUDA', (2, 13))
        again: Any = segment.on_device(frame(8))
        assert again.labels.address == address


OUTLIVING = """
import numpy, torch
from segformer_ros.engines.cuda import device_frame
device_frame._CUDA = (1, 13)
class Holder:
    gpu = 0
    def __init__(self):
        self.readers, self.values = set(), numpy.arange(12, dtype=numpy.uint8)
holder = Holder()
array = device_frame.DeviceArray(holder.values.ctypes.data, (3, 4), holder)
kept = torch.from_dlpack(array)
capsule = array.__dlpack__()
assert kept.flatten().tolist() == list(range(12))
"""


def test_tensors_of_torch_may_outlive_the_interpreter(repo: Path) -> None:
    """Their end comes when this package's modules have ended; it was a segmentation fault."""
    if importlib.util.find_spec('torch') is None:
        pytest.skip('torch is not installed: ./run train --help installs it')
    done = subprocess.run(
        [sys.executable, '-c', OUTLIVING], cwd=repo, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('handle', [-1, None, 'its own'])
def test_memory_is_written_again_behind_its_readers(
    make_machine: MakeMachine, spec: ModelSpec, handle: Any
) -> None:
    """A library lets go of a result while its stream has yet to read it."""
    machine = make_machine()
    _, own, _kept = machine.cuda.put_elsewhere(np.zeros(4, np.uint8))
    stream = {'its own': own, None: 1, -1: own}[handle]
    with Segmenter(spec, engine='tensorrt') as segment:
        wanted, later = segment(frame(7)).labels, segment(frame(8)).labels
        assert not np.array_equal(wanted, later)
        found: Any = segment.on_device(frame(7))
        taken = Taken(found.labels, stream=own if handle == 'its own' else handle)
        address, seen = found.labels.address, np.empty((90, 160), np.uint8)
        read = lambda: ctypes.memmove(seen.ctypes.data, address, seen.nbytes)  # noqa: E731
        machine.cuda.stream(stream).queue.append(read)
        del found
        taken.end()
        again: Any = segment.on_device(frame(8))
        assert again.labels.address == address
        np.testing.assert_array_equal(again.labels.host(), later)
        # Who has asked for no order gets none.
        np.testing.assert_array_equal(seen, later if handle == -1 else wanted)


def test_a_reader_whose_stream_is_gone_is_waited_for(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()
    with Segmenter(spec, engine='tensorrt') as segment:
        Taken(segment.on_device(frame()).labels, stream=1).end()
        waited = []
        monkeypatch.setattr(machine.driver, 'cuEventRecord', lambda event, stream: 400)
        monkeypatch.setattr(device, 'synchronize', lambda: waited.append(True))
        segment.on_device(frame())
        assert waited == [True]


def test_on_a_cpu_nothing_can_stay(spec: ModelSpec) -> None:
    with Segmenter(spec, engine='openvino') as segment:
        with pytest.raises(EngineError, match='results stay on a GPU, and .* segments'):
            segment.on_device(frame())
        with pytest.raises(FrameError, match='no such recording: nowhere.png'):
            segment.on_device('nowhere.png')


def test_arrays_of_other_libraries_in_host_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Array:
        """As a tensor of torch on the CPU."""

        def __init__(self, pixels: np.ndarray) -> None:
            self._pixels = pixels

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise AttributeError('only for CUDA tensors')

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

        def __dlpack__(self, **options: Any) -> Any:
            return self._pixels.__dlpack__(**options)

    pixels = frame().pixels
    array = Array(pixels)
    assert not is_on_device(array)
    np.testing.assert_array_equal(as_frame(array).pixels, pixels)
    monkeypatch.delattr(np, 'from_dlpack')
    with pytest.raises(FrameError, match=r'does not read a Array: .*install NumPy 1\.23'):
        as_frame(array)


class Buffer:
    """rosidl_buffer.Buffer, as its stub declares it (ros2/rosidl, read in November 2026)."""

    backend_type = 'cuda'

    def __init__(self, machine: Machine, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.address, self.stream, self.kept = machine.cuda.put_elsewhere(pixels)

    def to_bytes(self) -> bytes:
        return self.pixels.tobytes()

    def __len__(self) -> int:
        return int(self.pixels.nbytes)


class ReadHandle:
    """cuda_buffer.CudaReadHandle of cuda_buffer_py, not released yet.

    As ros2/rosidl_buffer_backends has it in pull requests 6 (7 August 2026) and 20 (4 September
    2026), both open, read on 30 November 2026: device_ptr, closed, close(), a context manager;
    CudaBuffer.from_input_buffer(buffer, stream=None), None for a stream of the buffers' own. An
    earlier state of it had device_id too, so the GPU is asked for by the address.
    """

    def __init__(self, buffer: Buffer, stream: int | None) -> None:
        if stream is not None:
            order_streams(buffer.stream, stream)
        self.device_ptr, self.closed = buffer.address, False

    def __enter__(self) -> ReadHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


def message(data: Any) -> Any:
    stamp = SimpleNamespace(sec=5, nanosec=6)
    header = SimpleNamespace(stamp=stamp, frame_id='front')
    return SimpleNamespace(
        header=header, height=90, width=160, step=480, encoding='bgr8', is_bigendian=0, data=data
    )


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[ReadHandle]:
    """The package of the buffers; the handles that it gave."""
    given: list[ReadHandle] = []

    def from_input_buffer(buffer: Buffer, stream: int | None = None) -> ReadHandle:
        given.append(ReadHandle(buffer, stream))
        return given[-1]

    package: Any = ModuleType('cuda_buffer')
    package.CudaBuffer = SimpleNamespace(from_input_buffer=from_input_buffer)
    monkeypatch.setitem(sys.modules, 'cuda_buffer', package)
    return given


def test_a_message_s_cuda_buffer_is_read_where_it_is(
    make_machine: MakeMachine, spec: ModelSpec, handles: list[ReadHandle]
) -> None:
    machine, plain = make_machine(), frame(6)
    found = as_frame(message(Buffer(machine, plain.pixels)))
    assert isinstance(found, DeviceFrame)
    assert (found.frame_id, found.stamp) == ('front', (5, 6))
    with create_engine(spec, 'tensorrt') as engine:
        (wanted,) = engine.segment([plain])
        pending = engine.start([found])
        assert [handle.closed for handle in handles] == [False]
        np.testing.assert_array_equal(pending()[0].labels, wanted.labels)
        assert [handle.closed for handle in handles] == [True]
        assert engine.traffic == Traffic(0, 0, engine.traffic.download)


@pytest.mark.parametrize('gpu', [0, 1])
def test_a_buffer_s_own_gpu_is_asked_for_its_pixels(
    make_machine: MakeMachine,
    handles: list[ReadHandle],
    monkeypatch: pytest.MonkeyPatch,
    gpu: int,
) -> None:
    machine, plain = make_machine(), frame(6)
    buffer = Buffer(machine, plain.pixels)
    machine.driver.gpus[buffer.address] = gpu
    asked: list[int] = []

    def selected(number: int) -> Any:
        asked.append(number)
        return driver.select_gpu(0)

    monkeypatch.setattr(device_frame, 'select_gpu', selected)
    found = as_frame(message(buffer))
    assert not handles  # nothing is asked for a frame that stays on the device
    np.testing.assert_array_equal(found.pixels, plain.pixels)
    assert asked == [gpu]
    assert [handle.closed for handle in handles] == [True, True]


def test_a_buffer_of_more_megapixels_than_allowed_is_refused(
    make_machine: MakeMachine, handles: list[ReadHandle]
) -> None:
    found = message(Buffer(make_machine(), frame().pixels))
    assert isinstance(frame_of_message(found, 0.0144), DeviceFrame)
    with pytest.raises(FrameError, match='160x90.*megapixels'):
        frame_of_message(found, 0.0143)


def test_without_its_package_the_message_is_copied(make_machine: MakeMachine) -> None:
    plain = frame(6)
    found = as_frame(message(Buffer(make_machine(), plain.pixels)))
    assert type(found) is Frame
    np.testing.assert_array_equal(found.pixels, plain.pixels)


def test_a_buffer_that_is_too_short_is_refused(
    make_machine: MakeMachine, handles: list[ReadHandle]
) -> None:
    short = message(Buffer(make_machine(), frame().pixels))
    short.height = 91
    with pytest.raises(FrameError, match='43200 bytes .* are no 160x91 bgr8 image'):
        as_frame(short)
