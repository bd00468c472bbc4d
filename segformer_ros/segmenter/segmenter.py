# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Segmenter: labels, overlay and drivable area of images and recordings, with one model."""

from __future__ import annotations

import logging
import os
from contextlib import closing, contextmanager
from threading import Lock
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterable,
    Iterator,
    List,
    Optional,
    Tuple,
    Union,
    overload,
)

import numpy as np

from segformer_ros.camera import Calibration, Camera, CameraPose
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import DrivableConfig
from segformer_ros.engines import (
    UPSAMPLING,
    EngineError,
    EngineOptions,
    Outcome,
    Wanted,
    create_engine,
    model_for,
)
from segformer_ros.engines.cuda.device_frame import (
    frame_of_message,
    frame_on_device,
    is_on_device,
)
from segformer_ros.errors import SegformerError, in_words, one_line
from segformer_ros.frame import BY_CHANNELS, Frame, FrameError, Segmentation
from segformer_ros.model import ModelSpec
from segformer_ros.recordings import Source, SourceFrame, open_source
from segformer_ros.recordings.source import read_ahead
from segformer_ros.segmenter.segmented_frame import (
    FrameFinisher,
    SegmentedFrame,
    estimator_factory,
    segmented_entries,
)

_log = logging.getLogger(__name__)

Image = Union[np.ndarray, str, 'os.PathLike[str]', Frame, Any]
"""An array (NumPy's, or any with DLPack or `__cuda_array_interface__`, on the GPU too), the path
of an image file, a Frame, or a sensor_msgs Image or CompressedImage."""

Images = Union[List[Any], Tuple[Any, ...]]
"""Several of them."""

OnFault = Callable[[str], object]
"""Called with one line about a frame that cannot be read or segmented: which one, and why."""


class SegmenterError(SegformerError, RuntimeError):
    """A segmenter that is closed or already in use, or arguments that it cannot take."""


