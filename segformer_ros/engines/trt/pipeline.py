# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The pipeline: frames through upload, kernels, network, kernels and download, overlapping."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines.cuda.device import (
    CudaDevice,
    DeviceBuffer,
    HostBlock,
    Lease,
    ResultPool,
    Uploads,
    aligned,
)
from segformer_ros.engines.cuda.device_frame import Acquired, DeviceFrame
from segformer_ros.engines.cuda.driver import check_reachable
from segformer_ros.engines.cuda.launches import (
    Coloring,
    FrameOutput,
    Image,
    Mosaic,
    Tensor,
    cells_job,
    mosaic_job,
    postprocess_job,
)
from segformer_ros.engines.engine import (
    EngineError,
    EngineOptions,
    GivenUpError,
    Traffic,
    Wanted,
)
from segformer_ros.engines.placement import Fit, check_stride, covered, fit_frame, windows
from segformer_ros.engines.trt.network_runner import NetworkRunner, Place, lay_out
from segformer_ros.engines.trt.session import Session
from segformer_ros.frame import Frame, Segmentation, StageTimes
from segformer_ros.model import ModelSpec
from segformer_ros.model.shape import cell_stride

SLOTS = 2
"""Batches under way: while one is in the network, the next is uploaded."""


@dataclass
class _Slot:
    """What one batch under way holds."""

    uploads: Uploads
    results: DeviceBuffer
    cells: DeviceBuffer
    events: Dict[str, Any]
    places: List[Place] = field(default_factory=list)
    lease: Optional[Lease] = None
    acquired: List[Acquired] = field(default_factory=list)
    staging: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)

    def release(self) -> None:
        """Release frames that were on the device, which nothing reads any more."""
        while self.acquired:
            self.acquired.pop().release()


class PipelineRun(NamedTuple):
    """Frames of one call: batches that wait, and numbers of the slots of those in flight.

    era: identity of the pipeline's state; an error replaces it and drops everything in flight.
    """

    batches: Deque[Sequence[Frame]]
    slots: Deque[int]
    wanted: Wanted
    era: object


class _Scored(NamedTuple):
    """The scores of a batch, and addresses for what `cells_job` writes for each of their cells.

    best: (frames, height, width) float32. rivals, labels: the same in uint32 and uint8.
    """

    scores: Tensor
    best: int
    rivals: int
    labels: int


_CELL = 9
"""Bytes per cell: float32 best, uint32 rivals and uint8 label."""


def _scored(scores: Tensor, address: int, count: int) -> _Scored:
    """Room for `count` cells at an address."""
    return _Scored(scores, address, address + 4 * count, address + 8 * count)


