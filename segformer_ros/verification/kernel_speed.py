# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The kernels on a GPU, and how near they come to what moving their bytes alone takes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Callable, Iterator, List, NamedTuple, Sequence

import numpy as np

from segformer_ros.engines import EngineError, fake_spec
from segformer_ros.engines.cuda import launches
from segformer_ros.engines.cuda.device import CapturedWork, CudaDevice
from segformer_ros.engines.cuda.driver import load_driver
from segformer_ros.engines.placement import Fit
from segformer_ros.model import STRIDE
from segformer_ros.model.spec import IMAGENET_MEAN, IMAGENET_STD
from segformer_ros.verification.golden import CLASSES, DRIVABLE, resize_bilinear

NETWORK = (1024, 1024)
FRAME = (1080, 1920)
"""(height, width) of the network's input and of the frames that are timed."""

COPIED = 256 << 20
"""Bytes that are copied within the device to see what it moves in a second."""

MOST = {'pre': 1.5, 'post': 2.0}
"""Times the floor that preparing a frame, and making its mask, may take."""

BUDGET = 1e6
"""Microseconds that one piece of work is timed, or little more: slow ones are run less often."""

STARTED = 5.0
"""Microseconds that starting a kernel may add, whatever it does."""


class DeviceKernels:
    """The kernels on a device; to be used with its context current. What was put stays."""

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
        """Microseconds of a piece of work, the mean of those that follow each other.

        As a CUDA graph where the driver has them: starting a kernel from Python takes longer than
        many a kernel.
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
    """Microseconds of a piece of work, and those that moving its bytes takes at least."""

    name: str
    microseconds: float
    floor: float

    @property
    def within(self) -> bool:
        """Whether it takes no longer than is promised, where something is."""
        most = MOST.get(self.name.split(',')[0])
        return most is None or self.microseconds <= most * self.floor + STARTED

    def __str__(self) -> str:
        return f'{self.name}: {self.microseconds:.1f} us, {self.microseconds / self.floor:.2f}x'


def bandwidth(kernels: DeviceKernels) -> float:
    """Bytes that the device reads or writes in a microsecond, when it copies within itself."""
    source, target = kernels.allocate(COPIED), kernels.allocate(COPIED)
    return 2 * COPIED / kernels.time(partial(kernels.copy, target, source, COPIED), 2)


def kernel_times(kernels: DeviceKernels, moved_per_us: float, kind: np.dtype) -> List[KernelTime]:
    """1080p into the input of a network, and from its logits everything that comes of them.

    moved_per_us: see `bandwidth`. kind: type of input and logits.
    """
    return [
        KernelTime(f'{name}, {kind}', kernels.time(partial(kernels.launch_all, jobs)), least)
        for name, jobs, moved in _works(kernels, kind)
        for least in [moved / moved_per_us]
    ]


class _Work(NamedTuple):
    """Kernels that follow each other, and the bytes that they have to move at least."""

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
