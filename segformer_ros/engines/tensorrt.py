# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The TensorRT engine: everything from the frame's pixels to the mask on the GPU."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from functools import partial
from time import perf_counter
from traceback import clear_frames
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from segformer_ros.engines.cache import cache_folder
from segformer_ros.engines.cuda.compile import load_kernels
from segformer_ros.engines.cuda.device import CudaDevice, GpuFault, ResultPool
from segformer_ros.engines.cuda.driver import Gpu, select_gpu
from segformer_ros.engines.cuda.launches import Image, Tensor, preprocess_job
from segformer_ros.engines.engine import (
    BrokenError,
    Engine,
    EngineError,
    EngineOptions,
    GivenUpError,
    Pending,
    Traffic,
    Wanted,
)
from segformer_ros.engines.placement import Fit
from segformer_ros.engines.precision import PRECISIONS
from segformer_ros.engines.trt.adapter import TensorRt, load_tensorrt
from segformer_ros.engines.trt.engine_loading import Provided, provide_engine
from segformer_ros.engines.trt.pipeline import Pipeline, PipelineRun
from segformer_ros.engines.trt.session import open_session
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.model import ModelError, ModelSpec

_TIMED_RUNS = 20

_log = logging.getLogger(__name__)


class _Retired(NamedTuple):
    """A device that is no longer used, and the pool of its results, which may still be."""

    device: CudaDevice
    results: Optional[ResultPool]

    def end(self) -> bool:
        """End the context, in the thread that made it, unless results are in use; tell whether."""
        if self.results:
            if self.results.in_use:
                return False
            with suppress(GpuFault), self.device.current():
                self.results.close()
        self.device.close()
        return True


