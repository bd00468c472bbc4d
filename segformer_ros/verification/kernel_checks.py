# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Checks of the kernels: against a golden reference (slow, plain, float64), and of their speed.

Their time is compared with that of a mere copy of as many bytes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, Callable, Iterator, List, NamedTuple, Protocol, Sequence, Tuple

import numpy as np

from segformer_ros.drawing.overlay import blend
from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.engines import EngineError, fake_spec
from segformer_ros.engines.cuda import launches
from segformer_ros.engines.cuda.device import CapturedWork, CudaDevice
from segformer_ros.engines.cuda.driver import load_driver
from segformer_ros.engines.placement import Fit, LogitMosaic, covered, fit_frame, windows
from segformer_ros.engines.upsampling import confidence_map
from segformer_ros.frame import Frame
from segformer_ros.model import STRIDE
from segformer_ros.model.spec import IMAGENET_MEAN, IMAGENET_STD

TIE = 1e-3
"""Scores closer than this may fall either way in FP32."""

CLASSES = 19
DRIVABLE = (0, 1, 9)
OPACITY = 0.4
SIZES = ((96, 160), (37, 53), (1, 1), (241, 135), (130, 333))


class Kernels(Protocol):
    """A device that runs kernels."""

    def put(self, array: np.ndarray) -> int:
        """Copy an array to the device; its address."""

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        """Copy an array of this shape and type back."""

    def launch(self, job: launches.Launch) -> None:
        """Run a kernel; done when the next `get` returns."""


class KernelResult(NamedTuple):
    """One comparison. wrong: share of the values that differ by more than rounding."""

    kernel: str
    case: str
    wrong: float

    def __str__(self) -> str:
        return f'{self.kernel} of {self.case}: {self.wrong:.2e} of the values are wrong'


def compare_encoding(kernels: Kernels, encoding: str) -> Iterator[KernelResult]:
    """Everything computed from whole frames of an encoding, in FP32 and FP16."""
    for kind, size in product((np.float32, np.float16), SIZES):
        yield _compare_preprocess(kernels, encoding, size, np.dtype(kind))
        yield from _compare_postprocess(kernels, encoding, size, np.dtype(kind))


def compare_mosaic(kernels: Kernels) -> Iterator[KernelResult]:
    """The logits of a frame's windows, merged."""
    for kind in (np.float32, np.float16):
        yield _compare_mosaic(kernels, np.dtype(kind))


