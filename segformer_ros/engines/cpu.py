"""What the CPU engines share: pre- and post-processing around `_infer`."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from time import perf_counter
from typing import Deque, List, NamedTuple, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.engines.engine import Engine, EngineError, EngineOptions, Pending, Wanted
from segformer_ros.engines.placement import (
    Fit,
    LogitMosaic,
    check_scale,
    covered,
    fit_frame,
    place,
    windows,
)
from segformer_ros.engines.upsampling import as_labels, confidence_map, label_map, resize_labels
from segformer_ros.frame import TO_BGR, Frame
from segformer_ros.model import ModelSpec
from segformer_ros.segmentation import Segmentation, StageTimes


class _Output(NamedTuple):
    """What the network gave for one frame, and the seconds that it took.

    result: scores (C, h, w) or labels (h, w) that span `cover` (height, width) frame pixels.
    """

    result: np.ndarray
    cover: Tuple[int, int]
    preprocess: float
    inference: float


class _Run:
    """One frame on its way: in a slot of the network, then with what became of it."""

    def __init__(self, frame: Frame, wanted: Wanted, slot: int, preprocess: float) -> None:
        self.frame = frame
        self.wanted = wanted
        self.slot = slot
        self.preprocess = preprocess
        self.begun = perf_counter()
        self.outcome: Union[Segmentation, Exception, None] = None


SLOTS = 2
"""Frames that the network has at once: one that it works on, and the one after it."""


class CpuEngine(Engine):
    """An engine whose network takes uint8 BGR pixels and runs frame by frame.

    A batch gains nothing on a CPU that one frame already fills, so frames go one after another;
    the labels of one are made, by whoever asks for them, while the network runs on the next.
    """

    def __init__(self, spec: ModelSpec, options: EngineOptions = EngineOptions()) -> None:
        super().__init__(spec, options)
        if spec.built:
            raise EngineError(
                f'{spec.path} is a built engine, which runs on a GPU alone; give the ONNX file '
                'that it was built from'
            )
        self._inputs = [np.zeros((1, *spec.size, 3), np.uint8) for _ in range(SLOTS)]
        self._classes = len(spec.class_map)
        self._under_way: Deque[_Run] = deque()
        self._turn = 0
        self._ended = 0.0

    @abstractmethod
    def _begin(self, slot: int) -> None:
        """Start the network on (1, h, w, 3) uint8 BGR, `self._inputs[slot]`, behind the others."""

    @abstractmethod
    def _end(self, slot: int) -> Tuple[np.ndarray, float]:
        """Wait for a slot: (C, h', w') scores or (h', w') labels, and when the network had ended.

        The former stay until the slot begins anew; the latter is a time as of `perf_counter`.
        """

    def _arranged(self, output: np.ndarray) -> np.ndarray:
        """One frame's output of a network that lays it out as the spec says, as of `_end`."""
        self._check_shape(output.shape)
        if self.spec.output_kind == 'labels':
            return output.reshape([side for side in output.shape if side != 1])
        return output.transpose(2, 0, 1) if self.spec.output_layout == 'NHWC' else output

    def _check_shape(self, shape: Tuple[int, ...]) -> None:
        """Raises EngineError for an output of one frame that is none by the spec."""
        if self.spec.output_kind == 'labels':
            fits = len([side for side in shape if side != 1]) == 2
        else:
            axis = self.spec.output_layout.index('C') - 1
            fits = len(shape) == 3 and shape[axis] == self._classes and min(shape) > 0
        if not fits:
            raise EngineError(
                f'{self.spec.path} gives {list(shape)} for a frame, which are not the '
                f'{self.spec.output_kind} of {self._classes} classes that it is said '
                'to give; export it again'
            )

    @property
    @abstractmethod
    def active(self) -> bool:
        """Whether `activate` was called and `deactivate` was not."""

    @property
    def overlaps(self) -> bool:
        """The network works on what was started, but for windows that slide."""
        return self.options.inference == 'whole'

    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> List[Segmentation]:
        """Segment frames of any sizes, one after another; a frame is finished beside the next."""
        return self.start(frames, wanted)()

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        """Start the network on frames of any sizes; where all slots are taken, finish some."""
        runs = [self._run(frame, wanted) for frame in frames]
        return lambda: [self._outcome(run) for run in runs]

    def deactivate(self) -> None:
        """Finish what was started."""
        while self._under_way:
            self._settle()

    def _run(self, frame: Frame, wanted: Wanted) -> _Run:
        if not self.active:
            raise EngineError(f'engine {self.name!r} is not active; call activate() first')
        if self.options.inference == 'slide':
            run = _Run(frame, wanted, -1, 0.0)
            run.outcome = self._finish(run, self._slide(frame))
            return run
        while len(self._under_way) >= SLOTS:
            self._settle()
        slot = self._turn
        start = perf_counter()
        fit = fit_frame((frame.height, frame.width), self.spec.size, self.spec.fit)
        self._write(frame.pixels, frame.encoding, fit, slot)
        run = _Run(frame, wanted, slot, perf_counter() - start)
        self._begin(slot)
        self._turn = (slot + 1) % SLOTS
        self._under_way.append(run)
        return run

    def _outcome(self, run: _Run) -> Segmentation:
        while run.outcome is None:
            self._settle()
        if isinstance(run.outcome, Exception):
            raise run.outcome
        return run.outcome

    def _settle(self) -> None:
        """Finish the frame that was started first."""
        run = self._under_way.popleft()
        try:
            result, ended = self._end(run.slot)
            # What ran before it is no time of its own.
            begun, self._ended = max(run.begun, self._ended), ended
            frame = run.frame
            size = (frame.height, frame.width)
            result = fit_frame(size, self.spec.size, self.spec.fit).crop(result)
            run.outcome = self._finish(run, _Output(result, size, run.preprocess, ended - begun))
        except Exception as error:  # it is the frame's own, not of whoever needs its slot
            run.outcome = error

    def _finish(self, run: _Run, output: _Output) -> Segmentation:
        start = perf_counter()
        frame, wanted = run.frame, run.wanted
        size = wanted.size or (frame.height, frame.width)
        labels, confidence = self._postprocess(output, (frame.height, frame.width), size, wanted)
        times = StageTimes(
            preprocess=output.preprocess * 1e3,
            inference=output.inference * 1e3,
            postprocess=(perf_counter() - start) * 1e3,
        )
        return Segmentation(labels, times, confidence)

    def _slide(self, frame: Frame) -> _Output:
        """The network on each window of the frame at the frame's own scale."""
        crop, size = self.spec.size, (frame.height, frame.width)
        mosaic = LogitMosaic(self._classes, size)
        preprocess = inference = 0.0
        for window in windows(size, crop, self.options.slide_stride):
            start = perf_counter()
            piece = frame.pixels[window.row :, window.column :][: crop[0], : crop[1]]
            self._write(piece, frame.encoding, Fit(piece.shape[:2], crop), 0)
            prepared = perf_counter()
            self._begin(0)
            logits = self._logits(self._end(0)[0])
            check_scale(crop, logits.shape[1:])
            mosaic.add(window, logits)
            preprocess += prepared - start
            inference += perf_counter() - prepared
        return _Output(mosaic.mean(), covered(size), preprocess, inference)

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
        # Windows end on whole cells of the logits, up to three pixels beyond the frame.
        upsampled = size if output.cover == frame else output.cover
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