class Segmenter:
    """Segments images with one model; a context manager and a callable.

    model: ONNX file, built engine or DeepStream configuration, or the result of `load_model`;
        '' takes the bundled model.
    engine: 'auto' (TensorRT where there is a GPU, else OpenVINO) or one by name; 'fake' needs no
        model, for tests.
    options: precision, threads and so on.
    classes: class map in place of the model's own: a preset, a file, or a ClassMap.
    upsampling: 'exact' or 'fast', as in the node.
    calibration, pose: the camera and its pose over the ground, for a drivable area in metres. Not
        needed for recordings that have them.
    vehicle_frame: the frame on the ground that the pose is relative to.
    drivable: what may be driven on (a group of the class map, or class names joined by '+'), or
        all settings of the drivable area; '' takes the road, or what the class map calls drivable.

    Raises ModelError, ClassMapError, DrivableError and EngineError, all of them SegformerErrors.
    Only one thread may use it at a time.
    """

    def __init__(
        self,
        model: Union[str, os.PathLike[str], ModelSpec] = '',
        *,
        engine: str = 'auto',
        options: EngineOptions = EngineOptions(),
        classes: Union[str, os.PathLike[str], ClassMap] = '',
        upsampling: str = 'exact',
        calibration: Optional[Calibration] = None,
        pose: Optional[CameraPose] = None,
        vehicle_frame: str = 'base_link',
        drivable: Union[str, DrivableConfig] = '',
    ) -> None:
        spec = _spec(model, engine, classes)
        if upsampling not in UPSAMPLING:
            raise SegmenterError(f'no upsampling {upsampling!r}; use {" or ".join(UPSAMPLING)}')
        self._engine = create_engine(spec, engine, options)
        self._wanted = Wanted(confidence=True, upsampling=upsampling)
        self._camera = Camera(calibration, pose, vehicle_frame)
        self._new_estimator = estimator_factory(drivable, spec.class_map)
        self._finisher = self.finisher(self._camera)
        self._lock = Lock()
        self._open = False

    def __enter__(self) -> Segmenter:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(self) -> None:
        """Load the model onto the device; raises EngineError."""
        self._engine.activate()
        self._open = True

    def close(self) -> None:
        """Release the device; may be called repeatedly."""
        self._open = False
        self._engine.deactivate()

    @property
    def model(self) -> ModelSpec:
        """The description of the model, read from its file."""
        return self._engine.spec

    @property
    def class_map(self) -> ClassMap:
        """Names and colours of the train ids."""
        return self._engine.spec.class_map

    def facts(self) -> Dict[str, str]:
        """What is running: engine, device, precision, versions."""
        return self._engine.facts()

    @overload
    def __call__(self, image: Images, encoding: str = '') -> List[SegmentedFrame]: ...

    @overload
    def __call__(self, image: Image, encoding: str = '') -> SegmentedFrame: ...

    def __call__(
        self, image: Union[Image, Images], encoding: str = ''
    ) -> Union[SegmentedFrame, List[SegmentedFrame]]:
        """Segment one image, or each of a list, in batches if the engine supports them.

        image: an array (H, W, 3) uint8 BGR, (H, W, 4) BGRA or (H, W) grey, the path of a JPEG or
            PNG file, a sensor_msgs Image or CompressedImage (of rclpy or of rosbags), or a Frame.
            Arrays may be of any library with DLPack or `__cuda_array_interface__`; the engine
            tensorrt reads those on the GPU there, and they must not change until it has returned.
        encoding: of arrays, if it is another: 'rgb8', 'rgba8'.

        The images of all calls are assumed to come from one camera, in order.

        Raises FrameError, SourceError and EngineError; for a list, the first image's error.
        """
        images = image if isinstance(image, (list, tuple)) else [image]
        entries = list(_entries(images, encoding))
        names = [f'image {index}: ' for index in range(len(images))] if images is image else ['']
        for name, entry in zip(names, entries):
            if entry.frame is None:
                raise FrameError(f'{name}{entry.error}')
        results = []
        with self._in_use(), closing(self._outcomes(iter(entries))) as outcomes:
            for name, (entry, outcome) in zip(names, outcomes):
                result = self._finished(self._finisher, entry, outcome)
                if isinstance(result, str):
                    raise EngineError(f'{name}{result}')
                results.append(result)
        return results if images is image else results[0]

    def on_device(self, image: Image, encoding: str = '') -> Segmentation:
        """Labels and confidence of one image that stay in the GPU's memory.

        image, encoding: as in a call. The result's arrays are (H, W) uint8; they support DLPack
        (`torch.from_dlpack`, `cupy.from_dlpack`) and `__cuda_array_interface__`; `host()` makes a
        copy. There is no drivable area, since that is computed on the CPU.

        Raises FrameError, SourceError and EngineError, also if the engine is not on a GPU.
        """
        (entry,) = _entries([image], encoding)
        if entry.frame is None:
            raise FrameError(entry.error)
        wanted = self._wanted._replace(on_device=True)
        with self._in_use(), closing(self._outcomes(iter([entry]), wanted)) as outcomes:
            ((_, outcome),) = outcomes
        if isinstance(outcome, EngineError):
            raise outcome
        if outcome is None or not is_on_device(outcome.labels):
            device = self.facts().get('device', 'the CPU')
            raise EngineError(
                f'results stay on a GPU, and {device} segments: engine=tensorrt does'
            )
        return outcome

    def stream(
        self,
        source: Union[str, os.PathLike[str], Source, Iterable[Image]],
        on_fault: OnFault = _log.warning,
    ) -> Generator[SegmentedFrame, None, None]:
        """Segment a recording; further frames are read and submitted while one is in use.

        source: a recording (path, or a Source of `open_source`), or an iterable of one camera's
            images. A recording's calibration and mount are used if the segmenter has none.
        on_fault: called with one line about each frame that cannot be read or segmented and is
            therefore left out; the default logs a warning.

        Raises SourceError if the recording as a whole cannot be used.
        """
        if isinstance(source, (str, os.PathLike)):
            source = open_source(os.fspath(source))
        finisher = self._finisher
        if isinstance(source, Source):
            finisher = self.finisher(self.camera_of(source))
        with closing(self.outcomes(source)) as outcomes:
            for entry, outcome in outcomes:
                result = self._finished(finisher, entry, outcome)
                fault = result if isinstance(result, str) else entry.error
                if fault:
                    on_fault(one_line(fault if entry.error else f'{entry.key}: {fault}'))
                if isinstance(result, SegmentedFrame):
                    yield result

    def camera_of(self, source: Source) -> Camera:
        """A recording's camera: calibration and pose of the segmenter, else of the recording."""
        own = self._camera
        return Camera(
            own.calibration or source.calibration,
            own.pose or source.pose,
            own.vehicle_frame,
            source.camera_fault,
        )

    def finisher(self, camera: Camera) -> FrameFinisher:
        """A FrameFinisher for a camera's `outcomes`, to be used in order, in any one thread."""
        inference = self._engine.options.inference
        return FrameFinisher(self._engine.spec, inference, camera, self._new_estimator())

    def outcomes(
        self, source: Union[Source, Iterable[Image]]
    ) -> Generator[Tuple[SourceFrame, Optional[Outcome]], None, None]:
        """Each entry of a source with the engine's result; None if the entry has no frame."""
        with self._in_use():
            if not isinstance(source, Source):
                yield from self._outcomes(_entries(source))
                return
            with closing(read_ahead(source.frames())) as entries:
                yield from self._outcomes(entries)

    def _outcomes(
        self, entries: Iterator[SourceFrame], wanted: Optional[Wanted] = None
    ) -> Generator[Tuple[SourceFrame, Optional[Outcome]], None, None]:
        for entry, outcomes in segmented_entries(entries, [self._engine], wanted or self._wanted):
            yield entry, (outcomes[0] if outcomes else None)

    @staticmethod
    def _finished(
        finisher: FrameFinisher, entry: SourceFrame, outcome: Optional[Outcome]
    ) -> Union[SegmentedFrame, str]:
        """The finished frame, or why it could not be segmented."""
        if isinstance(outcome, EngineError):
            return str(outcome)
        if outcome is None or entry.frame is None:
            return entry.error or 'no image'
        return finisher.finish(entry, entry.frame, outcome)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Refuse concurrent use, which would mix up the results of two streams."""
        if not self._open:
            raise SegmenterError(
                'the segmenter is not open; use `with Segmenter(...) as segment:`'
            )
        if not self._lock.acquire(blocking=False):
            raise SegmenterError(
                'the segmenter is in use; finish or close its stream first, or make one for each '
                'thread'
            )
        try:
            yield
        finally:
            self._lock.release()


def as_frame(image: Image, encoding: str = '') -> Frame:
    """Make a Frame of any image that `Segmenter` takes; raises FrameError, SourceError."""
    if isinstance(image, np.ndarray):
        return _array_frame(image, encoding)
    if is_on_device(image):
        return frame_on_device(image, encoding)
    if hasattr(image, '__dlpack__'):  # in host memory, such as a CPU tensor of torch
        exported: Any = image
        if not hasattr(np, 'from_dlpack'):
            raise FrameError(
                f'NumPy {np.__version__} does not read a {type(image).__name__}: give its '
                '`.numpy()`, or install NumPy 1.23'
            )
        return _array_frame(np.from_dlpack(exported), encoding)
    if encoding:
        raise FrameError(f'encoding {encoding!r} is for arrays, not for a {type(image).__name__}')
    if isinstance(image, Frame):
        return image
    if isinstance(image, (str, os.PathLike)):
        return _read_image(image)
    if hasattr(image, 'encoding') and hasattr(image, 'step'):
        return frame_of_message(image)
    if hasattr(image, 'format') and hasattr(image, 'data') and hasattr(image, 'header'):
        return Frame.from_compressed(image)
    raise FrameError(
        f'{type(image).__name__} is not an image; give an array (of PIL: numpy.asarray(image) '
        "with encoding='rgb8'), the path of an image file, a sensor_msgs Image or "
        'CompressedImage, or a Frame'
    )


def _array_frame(pixels: np.ndarray, encoding: str) -> Frame:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise FrameError(
            f'array of shape {pixels.shape} and type {pixels.dtype} is not an image; give '
            '(H, W, 3), (H, W, 4) or (H, W) uint8, and several images as a list'
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    known = encoding or BY_CHANNELS.get(channels, 'bgr8')
    return Frame.from_array(np.ascontiguousarray(pixels), known)


def _read_image(path: Union[str, os.PathLike[str]]) -> Frame:
    source = open_source(os.fspath(path))
    if len(source) != 1:
        raise FrameError(
            f'{path} holds {len(source)} frames; segment.stream({os.fspath(path)!r}) takes them'
        )
    entry = next(iter(source))
    if entry.frame is None:
        raise FrameError(entry.error or f'{path} has no image')
    return entry.frame


def _entries(images: Iterable[Image], encoding: str = '') -> Iterator[SourceFrame]:
    for index, image in enumerate(images):
        key = f'{index:06d}'
        try:
            yield SourceFrame(index, key, as_frame(image, encoding))
        except (SegformerError, OSError) as error:
            yield SourceFrame(index, key, error=in_words(error))


def _spec(
    model: Union[str, os.PathLike[str], ModelSpec],
    engine: str,
    classes: Union[str, os.PathLike[str], ClassMap],
) -> ModelSpec:
    if isinstance(model, ModelSpec):
        if classes:
            raise SegmenterError('classes of a loaded model; give them to load_model')
        return model
    chosen = classes if isinstance(classes, ClassMap) else os.fspath(classes)
    return model_for(engine, os.fspath(model), chosen)
