# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The network on the device: images in device memory to scores, results in one block."""

from __future__ import annotations

import logging
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines.cuda.device import (
    CapturedWork,
    CudaDevice,
    DeviceBuffer,
    Lease,
    aligned,
)
from segformer_ros.engines.cuda.driver import load_driver
from segformer_ros.engines.cuda.launches import (
    MAX_BATCH,
    FrameOutput,
    Image,
    Tensor,
    preprocess_job,
)
from segformer_ros.engines.engine import EngineError, Wanted
from segformer_ros.engines.placement import Fit
from segformer_ros.engines.trt.session import Session, TensorInfo
from segformer_ros.frame import BlockedRows, Frame, Segmentation, StageTimes
from segformer_ros.model import ModelSpec

SETTLED = 4
"""Consecutive runs at one batch before a CUDA graph is captured, which costs time."""

_log = logging.getLogger(__name__)


def check_engine(session: Session, spec: ModelSpec) -> None:
    """Raises EngineError unless an engine takes and gives what a model does."""
    pixels, output = session.input, session.output(spec.output_name)
    if pixels.dtype not in (np.float32, np.float16):
        raise EngineError(
            f'the engine takes {pixels.dtype} pixels; build it from a model with a float input'
        )
    if (output.dtype.kind in 'iu') != (spec.output_kind == 'labels'):
        raise EngineError(
            f'the engine gives {output.dtype} values, not {spec.output_kind}; it was not built '
            'from this model'
        )
    wanted = dict(zip('CHW', (3, *spec.size)))
    _check_sides(pixels, spec.input_layout, wanted, 'takes')
    if spec.output_kind != 'labels':
        _check_sides(output, spec.output_layout, {'C': len(spec.class_map)}, 'gives')


def _check_sides(tensor: TensorInfo, layout: str, wanted: Dict[str, int], verb: str) -> None:
    """Raises EngineError unless a tensor of this layout has the wanted lengths of its axes.

    A side of -1 is known once the input's is.
    """
    sides = dict(zip(layout, tensor.shape))
    if len(layout) == len(tensor.shape) and all(
        sides[axis] in (side, -1) for axis, side in wanted.items()
    ):
        return
    asked = ', '.join(f'{axis} {side}' for axis, side in wanted.items())
    raise EngineError(
        f'the engine {verb} {tensor.name!r} as {tensor.shape}, but the model as {layout} with '
        f'{asked}; it was not built from this model'
    )


class NetworkRunner:
    """Runs batches of up to `max_batch` images on one stream, one after another.

    The network's input and output stay at their addresses: a batch's scores are those of the
    latest `infer`, until the next one runs.

    A CUDA graph is valid only at the batch that it was captured at: once the execution context has
    had another one, launching the graph is undefined, even back at its own batch.
    """

    def __init__(self, device: CudaDevice, session: Session, spec: ModelSpec, stream: Any) -> None:
        self._device = device
        self._session = session
        self._spec = spec
        self._stream = stream
        check_engine(session, spec)
        self._output = session.output(spec.output_name)
        self.max_batch = min(session.max_batch, MAX_BATCH)
        self._graph: Optional[CapturedWork] = None
        self._no_graph = '' if session.may_be_captured else 'TensorRT-RTX makes its own'
        self._runs = 0  # at the present batch
        session.set_batch(session.max_batch)
        self._batch = session.max_batch
        self._buffers = {info.name: DeviceBuffer(device) for info in (session.input, self._output)}
        others = {info.name for info in session.tensors} - set(self._buffers)
        if others:
            raise EngineError(f'the engine has outputs that nothing reads: {", ".join(others)}')
        session.set_addresses(
            {
                info.name: self._buffers[info.name].reserve(
                    int(np.prod(session.shape(info.name))) * info.dtype.itemsize
                )
                for info in (session.input, self._output)
            }
        )

    def close(self) -> None:
        """Free what TensorRT and the driver, not PyCUDA, hold."""
        self._drop_graph()
        self._session.close()

    @property
    def graph(self) -> str:
        """Whether the network runs as a CUDA graph: 'yes', 'not yet', or why it cannot."""
        return 'yes' if self._graph else self._no_graph or 'not yet'

    @property
    def scores(self) -> Tensor:
        """The network's output at the present batch."""
        return self._tensor(self._output.name, self._spec.output_layout)

    def prepare(self, images: Sequence[Image], fits: Sequence[Fit]) -> None:
        """Start writing a batch of images into the network's input."""
        batch = self._session.max_batch if self._session.fixed_batch else len(images)
        if batch != self._batch:
            self._drop_graph()
            self._session.set_batch(batch)
            self._batch, self._runs = batch, 0
        pixels = self._tensor(self._session.input.name, self._spec.input_layout)
        self._device.launch(preprocess_job(images, fits, pixels, self._spec), self._stream)

    def infer(self) -> None:
        """Start the network, as a CUDA graph where the batch has settled."""
        if self._graph:
            self._graph.launch()
            return
        # The first run after a change of shape makes calls that cannot be captured.
        self._session.enqueue(self._stream.handle)
        self._runs += 1
        if not self._no_graph and self._runs >= SETTLED:
            self._capture()

    def _drop_graph(self) -> None:
        if self._graph:
            self._graph.close()
        self._graph = None

    def _capture(self) -> None:
        stream = self._stream.handle
        try:
            self._graph = CapturedWork.capture(
                load_driver(), stream, lambda: self._session.enqueue(stream)
            )
        except EngineError as error:
            self._no_graph = str(error)
            _log.info('the network runs without a CUDA graph: %s', error)

    def _tensor(self, name: str, layout: str) -> Tensor:
        """The network's input or output as it lies at the present batch."""
        info = self._output if name == self._output.name else self._session.input
        return Tensor(
            self._buffers[name].reserve(0),
            self._session.shape(name),
            layout,
            info.dtype,
            info is self._output and self._spec.output_kind == 'probabilities',
        )


