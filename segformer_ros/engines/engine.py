# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The contract of every engine: frames in, label maps at the frame's size out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import (
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Union,
)

from segformer_ros.errors import SegformerError
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.model import ModelSpec

UPSAMPLING = ('exact', 'fast')
INFERENCE = ('whole', 'slide')


class EngineError(SegformerError, RuntimeError):
    """An engine that cannot be made or cannot segment: says why and what to do."""


class GivenUpError(EngineError):
    """Frames dropped because of an error in others; there may be nothing wrong with them."""


class BrokenError(EngineError):
    """An engine whose device is lost: it has to be deactivated and activated again."""


Outcome = Union[Segmentation, EngineError]
"""The result of one frame."""

Pending = Callable[[], List[Segmentation]]
"""Frames under way: to be called once, for one Segmentation each. Raises EngineError."""


class Progress(Protocol):
    """Callback for the progress of an engine's build."""

    def __call__(self, phase: str, step: int, steps: int) -> None:
        """`step` of `steps` of a phase are done; the outermost phase is the build."""


class Wanted(NamedTuple):
    """What the caller wants of one call.

    confidence: fill Segmentation.confidence too.
    upsampling: 'exact' upsamples the logits bilinearly and takes the argmax after it (the golden
        reference); 'fast' takes the argmax at the logits' size and repeats it (nearest).
    size: (height, width) of the label maps; None for each frame's own.

    What an engine may add where that costs it next to nothing; others leave it None:

    overlay: opacity 0..1 of the classes' colours in Segmentation.overlay; None for none.
    drivable: train ids that are free in Segmentation.blocked; empty for none.
    on_device: leave labels, confidence and overlay in the GPU's memory, as DeviceArrays, and
        blocked None.
    """

    confidence: bool = False
    upsampling: str = 'exact'
    size: Optional[Tuple[int, int]] = None
    overlay: Optional[float] = None
    drivable: Tuple[int, ...] = ()
    on_device: bool = False


class Traffic(NamedTuple):
    """Bytes that the frames of one call moved, beside what the network itself reads and writes.

    host: copied by the CPU from the messages. upload, download: copied to and from a GPU that has
    memory of its own.
    """

    host: int = 0
    upload: int = 0
    download: int = 0

    def plus(self, host: int = 0, upload: int = 0, download: int = 0) -> Traffic:
        """These and further bytes."""
        return Traffic(self.host + host, self.upload + upload, self.download + download)


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is set up.

    precision: 'auto', 'fp32', 'fp16', 'bf16', 'int8' or 'fastest'; each engine names those it has.
    threads: CPU threads of inference; 0 leaves it to the engine.
    streams: frames that OpenVINO works on at once, 1 or 2, which share the threads: more frames a
        second, each of them later.
    device: index of the GPU.
    share_context: use the GPU's primary CUDA context, as frames need that other libraries will put
        there later; if it is lost, only a new process has another.
    cache_dir: where built engines are kept; None for the user's cache folder.
    max_batch: most frames that a GPU takes at once; more go one batch after another.
    workspace_mib: scratch memory of a build in MiB, at first; less where the GPU has less.
    dla_core: the deep learning accelerator (DLA) of a Jetson that takes the layers that it can,
        one frame at a time; -1 for none.
    inference: 'whole' resizes a frame to the network's input; 'slide' moves the input over the
        frame at the frame's own scale and merges the logits.
    slide_stride: pixels from one window to the next; 0 for three quarters of the input's shorter
        side, as the published numbers use it. Not more than that side.
    fake_delay: seconds that the fake engine sleeps for each call.
    """

    precision: str = 'auto'
    threads: int = 0
    streams: int = 1
    device: int = 0
    share_context: bool = False
    cache_dir: Optional[Path] = None
    max_batch: int = 4
    workspace_mib: int = 1024
    dla_core: int = -1
    inference: str = 'whole'
    slide_stride: int = 0
    fake_delay: float = 0.0


class Engine(ABC):
    """A network on one device, with the pre- and post-processing that belong to it.

    An engine is used by one thread at a time: `activate`, any number of `segment`, `deactivate`;
    or as a context manager. Heavy libraries are imported by `activate`. It does not retry:
    `Supervisor` says what becomes of the frames of an engine that fails.
    """

    name = ''
    precisions: Tuple[str, ...] = ('auto',)
    progress: Optional[Progress] = None
    """Called during a build, by engines that build; to be set before `activate`."""

    def __init__(self, spec: ModelSpec, options: EngineOptions = EngineOptions()) -> None:
        if options.precision not in self.precisions:
            raise EngineError(
                f'engine {self.name!r} has no precision {options.precision!r}; '
                f'use one of {", ".join(self.precisions)}'
            )
        if options.inference not in INFERENCE:
            raise EngineError(
                f'no inference {options.inference!r}; use one of {", ".join(INFERENCE)}'
            )
        if options.inference == 'slide' and spec.output_kind == 'labels':
            raise EngineError(
                f'{spec.path} gives labels, whose windows cannot be merged; export it with '
                'logits, or use inference: whole'
            )
        if options.inference == 'slide' and options.slide_stride > min(spec.size):
            raise EngineError(
                f'a slide stride of {options.slide_stride} pixels leaves gaps between windows of '
                f'{spec.size[1]}x{spec.size[0]}; give {min(spec.size)} or less, or 0 for three '
                'quarters of the shorter side'
            )
        self.spec = spec
        self.options = options

    @abstractmethod
    def activate(self) -> None:
        """Load the model onto the device; raises EngineError."""

    @abstractmethod
    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> List[Segmentation]:
        """Segment frames of any sizes; one Segmentation each, in order. Raises EngineError."""

    @property
    def overlaps(self) -> bool:
        """Whether frames that were started are worked on while the caller does other things."""
        return False

    @property
    def at_once(self) -> int:
        """How many of the frames that were started are worked on at the same time."""
        return 1

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        """Start segmenting frames; returns the callable that gives the results, or EngineError.

        More frames may be started before these results are taken; results are taken in the order
        of the starts. An engine that does not overlap does the work when they are taken.
        """
        return partial(self.segment, frames, wanted)

    @abstractmethod
    def deactivate(self) -> None:
        """Release what `activate` acquired; may be called again without harm."""

    @property
    def traffic(self) -> Traffic:
        """What the last `segment` moved; nothing for an engine that reads frames in place."""
        return Traffic()

    @property
    def memory(self) -> int:
        """Bytes of the device's memory in use, by all programs; 0 for an engine on the CPU."""
        return 0

    @property
    def max_batch(self) -> Optional[int]:
        """Most frames that run at once; None where there is no limit, or they never do."""
        return None

    @abstractmethod
    def facts(self) -> Dict[str, str]:
        """What is running, for diagnostics: device, precision, versions."""

    def __enter__(self) -> Engine:
        self.activate()
        return self

    def __exit__(self, *error: object) -> None:
        self.deactivate()
