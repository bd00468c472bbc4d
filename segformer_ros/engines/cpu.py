# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the CPU engines share: pre- and post-processing around the network."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Deque, List, NamedTuple, Sequence, Tuple, Union

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.engines.engine import Engine, EngineError, EngineOptions, Pending, Wanted
from segformer_ros.engines.placement import (
    Fit,
    LogitMosaic,
    check_stride,
    covered,
    fit_frame,
    place,
    windows,
)
from segformer_ros.engines.upsampling import as_labels, confidence_map, label_map, resize_labels
from segformer_ros.frame import TO_BGR, Frame, Segmentation, StageTimes
from segformer_ros.model import ModelSpec
from segformer_ros.model.shape import cell_stride


class Output(NamedTuple):
    """The network's output for one frame, and the seconds that it took.

    result: scores (C, h, w) or labels (h, w) that span `cover` (height, width) frame pixels.
    """

    result: np.ndarray
    cover: Tuple[int, int]
    preprocess: float
    inference: float


@dataclass
class _Run:
    """One frame in flight: the slot that it is in, and its outcome once it is finished.

    fit: where it lies in the input. preprocess: seconds. begun: when inference was started, as of
    `perf_counter`.
    """

    frame: Frame
    wanted: Wanted
    fit: Fit
    slot: int
    preprocess: float
    begun: float
    outcome: Union[Segmentation, Exception, None] = None


SLOTS = 2
"""Frames in flight: one in inference and the next one queued, or both in inference at once."""