class TensorRtEngine(Engine):
    """Runs an ONNX, or a built engine that belongs to it, through TensorRT and a CUDA binding.

    A GPU error drops the frames of its call. If it destroyed the context, calls raise BrokenError
    until the engine is activated again.
    """

    name = 'tensorrt'
    precisions = PRECISIONS

    def __init__(self, spec: ModelSpec, options: EngineOptions = EngineOptions()) -> None:
        super().__init__(spec, options)
        self._gpu: Optional[Gpu] = None
        self._library: Optional[TensorRt] = None
        self._device: Optional[CudaDevice] = None
        self._pipeline: Optional[Pipeline] = None
        self._facts: Dict[str, str] = {}
        self._active = False
        self._lost = False
        self._retired: List[_Retired] = []

    def activate(self) -> None:
        """Ask the driver, load or build the engine, set up the device; raises EngineError."""
        try:
            self._start()
        except EngineError as error:
            if not self._lost:
                raise
            raise EngineError(
                f'the GPU context could not be made anew ({error}); after some errors CUDA works '
                'in a new process alone: where this repeats, start the program again'
            ) from error
        if self._lost:
            _log.info('the GPU context was made anew')
        self._active, self._lost = True, False

    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> List[Segmentation]:
        """Segment frames of any sizes, in batches."""
        return self.start(frames, wanted)()

    @property
    def overlaps(self) -> bool:
        """The GPU works on what was started."""
        return True

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        """Put frames of any sizes on their way through the GPU, in batches."""
        if not self._active:
            raise EngineError(f'engine {self.name!r} is not active; call activate() first')
        if self._lost:
            raise BrokenError('the GPU context is lost; the frame is dropped')
        with self._running() as pipeline:
            return partial(self._finish, pipeline.start(frames, wanted))

    def _finish(self, run: PipelineRun) -> List[Segmentation]:
        with self._running() as pipeline:
            return pipeline.finish(run)

    @contextmanager
    def _running(self) -> Iterator[Pipeline]:
        """The pipeline in its context; faults of the GPU become EngineErrors."""
        if self._device is None or self._pipeline is None:
            raise GivenUpError('the GPU context was lost meanwhile; the frame is dropped')
        try:
            with self._device.current():
                yield self._pipeline
        except GpuFault as fault:
            if not fault.lost:
                raise EngineError(f'{fault}; the frame is dropped') from fault
            self._lost = True
            self._stop(fault)
            raise BrokenError(f'{fault}; the GPU context is lost') from fault

    def deactivate(self) -> None:
        """Release device memory and context."""
        self._active = False
        self._stop()

    def lose_context(self) -> None:
        """Make a kernel read an invalid address, which destroys the context.

        To test the recovery on a real GPU. Raises BrokenError once the GPU has noticed.
        """
        with self._running():
            assert self._device is not None
            _read_nowhere(self._device, self.spec)

    @property
    def traffic(self) -> Traffic:
        """What the last `segment` moved."""
        return self._pipeline.traffic if self._pipeline else Traffic()

    @property
    def memory(self) -> int:
        """Bytes of the device's memory in use, by all programs."""
        if self._device is None:
            return 0
        with self._device.current():
            return self._device.memory()

    @property
    def max_batch(self) -> Optional[int]:
        """Most frames that run at once; None with sliding windows."""
        return self._pipeline.max_batch if self._pipeline else None

    def facts(self) -> Dict[str, str]:
        """Device, precision and how it was chosen, layers per type, versions."""
        facts = {'engine': self.name, 'model': str(self.spec.path), **self._facts}
        if self._gpu:
            facts['device'] = self._gpu.label
            facts['driver'] = self._gpu.driver
            facts['memory'] = 'mapped' if self._gpu.integrated else 'copied'
        if self._library:
            facts['tensorrt'] = self._library.version
        if self._pipeline:
            facts['CUDA graph'] = self._pipeline.graph
        if self._lost:
            facts['state'] = 'GPU context lost'
        return facts

    def _start(self) -> None:
        """Set everything up; raises EngineError whatever the libraries raise."""
        try:
            self._set_up()
        except EngineError:
            raise
        except ModelError as error:
            raise EngineError(str(error)) from error
        except Exception as error:  # TensorRT's, PyCUDA's and ONNX's are of many kinds
            _log.debug('the engine could not be set up', exc_info=True)
            raise EngineError(f'{type(error).__name__}: {error}') from error

    def _set_up(self) -> None:
        self._end_contexts()
        self._gpu = select_gpu(self.options.device)  # first: TensorRT may crash without a driver
        self._library = load_tensorrt()
        self._device = CudaDevice(self._gpu, self.options.share_context)
        try:
            with self._device.current():
                self._prepare(self._library, self._device)
        except BaseException as error:
            self._stop(error)
            raise

    def _prepare(self, library: TensorRt, device: CudaDevice) -> None:
        """Kernels, engine and pipeline, in the current context."""
        folder = cache_folder(self.options.cache_dir)
        load_kernels(device.gpu.sm, folder, device.load_kernels)
        provided = provide_engine(
            library, self.spec, self.options, device.gpu, self._time, self.progress
        )
        self._pipeline = self._open(provided)
        self._facts = provided.facts

    def _open(self, provided: Provided) -> Pipeline:
        assert self._library is not None and self._device is not None
        session = open_session(self._library, provided.engine, provided.kernels)
        try:
            return Pipeline(self._device, session, provided.spec, self.options)
        except BaseException:
            session.close()  # the error may keep the pipeline for longer than the context lasts
            raise

    def _time(self, provided: Provided) -> float:
        """Milliseconds of an inference of one frame, the least of several."""
        pipeline = self._open(provided)
        frame = Frame.from_array(np.zeros((*self.spec.size, 3), np.uint8))
        times = []
        for _ in range(_TIMED_RUNS):
            start = perf_counter()
            pipeline.finish(pipeline.start([frame], Wanted()))
            times.append(1e3 * (perf_counter() - start))
        pipeline.close()
        return min(times)

    def _stop(self, error: Optional[BaseException] = None) -> None:
        """Forget everything on the device, in the order that its libraries need.

        error: what led here; the frames of its traceback hold engine and buffers too.
        """
        device, pipeline = self._device, self._pipeline
        self._device = self._pipeline = None
        if device is not None:
            self._retired.append(_Retired(device, pipeline.results if pipeline else None))
            with suppress(GpuFault), device.current():
                _clear_frames(error)
                if pipeline:
                    pipeline.close()
                del pipeline  # engine and buffers end while their context is current
        self._end_contexts()

    def _end_contexts(self) -> None:
        """End the contexts whose results nobody views any more."""
        self._retired = [retired for retired in self._retired if not retired.end()]


def _read_nowhere(device: CudaDevice, spec: ModelSpec) -> None:
    stream, done = device.create_stream(), device.create_event()
    nowhere = Image(8, 3, 1, 1, 'bgr8')
    tensor = Tensor(8, (1, 3, 1, 1), 'NCHW', np.dtype(np.float32))
    device.launch(preprocess_job([nowhere], [Fit((1, 1), (1, 1))], tensor, spec), stream)
    done.record(stream)
    done.synchronize()


def _clear_frames(error: Optional[BaseException]) -> None:
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
