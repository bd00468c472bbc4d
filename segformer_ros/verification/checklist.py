# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A list of checks and their results, written as a report.

The report is complete at any time, so that an interrupted run leaves the results so far.
"""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from functools import cached_property, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from segformer_ros.destination import write_file
from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines.timing import FRAMES, BenchmarkResult, as_json, as_markdown, load_frames
from segformer_ros.errors import SegformerError, in_words
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.measurement import environment, versions
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.quantization.accuracy_gate import QuantizationError
from segformer_ros.quantization.quantizer import quantize_unjudged
from segformer_ros.recordings import SAMPLE, open_source
from segformer_ros.text_table import markdown_table

NAMES = ('verify.md', 'verify.json')
"""Files of the report."""

COLUMNS = ('part', 'check', 'verdict', 'figure')


class Verdict(Enum):
    """Result of a check."""

    PASS = 'pass'
    FAIL = 'fail'
    NOT_APPLICABLE = 'not applicable'


class NotApplicable(SegformerError):
    """A check that does not apply to this machine: why."""


class CheckFigure(NamedTuple):
    """The figure that a check found. value: the number for programs to compare, in `unit`."""

    figure: str
    passed: bool = True
    value: Optional[float] = None
    unit: str = ''


class Step(NamedTuple):
    """A check to run. It may raise NotApplicable; any other error is a failure."""

    part: str
    name: str
    run: Callable[[], CheckFigure]


class Check(NamedTuple):
    """A finished check. seconds: that it took."""

    part: str
    name: str
    verdict: Verdict
    figure: str
    value: Optional[float] = None
    unit: str = ''
    seconds: float = 0.0


@dataclass
class Checklist:
    """Finished checks, and measured speeds. notes: what a reader must know.

    begun: start time, from `perf_counter`.
    """

    checks: List[Check] = field(default_factory=list)
    speeds: Dict[str, BenchmarkResult] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)
    running: str = ''
    """The check that is running, or that killed the process."""
    begun: float = field(default_factory=perf_counter)

    def make(self, steps: Sequence[Step], folder: Path, told: Callable[[Step], object]) -> None:
        """Run checks one by one; the report in a folder is rewritten before each of them.

        If a check kills the process, the report says which one it was. told: called before each.
        """
        for step in steps:
            told(step)
            self.running = f'{step.part}: {step.name}'
            self.write(folder)
            begun = perf_counter()
            check = _made(step)
            self.checks.append(check._replace(seconds=round(perf_counter() - begun, 3)))
        self.running = ''
        self.write(folder)

    @property
    def counts(self) -> Dict[Verdict, int]:
        """Number of checks by verdict."""
        counts = Counter(check.verdict for check in self.checks)
        return {verdict: counts[verdict] for verdict in Verdict}

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return perf_counter() - self.begun

    def write(self, folder: Path) -> None:
        """Write both files, without the names of machine and user; raises DestinationError."""
        for name, text in zip(NAMES, (self.as_markdown(), json.dumps(self.as_json(), indent=2))):
            write_file(folder / name, anonymous(text).encode())

    def as_json(self) -> Dict[str, Any]:
        """Everything by name."""
        return {
            'date': date.today().isoformat(),
            'complete': not self.running,
            'seconds': round(self.seconds, 1),
            'running': self.running,
            'machine': {**environment(), **versions()},
            'notes': self.notes,
            'counts': {verdict.value: count for verdict, count in self.counts.items()},
            'checks': [{**one._asdict(), 'verdict': one.verdict.value} for one in self.checks],
            'speed': {name: _numbers(result) for name, result in self.speeds.items()},
        }

    def as_markdown(self) -> str:
        """A document: the verdicts, then the tables of speed."""
        facts = {**environment(), **versions(), 'date': date.today().isoformat()}
        counts = ', '.join(f'{count} {verdict.value}' for verdict, count in self.counts.items())
        rows = [
            (check.part, check.name, check.verdict.value, check.figure.replace('|', '/'))
            for check in self.checks
        ]
        lines = ['# segformer verify', '', *(f'- {name}: {facts[name]}' for name in facts), '']
        lines += [
            f'**{counts}.** It took {self.seconds:.0f} s.',
            *(f'\n{note}' for note in self.notes),
        ]
        if self.running:
            lines += ['', f'**Not complete: it ended during "{self.running}".**']
        lines += ['', markdown_table(COLUMNS, rows)]
        for name, result in self.speeds.items():
            lines += ['', f'## Speed, {name}', '', as_markdown(_public(result)).rstrip()]
        return '\n'.join(lines) + '\n'


def _made(step: Step) -> Check:
    try:
        result = step.run()
    except NotApplicable as reason:
        return Check(step.part, step.name, Verdict.NOT_APPLICABLE, str(reason))
    except Exception as error:  # whatever a library raises: the other checks must still run
        kind = '' if isinstance(error, RuntimeError) else f'{type(error).__name__}: '
        return Check(step.part, step.name, Verdict.FAIL, f'{kind}{in_words(error)}')
    verdict = Verdict.PASS if result.passed else Verdict.FAIL
    return Check(step.part, step.name, verdict, result.figure, result.value, result.unit)


_PRIVATE = ('model', 'kept in', 'engine file')
"""Facts of an engine that contain paths of the machine."""


def _public(result: BenchmarkResult) -> BenchmarkResult:
    facts = {name: value for name, value in result.facts.items() if name not in _PRIVATE}
    return BenchmarkResult(result.name, facts, result.batches)


def _numbers(result: BenchmarkResult) -> Dict[str, Any]:
    return as_json(_public(result))


def anonymous(text: str) -> str:
    """A text without the machine's name and the user's home folder."""
    text = text.replace(str(Path.home()), '~') if Path.home() != Path('/') else text
    name = platform.node()
    return re.sub(rf'(?<![\w-]){re.escape(name)}(?![\w-])', 'HOST', text) if name else text


class Shipped(NamedTuple):
    """Frames, and the CPU engine's results for them."""

    frames: Sequence[Frame]
    results: Sequence[Segmentation]