_ROW = np.dtype(np.int32)


class Place(NamedTuple):
    """Where one frame's results lie: offsets in bytes, 0 for what is not made; size in pixels."""

    height: int
    width: int
    labels: int
    confidence: int
    overlay: int
    blocked: int
    drivable: Tuple[int, ...]
    on_device: bool

    def output(
        self, address: int, fit: Fit, image: Image, frame: Optional[Tuple[int, int]] = None
    ) -> FrameOutput:
        """What the kernels are to write into a block at an address; `frame` as in FrameOutput."""
        return FrameOutput(
            self.height,
            self.width,
            fit,
            address + self.labels,
            address + self.confidence if self.confidence else 0,
            address + self.overlay if self.overlay else 0,
            address + self.blocked if self.blocked else 0,
            image if self.overlay else None,
            frame,
        )

    def read(self, lease: Lease, times: StageTimes) -> Segmentation:
        """The results, once the kernels have written them."""
        size = (self.height, self.width)
        array: Any = lease.device_array if self.on_device else lease.array
        return Segmentation(
            array(self.labels, size),
            times,
            array(self.confidence, size) if self.confidence else None,
            array(self.overlay, (*size, 3)) if self.overlay else None,
            self._read_blocked(lease) if self.blocked else None,
        )

    def _read_blocked(self, lease: Lease) -> BlockedRows:
        rows = lease.array(self.blocked, (self.width * _ROW.itemsize,)).view(_ROW)
        return BlockedRows(rows, self.drivable)


def lay_out(
    frames: Sequence[Frame], wanted: Wanted, has_confidence: bool
) -> Tuple[List[Place], int]:
    """Places of a batch's results, and the bytes of the block that holds them.

    has_confidence: whether the network gives any. An overlay is made at the frame's own size.
    """
    places: List[Place] = []
    end = 0
    for frame in frames:
        own = (frame.height, frame.width)
        height, width = wanted.size or own
        parts = (
            height * width,
            height * width if wanted.confidence and has_confidence else 0,
            3 * height * width if wanted.overlay is not None and (height, width) == own else 0,
            _ROW.itemsize * width if wanted.drivable and not wanted.on_device else 0,
        )
        starts = []
        for size in parts:
            starts.append(end if size else 0)
            end += aligned(size)
        labels, confidence, overlay, blocked = starts
        offsets = (labels, confidence, overlay, blocked)
        places.append(Place(height, width, *offsets, wanted.drivable, wanted.on_device))
    return places, end
