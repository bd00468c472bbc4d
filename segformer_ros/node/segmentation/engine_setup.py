# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Engine set-up: creates the engine that the parameters name, and logs its build's progress."""

from __future__ import annotations

import logging
import sys
from inspect import signature
from pathlib import Path
from time import monotonic
from typing import Any, Callable, Dict, Optional, Tuple, cast

from segformer_ros.engines import Engine, EngineOptions, Progress, create_engine, model_for
from segformer_ros.engines.cuda.device_frame import cuda_buffers
from segformer_ros.model import Declared, ModelError
from segformer_ros.node.segmentation.parameters import NetworkSettings, Settings

PERCENT = 10
"""Progress from one line to the next."""

LONGEST_SILENCE = 30.0
"""Seconds after which a line is due even with less progress."""

_log = logging.getLogger(__name__)

# OpenVINO does without its converter of other frameworks' models where it is missing: the node has
# no use for it, and starts sooner.
cast(Dict[str, Any], sys.modules).setdefault('openvino.tools.ovc', None)


def make_engine(settings: Settings, subscribe: Optional[Callable[..., Any]] = None) -> Engine:
    """Recognise the model and choose its engine; raises ModelError, ClassMapError, EngineError.

    subscribe: the node's create_subscription; the engine is made for what it may receive.
    """
    spec = model_for(
        settings.engine, settings.model, settings.class_map, declared(settings.network)
    )
    options = EngineOptions(
        precision=settings.precision,
        threads=settings.threads,
        streams=settings.streams or min(len(settings.camera_names), 2),
        device=settings.device,
        share_context=bool(subscribe and buffer_options(settings, subscribe)),
        dla_core=settings.dla_core,
        max_batch=max(len(settings.camera_names), 1),
        cache_dir=Path(settings.cache_dir) if settings.cache_dir else None,
        inference=settings.inference,
        slide_stride=settings.slide_stride,
        fake_delay=settings.fake_delay,
    )
    engine = create_engine(spec, settings.engine, options)
    engine.progress = BuildProgress()
    return engine


def buffer_options(settings: Settings, subscribe: Callable[..., Any]) -> Dict[str, Any]:
    """What a subscription to images is made with to take pixels on the GPU where they are sent so.

    Nothing for compressed images and video, and except with ROS 2 Lyrical's rclpy and its CUDA
    buffers' Python package. subscribe: the node's create_subscription.
    """
    option = 'acceptable_buffer_backends'
    if settings.compressed or settings.video or option not in signature(subscribe).parameters:
        return {}
    return {option: 'cuda'} if cuda_buffers() else {}


def declared(network: NetworkSettings) -> Declared:
    """What the parameters declare about the model; raises ModelError."""
    if bool(network.height) != bool(network.width):
        raise ModelError(
            f'network.height is {network.height} and network.width {network.width}; give both, or '
            'none to take what the model says'
        )
    size = (network.height, network.width) if network.height else None
    return Declared(
        origin='the parameters network.*',
        contract=network.contract or None,
        color=network.color or None,
        mean=_three('network.mean', network.mean),
        std=_three('network.std', network.std),
        fit=network.fit or None,
        size=size,
    )


def _three(name: str, text: str) -> Optional[Tuple[float, ...]]:
    if not text:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or (name.endswith('std') and 0.0 in numbers):
        raise ModelError(
            f'{name} is {text!r}; it must be three numbers separated by commas, such as '
            '127.5,127.5,127.5'
        )
    return numbers


class BuildProgress(Progress):
    """Logs the progress of a build's outermost phase, which is the build as a whole.

    The log bridge forwards the lines to the node's logger.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._outermost = ''
        self._percent = 0
        self._last_line = (0, 0.0)  # its percent and time
        self._begun = 0.0

    def __call__(self, phase: str, step: int, steps: int) -> None:
        """Log a line if one is due."""
        self._outermost = self._outermost or phase
        now = self._clock()
        if phase == self._outermost:
            if step == 0:  # a build begins; there may be a second one
                self._begun, self._last_line = now, (0, now)
            self._percent = 100 * step // max(steps, 1)
        percent, last = self._last_line
        if self._percent < percent + PERCENT and now < last + LONGEST_SILENCE:
            return
        self._last_line = (self._percent, now)
        _log.info(
            'building the engine: %d %% after %.0f s%s',
            self._percent,
            now - self._begun,
            '' if phase == self._outermost else f' ({phase}, {step} of {steps})',
        )