def _compare_preprocess(
    kernels: Kernels, encoding: str, size: Tuple[int, int], kind: np.dtype
) -> KernelResult:
    """The network's input for a frame with padded rows."""
    spec = replace(
        fake_spec((96, 160)), color='rgb', fit='letterbox', mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    frame, image = _put_frame(kernels, encoding, size)
    fit = fit_frame(size, spec.size, spec.fit)
    target = np.zeros((1, 3, *spec.size), kind)
    tensor = launches.Tensor(kernels.put(target), target.shape, 'NCHW', kind)
    kernels.launch(launches.preprocess_job([image], [fit], tensor, spec))
    result = kernels.get(tensor.address, target)[0].astype(np.float64)
    mean, std = (np.array(values)[:, None, None] for values in (spec.mean, spec.std))  # (3, 1, 1)
    golden = np.zeros((3, *spec.size))
    colors = np.moveaxis(frame.bgr().astype(np.float64), -1, 0)[::-1]  # (3, H, W) RGB
    height, width = fit.content
    golden[:, :height, :width] = resize_bilinear(colors, fit.content)
    # Half a level of rounding, and what FP16 adds.
    allowed = 0.5 + (0.13 if kind == np.float16 else 1e-3)
    wrong = np.abs(result * std + mean - golden) > allowed
    return KernelResult('preprocess', f'{encoding} {size}, {kind}', float(wrong.mean()))


def _compare_postprocess(
    kernels: Kernels, encoding: str, size: Tuple[int, int], kind: np.dtype
) -> Iterator[KernelResult]:
    """Labels, confidence, overlay and blocked rows."""
    frame, image = _put_frame(kernels, encoding, size)
    scores = np.random.default_rng(1).normal(0, 3, (1, CLASSES, 32, 48)).astype(kind)
    tensor = launches.Tensor(kernels.put(scores), scores.shape, 'NCHW', kind)
    cells = np.zeros((32, 48), np.float32)
    best = kernels.put(cells)
    rivals = kernels.put(cells.astype(np.uint32))
    kernels.launch(launches.cells_job(tensor, 1, best=best, rivals=rivals))
    labels, overlay = np.zeros(size, np.uint8), np.zeros((*size, 3), np.uint8)
    rows = np.full(size[1], -1, np.int32)
    output = launches.FrameOutput(
        *size,
        Fit((1, 1), (1, 1)),
        labels=kernels.put(labels),
        confidence=kernels.put(labels),
        overlay=kernels.put(overlay),
        blocked=kernels.put(rows),
        image=image,
    )
    palette = fake_spec().class_map.palette_bgr
    coloring = launches.Coloring(kernels.put(palette), OPACITY, DRIVABLE)
    kernels.launch(launches.postprocess_job([output], tensor, None, rivals, best, 0.0, coloring))
    labels, confidence, overlay, rows = (
        kernels.get(getattr(output, name), like)
        for name, like in (
            ('labels', labels), ('confidence', labels), ('overlay', overlay), ('blocked', rows)
        )
    )  # fmt: skip
    golden = resize_bilinear(scores[0], size)  # (C, H, W)
    ranked = np.sort(golden, axis=0)  # the best score last
    wrong = (labels != golden.argmax(axis=0)) & (ranked[-1] - ranked[-2] > TIE)
    yield KernelResult('postprocess', f'labels {size}, {kind}', float(wrong.mean()))
    certain = confidence_map(scores[0].astype(np.float32), size)
    wrong = np.abs(confidence.astype(int) - certain) > 1
    yield KernelResult('cells', f'confidence {size}, {kind}', float(wrong.mean()))
    wrong = np.abs(overlay.astype(int) - blend(frame.bgr(), labels, palette, OPACITY)) > 1
    yield KernelResult('postprocess', f'overlay of {encoding} {size}, {kind}', float(wrong.mean()))
    starts = np.full(size[1], size[0] - 1, np.int32)
    wrong = rows != first_blocked_rows(labels, IdSet(DRIVABLE), starts)
    yield KernelResult('postprocess', f'blocked rows {size}, {kind}', float(wrong.mean()))


def _compare_mosaic(kernels: Kernels, kind: np.dtype) -> KernelResult:
    """The logits of windows, merged in two batches."""
    frame, crop = (150, 331), (64, 96)
    todo = windows(frame, crop, 0)
    cells = (crop[0] // STRIDE, crop[1] // STRIDE)
    logits = np.random.default_rng(2).normal(0, 3, (len(todo), CLASSES, *cells)).astype(kind)
    golden = LogitMosaic(CLASSES, frame)
    for window, scores in zip(todo, logits):
        golden.add(window, scores.astype(np.float32))
    height, width = covered(frame)
    merged = np.zeros((1, CLASSES, height // STRIDE, width // STRIDE), np.float32)
    mosaic = launches.Mosaic(
        launches.Tensor(kernels.put(merged), merged.shape, 'NCHW', merged.dtype),
        kernels.put(merged[0, 0]),
        STRIDE,
    )
    half = -(-len(todo) // 2)
    for place in (slice(half), slice(half, None)):
        part = logits[place]
        tensor = launches.Tensor(kernels.put(part), part.shape, 'NCHW', kind)
        kernels.launch(
            launches.mosaic_job(tensor, todo[place], mosaic, not place.start, place.stop is None)
        )
    result = kernels.get(mosaic.tensor.address, merged)[0]
    wrong = ~np.isclose(result, golden.mean(), rtol=1e-5, atol=1e-5)
    return KernelResult('mosaic', f'{len(todo)} windows, {kind}', float(wrong.mean()))


def _put_frame(
    kernels: Kernels, encoding: str, size: Tuple[int, int]
) -> Tuple[Frame, launches.Image]:
    """A frame of noise with padded rows, on the host and on the device."""
    channels = len(launches.BYTE_ORDER[encoding])
    shape = (size[0], size[1] + 7, channels)[: 2 if channels == 1 else 3]
    padded = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    frame = Frame.from_array(padded[:, : size[1]], encoding)
    return frame, launches.Image(kernels.put(padded), padded.strides[0], *size, encoding)


def resize_bilinear(planes: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resize (C, h, w) to (C, height, width) float64; samples lie at pixel centres.

    The same rule as OpenCV's INTER_LINEAR and PyTorch's `align_corners=False`: no antialiasing,
    the border is repeated.
    """
    rows, row_weights = _taps(planes.shape[1], size[0])
    columns, column_weights = _taps(planes.shape[2], size[1])
    planes = planes.astype(np.float64)
    above, below = planes[:, rows[0]], planes[:, rows[1]]
    planes = above + (below - above) * row_weights[None, :, None]  # (C, height, w)
    left, right = planes[:, :, columns[0]], planes[:, :, columns[1]]  # (C, height, width)
    return np.asarray(left + (right - left) * column_weights[None, None, :])


def _taps(source: int, target: int) -> Tuple[np.ndarray, np.ndarray]:
    """For each target sample, its two source samples (2, target), and the second's weight."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    position = np.clip(position, 0, source - 1)
    first = np.floor(position).astype(np.intp)
    second = np.minimum(first + 1, source - 1)
    return np.stack([first, second]), position - first


NETWORK = (1024, 1024)
FRAME = (1080, 1920)
"""(height, width) of the network's input and of the frames that are timed."""

COPIED = 256 << 20
"""Bytes that are copied within the device to measure its bandwidth."""

MOST = {'pre': 1.5, 'post': 2.0}
"""Most time, in multiples of the floor, for preprocessing a frame and making its mask."""

BUDGET = 1e6
"""Microseconds for timing one piece of work, roughly: slow ones are run less often."""

STARTED = 5.0
"""Microseconds allowed for starting a kernel, in addition."""


class DeviceKernels:
    """The kernels on a device; to be used with its context current. Keeps all memory."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._stream = device.create_stream()
        self._begin, self._end = device.create_event(), device.create_event()
        self._kept: List[Any] = []

    def allocate(self, size: int) -> int:
        """Address of `size` bytes."""
        self._kept.append(self._device.allocate(size))
        return int(self._kept[-1])

    def put(self, array: np.ndarray) -> int:
        """Copy an array to the device; its address."""
        self._kept.append(self._device.store(array))
        return int(self._kept[-1])

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        """Copy an array of this shape and type back, once all kernels are done."""
        host = self._device.allocate_host(like.nbytes).host
        self._device.download(host, address, self._stream)
        self._end.record(self._stream)
        self._end.synchronize()
        return host.view(like.dtype).reshape(like.shape).copy()

    def launch(self, job: launches.Launch) -> None:
        """Start a kernel."""
        self._device.launch(job, self._stream)

    def launch_all(self, jobs: Sequence[launches.Launch]) -> None:
        """Start kernels one after the other."""
        for job in jobs:
            self.launch(job)

    def copy(self, target: int, source: int, size: int) -> None:
        """Start copying within the device."""
        self._device.copy(target, source, size, self._stream)

    def time(self, work: Callable[[], None], runs: int = 20, rounds: int = 5) -> float:
        """Mean microseconds of a piece of work, run back to back.

        As a CUDA graph if the driver has them: launching a kernel from Python often takes longer
        than the kernel.
        """
        self._begin.record(self._stream)
        work()
        self._end.record(self._stream)
        self._end.synchronize()
        once = 1e3 * float(self._begin.time_till(self._end))
        if once * runs * rounds > BUDGET:
            rounds = 1
            runs = min(runs, max(1, int(BUDGET / once)))

        def all_runs() -> None:
            for _ in range(runs):
                work()

        start, close = all_runs, _nothing
        try:
            graph = CapturedWork.capture(load_driver(), self._stream.handle, all_runs)
        except EngineError:
            pass
        else:
            start, close = graph.launch, graph.close
        start()
        self._begin.record(self._stream)
        for _ in range(rounds):
            start()
        self._end.record(self._stream)
        self._end.synchronize()
        close()
        return 1e3 * float(self._begin.time_till(self._end)) / (runs * rounds)


def _nothing() -> None:
    pass


class KernelTime(NamedTuple):
    """Microseconds of a piece of work; floor: the least that moving its bytes takes."""

    name: str
    microseconds: float
    floor: float

    @property
    def within(self) -> bool:
        """Whether it takes no longer than promised, if anything is promised."""
        most = MOST.get(self.name.split(',')[0])
        return most is None or self.microseconds <= most * self.floor + STARTED

    def __str__(self) -> str:
        return f'{self.name}: {self.microseconds:.1f} us, {self.microseconds / self.floor:.2f}x'


def bandwidth(kernels: DeviceKernels) -> float:
    """Bytes that the device reads or writes in a microsecond when it copies its own memory."""
    source, target = kernels.allocate(COPIED), kernels.allocate(COPIED)
    return 2 * COPIED / kernels.time(partial(kernels.copy, target, source, COPIED), 2)


def kernel_times(kernels: DeviceKernels, moved_per_us: float, kind: np.dtype) -> List[KernelTime]:
    """Times for preprocessing a 1080p frame, and for each result from the logits.

    moved_per_us: see `bandwidth`. kind: type of input and logits.
    """
    return [
        KernelTime(f'{name}, {kind}', kernels.time(partial(kernels.launch_all, jobs)), least)
        for name, jobs, moved in _works(kernels, kind)
        for least in [moved / moved_per_us]
    ]


class _Work(NamedTuple):
    """Consecutive kernels, and the bytes that they have to move at least."""

    name: str
    jobs: Sequence[launches.Launch]
    moved: int


def _works(kernels: DeviceKernels, kind: np.dtype) -> Iterator[_Work]:
    pixels = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), np.uint8)
    image = launches.Image(kernels.put(pixels), pixels.strides[0], *FRAME, 'bgr8')
    spec = replace(fake_spec(NETWORK), color='rgb', mean=IMAGENET_MEAN, std=IMAGENET_STD)
    fit = Fit(NETWORK, NETWORK)
    values = 3 * NETWORK[0] * NETWORK[1] * kind.itemsize
    tensor = launches.Tensor(kernels.allocate(values), (1, 3, *NETWORK), 'NCHW', kind)
    job = launches.preprocess_job([image], [fit], tensor, spec)
    yield _Work('pre', [job], pixels.nbytes + values)

    cells = (NETWORK[0] // STRIDE, NETWORK[1] // STRIDE)
    # As a street has them: large areas of one class.
    coarse = np.random.default_rng(1).normal(0, 3, (CLASSES, 8, 8))
    scores = resize_bilinear(coarse, cells)[None].astype(kind)
    logits = launches.Tensor(kernels.put(scores), scores.shape, 'NCHW', kind)
    mask = FRAME[0] * FRAME[1]
    labels, confidence, overlay = (kernels.allocate(size) for size in (mask, mask, 3 * mask))
    count = cells[0] * cells[1]
    best, rivals = kernels.allocate(4 * count), kernels.allocate(4 * count)
    blocked = kernels.put(np.full(FRAME[1], -1, np.int32))
    before = launches.cells_job(logits, 1, rivals=rivals)
    sure = launches.cells_job(logits, 1, best=best, rivals=rivals)
    coloring = launches.Coloring(kernels.put(spec.class_map.palette_bgr), 0.5, DRIVABLE)
    plain = launches.FrameOutput(*FRAME, fit, labels)
    for name, output, moved in (
        ('post', plain, mask),
        ('post with confidence', plain._replace(confidence=confidence), 2 * mask + 4 * count),
        ('post with overlay', plain._replace(overlay=overlay, image=image), 7 * mask),
        ('post with blocked rows', plain._replace(blocked=blocked), mask),
    ):
        first = sure if output.confidence else before
        job = launches.postprocess_job([output], logits, None, rivals, best, 0.0, coloring)
        yield _Work(name, [first, job], scores.nbytes + moved)