class CpuEngine(Engine):
    """An engine whose network takes uint8 BGR pixels and runs frame by frame.

    A batch gains nothing on a CPU that one frame already fills, so frames go one after another. A
    frame is post-processed in the caller's thread, while the network runs on the next.
    """

    def __init__(self, spec: ModelSpec, options: EngineOptions = EngineOptions()) -> None:
        super().__init__(spec, options)
        if spec.built:
            raise EngineError(
                f'{spec.path} is a built engine, which runs on a GPU alone; give the ONNX file '
                'that it was built from'
            )
        self.active = False
        """Whether `activate` was called and `deactivate` was not."""
        self._inputs = [np.zeros((1, *spec.size, 3), np.uint8) for _ in range(SLOTS)]
        self._classes = len(spec.class_map)
        self._under_way: Deque[_Run] = deque()
        self._turn = 0
        self._ended = 0.0
        self._parallel = self.at_once > 1

    @abstractmethod
    def _begin(self, slot: int) -> None:
        """Queue inference of `self._inputs[slot]`, (1, h, w, 3) uint8 BGR."""

    @abstractmethod
    def _end(self, slot: int) -> Tuple[np.ndarray, float]:
        """Wait for a slot: (C, h', w') scores or (h', w') labels, and when inference ended.

        The array is valid until the slot is started again; the time is as of `perf_counter`.
        """

    def _arranged(self, output: np.ndarray) -> np.ndarray:
        """One frame's output, laid out as the spec says, in the layout that `_end` returns."""
        self._take_shape(output.shape)
        if self.spec.output_kind == 'labels':
            return output.reshape([side for side in output.shape if side != 1])
        return output.transpose(2, 0, 1) if self.spec.output_layout == 'NHWC' else output

    def _take_shape(self, shape: Tuple[int, ...]) -> None:
        """Derive the stride from the shape of one frame's output.

        Raises EngineError for a shape that contradicts the spec or whose windows cannot be merged.
        """
        if self.spec.output_kind == 'labels':
            cells = [side for side in shape if side != 1]
            fits = len(cells) == 2
        else:
            axis = self.spec.output_layout.index('C') - 1
            cells = [side for place, side in enumerate(shape) if place != axis]
            fits = len(shape) == 3 and shape[axis] == self._classes and min(shape) > 0
        if not fits:
            raise EngineError(
                f'{self.spec.path} gives {list(shape)} for a frame, which are not the '
                f'{self.spec.output_kind} of {self._classes} classes that it is said '
                'to give; export it again'
            )
        if self.options.inference == 'slide':
            self.spec = check_stride(self.spec, cells)
        else:
            self.spec = replace(self.spec, stride=cell_stride(self.spec.size, cells))

    @property
    def overlaps(self) -> bool:
        """Whether inference runs in the background: not with sliding windows."""
        return self.options.inference == 'whole'

    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> List[Segmentation]:
        """Segment frames of any sizes, one after another; a frame is finished beside the next."""
        return self.start(frames, wanted)()

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        """Start the network on frames of any sizes; where all slots are taken, finish some."""
        if not self.active:
            raise EngineError(f'engine {self.name!r} is not active; call activate() first')
        if self.options.inference == 'slide':
            results = [self._finish(frame, self._slide(frame), wanted) for frame in frames]
            return lambda: results
        runs = []
        for frame in frames:
            while len(self._under_way) >= SLOTS:
                with suppress(Exception):  # raised again when that frame's result is asked for
                    self._finish_up_to(self._under_way[0])
            start, slot = perf_counter(), self._turn
            fit = fit_frame(frame.size, self.spec.size, self.spec.fit, self.spec.stride)
            self._write(frame.pixels, frame.encoding, fit, slot)
            begun = perf_counter()
            self._begin(slot)
            self._turn = (slot + 1) % SLOTS
            runs.append(_Run(frame, wanted, fit, slot, begun - start, begun))
            self._under_way.append(runs[-1])
        return lambda: [self._finish_up_to(run) for run in runs]

    def deactivate(self) -> None:
        """Finish what was started."""
        self.active = False
        while self._under_way:
            with suppress(Exception):
                self._finish_up_to(self._under_way[0])

    def _finish_up_to(self, last: _Run) -> Segmentation:
        """Finish the started frames up to `last`; returns its result, or raises its error."""
        while last.outcome is None:
            run = self._under_way.popleft()
            try:
                result, ended = self._end(run.slot)
                # The time spent queued behind the frame before is not inference of this one.
                begun = run.begun if self._parallel else max(run.begun, self._ended)
                self._ended = ended
                seconds = run.preprocess, ended - begun
                output = Output(run.fit.crop(result), run.frame.size, *seconds)
                run.outcome = self._finish(run.frame, output, run.wanted)
            except Exception as error:
                run.outcome = error
        if isinstance(last.outcome, Exception):
            raise last.outcome
        return last.outcome

    def _slide(self, frame: Frame) -> Output:
        """The network on each window of the frame at the frame's own scale."""
        crop, size, stride = self.spec.size, frame.size, self.spec.stride
        mosaic = LogitMosaic(self._classes, size, stride)
        preprocess = inference = 0.0
        for window in windows(size, crop, self.options.slide_stride, stride):
            start = perf_counter()
            piece = frame.pixels[window.row :, window.column :][: crop[0], : crop[1]]
            self._write(piece, frame.encoding, Fit(piece.shape[:2], crop), 0)
            prepared = perf_counter()
            self._begin(0)
            logits = self._logits(self._end(0)[0])
            if self.spec.stride != stride:  # a dynamic graph shows it in its output only
                return self._slide(frame)
            mosaic.add(window, logits)
            preprocess += prepared - start
            inference += perf_counter() - prepared
        return Output(mosaic.mean(), covered(size, stride), preprocess, inference)

    def _logits(self, scores: np.ndarray) -> np.ndarray:
        """The network's scores as contiguous float32 logits, (C, h, w)."""
        scores = np.ascontiguousarray(scores, np.float32)
        if self.spec.output_kind == 'probabilities':
            # log(p) is the logit minus a term that all classes of a pixel share. That term stays
            # shared when upsampled, so the argmax is the one of the logits.
            return np.log(np.maximum(scores, np.finfo(np.float32).tiny))
        return scores

    def _finish(self, frame: Frame, output: Output, wanted: Wanted) -> Segmentation:
        """Labels (H, W) uint8 and, if wanted and available, confidence (H, W) uint8."""
        start = perf_counter()
        whole = frame.size
        size, confidence = wanted.size or whole, None
        if self.spec.output_kind == 'labels':
            # A copy, since the network writes its next output into the same memory.
            labels = resize_labels(as_labels(output.result), size)
        else:
            merged = self.options.inference == 'slide'  # `_slide` made logits of its windows
            logits = output.result if merged else self._logits(output.result)
            # Windows end on whole cells of the logits, which may be beyond the frame.
            upsampled = output.cover if merged else size
            labels = label_map(logits, upsampled, wanted.upsampling)
            if wanted.confidence or self.spec.threshold:
                confidence = confidence_map(logits, upsampled)
            if self.spec.threshold and confidence is not None:
                labels[confidence < round(255 * self.spec.threshold)] = IGNORE_ID
            if upsampled != size:
                labels = resize_labels(labels[: whole[0], : whole[1]], size)
                if confidence is not None:
                    confidence = resize_labels(confidence[: whole[0], : whole[1]], size)
        times = StageTimes(
            preprocess=output.preprocess * 1e3,
            inference=output.inference * 1e3,
            postprocess=(perf_counter() - start) * 1e3,
        )
        return Segmentation(labels, times, confidence if wanted.confidence else None)

    def _write(self, pixels: np.ndarray, encoding: str, fit: Fit, slot: int) -> None:
        """Write pixels into an input: one pass over them, straight from the message."""
        target = self._inputs[slot][0]
        if encoding == 'bgr8':
            place(pixels, fit, target)
            return
        # Colours are put in order after the resize, where there are fewer pixels of them.
        resized = np.empty(self.spec.size + pixels.shape[2:], np.uint8)
        place(pixels, fit, resized)
        cv2.cvtColor(resized, TO_BGR[encoding], dst=target)
