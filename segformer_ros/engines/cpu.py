"""What the CPU engines share: pre- and post-processing around `_infer`."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import List, NamedTuple, Optional, Sequence, Tuple

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
from segformer_ros.frame import TO_BGR, Frame
from segformer_ros.model import ModelSpec
from segformer_ros.model.shape import cell_stride
from segformer_ros.segmentation import Segmentation, StageTimes


class _Output(NamedTuple):
    """What the network gave for one frame, and the seconds that it took.

    result: scores (C, h, w) or labels (h, w) that span `cover` (height, width) frame pixels.
    """

    result: np.ndarray
    cover: Tuple[int, int]
    preprocess: float
    inference: float


class CpuEngine(Engine):
    """An engine whose network takes uint8 BGR pixels and runs frame by frame.

    A batch gains nothing on a CPU that one frame already fills, so frames go one after another;
    only the labels of one are made while the network runs on the next.
    """

    def __init__(self, spec: ModelSpec, options: EngineOptions = EngineOptions()) -> None:
        super().__init__(spec, options)
        if spec.built:
            raise EngineError(
                f'{spec.path} is a built engine, which runs on a GPU alone; give the ONNX file '
                'that it was built from'
            )
        self._input = np.zeros((1, *spec.size, 3), np.uint8)
        self._classes = len(spec.class_map)
        self._finisher: Optional[ThreadPoolExecutor] = None

    @abstractmethod
    def _infer(self, pixels: np.ndarray) -> np.ndarray:
        """Run the network: (1, h, w, 3) uint8 BGR to (C, h', w') scores or (h', w') labels.

        What it returns may be overwritten by the next call.
        """

    def _arranged(self, output: np.ndarray) -> np.ndarray:
        """One frame's output of a network that lays it out as the spec says, as of `_infer`."""
        self._take_shape(output.shape)
        if self.spec.output_kind == 'labels':
            return output.reshape([side for side in output.shape if side != 1])
        return output.transpose(2, 0, 1) if self.spec.output_layout == 'NHWC' else output

    def _take_shape(self, shape: Tuple[int, ...]) -> None:
        """Take the stride from the shape of one frame's output.

        Raises EngineError for one that is none by the spec, or whose windows cannot be merged.
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
    @abstractmethod
    def active(self) -> bool:
        """Whether `activate` was called and `deactivate` was not."""

    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> List[Segmentation]:
        """Segment frames of any sizes, one after another; a frame is finished beside the next."""
        if len(frames) != 1:
            return self.start(frames, wanted)()
        return [self._finish(frames[0], self._run(frames[0]), wanted)]

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        """Run the network on frames of any sizes; they are finished in a thread of its own."""
        if self._finisher is None:
            self._finisher = ThreadPoolExecutor(1, thread_name_prefix='postprocess')
        finishing = []
        for frame in frames:
            # A copy, since the network writes its next output into the same memory.
            output = self._run(frame)
            output = output._replace(result=output.result.copy())
            finishing.append(self._finisher.submit(self._finish, frame, output, wanted))
        return lambda: [future.result() for future in finishing]

    def deactivate(self) -> None:
        """Finish what was started, and end the thread that does so."""
        if self._finisher is not None:
            self._finisher.shutdown()
        self._finisher = None

    def _run(self, frame: Frame) -> _Output:
        if not self.active:
            raise EngineError(f'engine {self.name!r} is not active; call activate() first')
        return self._slide(frame) if self.options.inference == 'slide' else self._whole(frame)

    def _finish(self, frame: Frame, output: _Output, wanted: Wanted) -> Segmentation:
        start = perf_counter()
        size = wanted.size or (frame.height, frame.width)
        labels, confidence = self._postprocess(output, (frame.height, frame.width), size, wanted)
        times = StageTimes(
            preprocess=output.preprocess * 1e3,
            inference=output.inference * 1e3,
            postprocess=(perf_counter() - start) * 1e3,
        )
        return Segmentation(labels, times, confidence)

    def _whole(self, frame: Frame) -> _Output:
        """The network on the frame resized to its input."""
        start = perf_counter()
        spec = self.spec
        fit = fit_frame((frame.height, frame.width), spec.size, spec.fit, spec.stride)
        self._write(frame.pixels, frame.encoding, fit)
        prepared = perf_counter()
        result = fit.crop(self._infer(self._input))
        return _Output(
            result, (frame.height, frame.width), prepared - start, perf_counter() - prepared
        )

    def _slide(self, frame: Frame) -> _Output:
        """The network on each window of the frame at the frame's own scale."""
        crop, size, stride = self.spec.size, (frame.height, frame.width), self.spec.stride
        mosaic = LogitMosaic(self._classes, size, stride)
        preprocess = inference = 0.0
        for window in windows(size, crop, self.options.slide_stride, stride):
            start = perf_counter()
            piece = frame.pixels[window.row :, window.column :][: crop[0], : crop[1]]
            self._write(piece, frame.encoding, Fit(piece.shape[:2], crop))
            prepared = perf_counter()
            logits = self._logits(self._infer(self._input))
            if self.spec.stride != stride:  # of a graph that tells it by its output alone
                return self._slide(frame)
            mosaic.add(window, logits)
            preprocess += prepared - start
            inference += perf_counter() - prepared
        return _Output(mosaic.mean(), covered(size, stride), preprocess, inference)

    def _logits(self, scores: np.ndarray) -> np.ndarray:
        """Contiguous float32 logits of what the network gave."""
        scores = np.ascontiguousarray(scores, np.float32)
        if self.spec.output_kind == 'probabilities':
            # Logits but for a term that all classes of a pixel share, so that upsampling them
            # gives the labels that the logits would have given.
            return np.log(np.maximum(scores, np.finfo(np.float32).tiny))
        return scores

    def _postprocess(
        self, output: _Output, frame: Tuple[int, int], size: Tuple[int, int], wanted: Wanted
    ) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """Labels (H, W) and, where it is wanted and there is one, confidence (H, W)."""
        if self.spec.output_kind == 'labels':
            # A copy, since the network writes its next output into the same memory.
            return resize_labels(as_labels(output.result), size), None
        merged = self.options.inference == 'slide'  # from what were logits already
        logits = output.result if merged else self._logits(output.result)
        # Windows end on whole cells of the logits, which may be beyond the frame.
        upsampled = output.cover if merged else size
        labels = label_map(logits, upsampled, wanted.upsampling)
        confidence = None
        if wanted.confidence or self.spec.threshold:
            confidence = confidence_map(logits, upsampled)
        if self.spec.threshold and confidence is not None:
            labels[confidence < round(255 * self.spec.threshold)] = IGNORE_ID
        if upsampled != size:
            labels = resize_labels(labels[: frame[0], : frame[1]], size)
            if confidence is not None:
                confidence = resize_labels(confidence[: frame[0], : frame[1]], size)
        return labels, confidence if wanted.confidence else None

    def _write(self, pixels: np.ndarray, encoding: str, fit: Fit) -> None:
        """Write pixels into the input: one pass over them, straight from the message."""
        target = self._input[0]
        if encoding == 'bgr8':
            place(pixels, fit, target)
            return
        # Colours are put in order after the resize, where there are fewer pixels of them.
        resized = np.empty(self.spec.size + pixels.shape[2:], np.uint8)
        place(pixels, fit, resized)
        cv2.cvtColor(resized, TO_BGR[encoding], dst=target)