class Pipeline:
    """Runs one engine on one device; to be used with the device's context current.

    results: the pool of its results' memory, which outlives it.
    """

    def __init__(
        self, device: CudaDevice, session: Session, spec: ModelSpec, options: EngineOptions
    ) -> None:
        self._device = device
        self._slides = options.inference == 'slide'
        self._step = options.slide_stride
        self._upload, self._compute, self._download = (device.create_stream() for _ in range(3))
        self._runner = NetworkRunner(device, session, spec, self._compute)
        self._together = 1 if self._slides else self._runner.max_batch
        cells = self._runner.scores.side('H'), self._runner.scores.side('W')
        self._spec = replace(spec, stride=cell_stride(spec.size, cells))
        if self._slides:
            self._spec = check_stride(spec, cells)
        self.traffic = Traffic()
        self._era = object()
        self.results = ResultPool(device)
        self._palette = device.store(spec.class_map.palette_bgr)
        names = ('begun', 'uploaded', 'started', 'prepared', 'inferred', 'finished', 'done')
        self._slots = [
            _Slot(
                Uploads(device),
                DeviceBuffer(device),
                DeviceBuffer(device),
                {name: device.create_event() for name in names},
            )
            for _ in range(SLOTS)
        ]

    @property
    def max_batch(self) -> Optional[int]:
        """Most frames that run at once; None with sliding windows."""
        return None if self._slides else self._runner.max_batch

    @property
    def graph(self) -> str:
        """Whether the network runs as a CUDA graph: 'yes', 'not yet', or why it cannot."""
        return self._runner.graph

    def close(self) -> None:
        """Free all that it has on the device, but results, whoever still refers to it.

        The frames of an error do so, which refer to themselves where a context manager made it
        another error (Python 3.12 and later).
        """
        self._abandon()
        self._runner.close()
        vars(self).clear()

    def start(self, frames: Sequence[Frame], wanted: Wanted) -> PipelineRun:
        """Put as many batches of frames on their way as there are slots free."""
        starts = range(0, len(frames), self._together)
        batches = deque(frames[first : first + self._together] for first in starts)
        run = PipelineRun(batches, deque(), wanted, self._era)
        try:
            self._advance(run)
        except BaseException:
            self._abandon()
            raise
        return run

    def finish(self, run: PipelineRun) -> List[Segmentation]:
        """The results of a run's frames; runs are finished in the order of their start.

        Raises GivenUpError where they ended with another run's error.
        """
        if run.era is not self._era:
            raise GivenUpError('an error of the frames before ended this one too; it is dropped')
        self.traffic = Traffic()
        results: List[Segmentation] = []
        try:
            self._advance(run)  # where no slot was free when it started
            while run.slots:
                results += self._collect(self._slots[run.slots.popleft()])
                self._advance(run)
            if run.batches:
                raise EngineError('no room: results of frames started before were never taken')
        except BaseException:
            self._abandon()
            raise
        return results

    def _advance(self, run: PipelineRun) -> None:
        """Submit batches to the free slots."""
        for number, slot in enumerate(self._slots):
            if run.batches and slot.lease is None:
                self._submit(slot, run.batches.popleft(), run.wanted)
                run.slots.append(number)

    def _abandon(self) -> None:
        """Wait for what is in flight: the next call writes into the memory that it uses."""
        for stream in (self._upload, self._compute, self._download):
            self._device.drain(stream)
        for slot in self._slots:
            slot.lease = None
            slot.release()
        self._era = object()

    def _submit(self, slot: _Slot, frames: Sequence[Frame], wanted: Wanted) -> None:
        """Put a batch on the streams; nothing waits for the device here."""
        images = self._send(slot, frames)
        self._compute.wait_for_event(slot.events['uploaded'])
        slot.events['started'].record(self._compute)  # behind the batch before
        sizes = [(frame.height, frame.width) for frame in frames]
        if self._slides:
            spans = [covered(size, self._spec.stride) for size in sizes]
            fits = [Fit(span, span) for span in spans]
            scored = self._slide(slot, images[0])
        else:
            spec = self._spec
            fits = [fit_frame(size, spec.size, spec.fit, spec.stride) for size in sizes]
            scored = self._whole(slot, images, fits)
        slot.events['inferred'].record(self._compute)
        slot.places, used = lay_out(frames, wanted, self._spec.output_kind != 'labels')
        slot.lease = self.results.lease(used, self._compute.handle, wanted.on_device)
        address = slot.lease.block.address or slot.results.reserve(used)
        outputs = [
            place.output(address, fit, image, size if self._slides else None)
            for place, fit, image, size in zip(slot.places, fits, images, sizes)
        ]
        for output in outputs:
            if output.blocked:
                self._device.fill(output.blocked, -1, output.width, self._compute)
        self._postprocess(outputs, scored, wanted)
        slot.events['finished'].record(self._compute)
        self._fetch(slot, address, used)

    def _send(self, slot: _Slot, frames: Sequence[Frame]) -> List[Image]:
        """Copy the frames' pixels, rows packed, into page-locked memory and on to the device.

        Those that are on the device stay where they are.
        """
        start = perf_counter()
        sizes = [0 if isinstance(frame, DeviceFrame) else frame.pixels.size for frame in frames]
        offsets = np.cumsum([0, *(aligned(size) for size in sizes)]).tolist()
        memory = slot.uploads.reserve(offsets[-1])
        for frame, offset, size in zip(frames, offsets, sizes):
            if size:
                np.copyto(memory[offset : offset + size].reshape(frame.pixels.shape), frame.pixels)
        slot.staging = 1e3 * (perf_counter() - start)
        slot.events['begun'].record(self._upload)
        address, moved = slot.uploads.send(offsets[-1], self._upload) if any(sizes) else (0, 0)
        images = [
            self._acquire(slot, frame)
            if isinstance(frame, DeviceFrame)
            else Image(
                address + offset,
                frame.pixels.size // frame.height,
                frame.height,
                frame.width,
                frame.encoding,
            )
            for frame, offset in zip(frames, offsets)
        ]
        slot.events['uploaded'].record(self._upload)
        slot.traffic = Traffic(host=sum(sizes), upload=moved)
        return images

    def _acquire(self, slot: _Slot, frame: DeviceFrame) -> Image:
        """A frame on the device, with the upload's stream behind what writes its pixels."""
        acquired = frame.acquire(self._upload.handle)
        slot.acquired.append(acquired)
        check_reachable(acquired.address, self._device.gpu)
        return Image(acquired.address, frame.step, frame.height, frame.width, frame.encoding)

    def _whole(self, slot: _Slot, images: Sequence[Image], fits: Sequence[Fit]) -> _Scored:
        """Start the network on images resized to its input."""
        self._runner.prepare(images, fits)
        slot.events['prepared'].record(self._compute)
        self._runner.infer()
        scores = self._runner.scores
        count = len(images) * scores.side('H') * scores.side('W')
        return _scored(scores, slot.cells.reserve(_CELL * count), count)

    def _slide(self, slot: _Slot, image: Image) -> _Scored:
        """Start the network on each window of an image at its own scale; their mean scores.

        Only the first windows' preparation counts as such: the others' lies between inferences.
        """
        size, crop = (image.height, image.width), self._spec.size
        mosaic, scored = self._mosaic(slot, size)
        todo = windows(size, crop, self._step, self._spec.stride)
        batches = [
            todo[first : first + self._runner.max_batch]
            for first in range(0, len(todo), self._runner.max_batch)
        ]
        for number, batch in enumerate(batches):
            parts = [image.part(window, crop) for window in batch]
            fits = [Fit((part.height, part.width), crop) for part in parts]
            self._runner.prepare(parts, fits)
            if number == 0:
                slot.events['prepared'].record(self._compute)
            self._runner.infer()
            job = mosaic_job(
                self._runner.scores, batch, mosaic, number == 0, number == len(batches) - 1
            )
            self._device.launch(job, self._compute)
        return scored

    def _mosaic(self, slot: _Slot, size: Tuple[int, int]) -> Tuple[Mosaic, _Scored]:
        """Room for the merged logits of a frame of this (height, width)."""
        stride = self._spec.stride
        rows, columns = (side // stride for side in covered(size, stride))
        classes, count = self._runner.scores.side('C'), rows * columns
        logits = slot.cells.reserve((4 * classes + 4 + _CELL) * count)
        seen = logits + 4 * classes * count
        tensor = Tensor(logits, (1, classes, rows, columns), 'NCHW', np.dtype(np.float32))
        return Mosaic(tensor, seen, stride), _scored(tensor, seen + 4 * count, count)

    def _postprocess(
        self, outputs: Sequence[FrameOutput], scored: _Scored, wanted: Wanted
    ) -> None:
        """Start the kernels from the scores to the results."""
        spec, scores, count = self._spec, scored.scores, len(outputs)
        coloring = Coloring(int(self._palette), wanted.overlay or 0.0, wanted.drivable)
        labels, threshold = None, 0.0
        if spec.output_kind == 'labels':
            labels = scores
        else:
            threshold, fast = spec.threshold, wanted.upsampling == 'fast'
            job = cells_job(
                scores,
                count,
                scored.labels if fast else 0,
                scored.best if wanted.confidence or threshold else 0,
                0 if fast else scored.rivals,
            )
            self._device.launch(job, self._compute)
            if fast:
                shape = (count, scores.side('H'), scores.side('W'))
                labels = Tensor(scored.labels, shape, 'NHW', np.dtype(np.uint8))
        job = postprocess_job(
            outputs, scores, labels, scored.rivals, scored.best, threshold, coloring
        )
        self._device.launch(job, self._compute)

    def _fetch(self, slot: _Slot, address: int, used: int) -> None:
        """Start the download, unless results stay on the device or the host can see them there."""
        assert slot.lease is not None
        block = slot.lease.block
        if isinstance(block, HostBlock) and not block.address:
            self._download.wait_for_event(slot.events['finished'])
            self._device.download(block.host[:used], address, self._download)
            slot.traffic = slot.traffic.plus(download=used)
            slot.events['done'].record(self._download)
        else:
            slot.events['done'].record(self._compute)

    def _collect(self, slot: _Slot) -> List[Segmentation]:
        """Wait for a batch and take its results, which stay valid while they are referenced."""
        events, lease, count = slot.events, slot.lease, len(slot.places)
        assert lease is not None
        events['done'].synchronize()
        slot.lease = None
        slot.release()
        self.traffic = self.traffic.plus(*slot.traffic)
        upload = events['begun'].time_till(events['uploaded'])
        prepare = events['started'].time_till(events['prepared'])
        times = StageTimes(
            preprocess=(slot.staging + upload + prepare) / count,
            inference=events['prepared'].time_till(events['inferred']) / count,
            postprocess=events['inferred'].time_till(events['done']) / count,
        )
        return [place.read(lease, times) for place in slot.places]
