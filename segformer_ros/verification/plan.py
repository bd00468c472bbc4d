# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What is verified with: the model, the shipped frames, and what the CPU makes of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Sequence, Tuple

from segformer_ros.destination import write_file
from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines.timing import FRAMES, load_frames
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.quantization import QuantizationError
from segformer_ros.quantization.quantizer import quantize_unjudged
from segformer_ros.recordings import SAMPLE, open_source
from segformer_ros.segmentation import Segmentation
from segformer_ros.verification.checklist import NotApplicable


class Shipped(NamedTuple):
    """Frames with what the CPU engine makes of them."""

    frames: Sequence[Frame]
    results: Sequence[Segmentation]


class Plan:
    """What all checks share.

    recording: that ships with the package, with labels. size: (height, width) of the frames that
    the speed is measured on. cache: folder for what is built, empty at first. batches, seconds:
    of the measurement of speed. device: index of the GPU.
    """

    def __init__(
        self,
        spec: ModelSpec,
        cache: Path,
        recording: str = SAMPLE,
        size: Tuple[int, int] = (1080, 1920),
        precisions: Sequence[str] = ('fp32', 'fp16', 'int8'),
        batches: Sequence[int] = (1,),
        seconds: float = 2.0,
        device: int = 0,
    ) -> None:
        self.spec, self.cache, self.precisions = spec, cache, precisions
        self.batches, self.seconds, self.device = batches, seconds, device
        source = open_source(recording)
        every = max(1, len(source) // FRAMES)
        entries = [
            entry
            for start in range(0, len(source), every)
            for entry in source.frames(start, start + 1)
        ]
        self.frames = [entry.frame for entry in entries if entry.frame is not None]
        self.labels = [entry.labels for entry in entries if entry.frame is not None]
        self.timed = load_frames(recording, size)
        self.on_cpu = lru_cache(maxsize=None)(self._on_cpu)
        self.quantized = lru_cache(maxsize=None)(self._quantized)

    def _on_cpu(self, inference: str = 'whole') -> Shipped:
        """The frames, of windows only one, which costs many inferences; raises NotApplicable."""
        frames = self.frames[:1] if inference == 'slide' else self.frames
        options = EngineOptions('fp32', inference=inference)
        try:
            with create_engine(self.spec, 'openvino', options) as engine:
                return Shipped(frames, engine.segment(frames, Wanted(confidence=True)))
        except EngineError as error:
            raise NotApplicable(f'no CPU engine to compare with: {error}') from error

    def _quantized(self) -> ModelSpec:
        """The model in INT8 with the ranges of the shipped frames; raises NotApplicable."""
        path = self.cache / f'{self.spec.path.stem}.int8.onnx'
        try:
            model = quantize_unjudged(self.spec, self.frames)
        except QuantizationError as error:
            raise NotApplicable(str(error)) from error
        write_file(path, model.SerializeToString())
        return load_model(path)