class Plan:
    """What all checks share; models and recordings are read by the first check that uses them.

    model: as `load_model` takes it. recording: the one shipped with the package, which has labels.
    size: (height, width) of the frames for measuring speed. cache: folder for built engines, empty
    at first. batches, seconds: for measuring speed. device: index of the GPU.
    """

    def __init__(
        self,
        model: Union[str, Path],
        cache: Path,
        recording: str = SAMPLE,
        size: Tuple[int, int] = (1080, 1920),
        precisions: Sequence[str] = ('fp32', 'fp16', 'int8'),
        batches: Sequence[int] = (1,),
        seconds: float = 2.0,
        device: int = 0,
    ) -> None:
        self._model, self._recording, self._size = model, recording, size
        self.cache, self.precisions = cache, precisions
        self.batches, self.seconds, self.device = batches, seconds, device
        self.on_cpu = lru_cache(maxsize=None)(self._on_cpu)
        self.quantized = lru_cache(maxsize=None)(self._quantized)

    @cached_property
    def spec(self) -> ModelSpec:
        """The model; raises ModelError."""
        return load_model(self._model)

    @cached_property
    def _entries(self) -> Sequence[Tuple[Frame, Optional[np.ndarray]]]:
        """Frames from all over the recording, with their labels; raises SourceError."""
        source = open_source(self._recording)
        every = max(1, len(source) // FRAMES)
        return [
            (entry.frame, entry.labels)
            for start in range(0, len(source), every)
            for entry in source.frames(start, start + 1)
            if entry.frame is not None
        ]

    @property
    def frames(self) -> List[Frame]:
        """Frames from all over the recording."""
        return [frame for frame, _ in self._entries]

    @property
    def labels(self) -> List[Optional[np.ndarray]]:
        """Their true labels, (H, W) uint8 each; None where there are none."""
        return [labels for _, labels in self._entries]

    @cached_property
    def timed(self) -> List[Frame]:
        """The first frames, at the size for measuring speed."""
        return load_frames(self._recording, self._size)

    def _on_cpu(self, inference: str = 'whole') -> Shipped:
        """The frames, with sliding windows only the first one; raises NotApplicable."""
        frames = self.frames[:1] if inference == 'slide' else self.frames
        options = EngineOptions('fp32', inference=inference)
        try:
            with create_engine(self.spec, 'openvino', options) as engine:
                return Shipped(frames, engine.segment(frames, Wanted(confidence=True)))
        except EngineError as error:
            raise NotApplicable(f'no CPU engine to compare with: {error}') from error

    def _quantized(self) -> ModelSpec:
        """The model in INT8, calibrated on the shipped frames; raises NotApplicable."""
        path = self.cache / f'{self.spec.path.stem}.int8.onnx'
        try:
            model = quantize_unjudged(self.spec, self.frames)
        except QuantizationError as error:
            raise NotApplicable(str(error)) from error
        write_file(path, model.SerializeToString())
        return load_model(path)
