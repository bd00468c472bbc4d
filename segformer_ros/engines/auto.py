# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The automatic choice: the best engine that this machine can run, and why not a better one."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Tuple, Type

from segformer_ros.engines.cuda.driver import find_gpus
from segformer_ros.engines.engine import (
    Engine,
    EngineError,
    EngineOptions,
    Pending,
    Traffic,
    Wanted,
)
from segformer_ros.engines.openvino import OpenVinoEngine
from segformer_ros.engines.tensorrt import TensorRtEngine
from segformer_ros.frame import Frame, Segmentation

CANDIDATES: Tuple[Type[Engine], ...] = (TensorRtEngine, OpenVinoEngine)
"""Best first."""

_log = logging.getLogger(__name__)


class AutoEngine(Engine):
    """Delegates to the first candidate that can be activated; `facts` says why not to a better."""

    name = 'auto'
    precisions = tuple(
        dict.fromkeys(precision for engine in CANDIDATES for precision in engine.precisions)
    )
    _chosen: Optional[Engine] = None
    _passed_over: str = ''
    _unsupported: str = ''

    def activate(self) -> None:
        """Activate the first candidate that can be; raises EngineError with all reasons."""
        reasons: List[str] = []
        for candidate in CANDIDATES:
            options, unsupported = self._options_of(candidate)
            try:
                engine = candidate(self.spec, options)
                engine.progress = self.progress
                engine.activate()
            except EngineError as error:
                reasons.append(f'{candidate.name}: {error}')
                continue
            self._chosen, self._passed_over = engine, '; '.join(reasons)
            self._unsupported = unsupported
            if unsupported:
                _log.warning('precision %s, so that its own choice is used', unsupported)
            # On a machine without a GPU this is expected.
            level = logging.WARNING if _has_gpu() else logging.INFO
            for reason in reasons:
                _log.log(level, 'engine %s is used; not %s', engine.name, reason)
            return
        raise EngineError(f'no engine can run this model here: {"; ".join(reasons)}')

    def _options_of(self, candidate: Type[Engine]) -> Tuple[EngineOptions, str]:
        """The options for a candidate, and which of those asked for it lacks, in words.

        The last resort must not fail for a precision that only better engines have.
        """
        asked = self.options.precision
        if candidate is not CANDIDATES[-1] or asked in candidate.precisions:
            return self.options, ''
        return (
            replace(self.options, precision='auto'),
            f'{asked} was asked for, which {candidate.name} does not have',
        )

    def segment(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> List[Segmentation]:
        """Segment frames with the chosen engine."""
        return self._active().segment(frames, wanted)

    @property
    def overlaps(self) -> bool:
        """Whether the chosen engine overlaps."""
        return self._chosen is not None and self._chosen.overlaps

    @property
    def at_once(self) -> int:
        """How many started frames the chosen engine works on at the same time."""
        return self._chosen.at_once if self._chosen else 1

    def start(self, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        """Start segmenting frames with the chosen engine."""
        return self._active().start(frames, wanted)

    def _active(self) -> Engine:
        if self._chosen is None:
            raise EngineError(f'engine {self.name!r} is not active; call activate() first')
        return self._chosen

    def deactivate(self) -> None:
        """Release the chosen engine's resources."""
        if self._chosen is not None:
            self._chosen.deactivate()
        self._chosen = None

    @property
    def traffic(self) -> Traffic:
        """What the last `segment` moved."""
        return self._chosen.traffic if self._chosen else Traffic()

    @property
    def memory(self) -> int:
        """Bytes of the device's memory in use, by all programs."""
        return self._chosen.memory if self._chosen else 0

    @property
    def max_batch(self) -> Optional[int]:
        """Most frames that the chosen engine runs at once."""
        return self._chosen.max_batch if self._chosen else None

    def facts(self) -> Dict[str, str]:
        """The chosen engine's facts, and why a better one is not used."""
        if self._chosen is None:
            return {'engine': self.name, 'model': str(self.spec.path)}
        facts = self._chosen.facts()
        if self._unsupported:
            facts['precision reason'] = self._unsupported
        if self._passed_over:
            facts['passed over'] = self._passed_over
        return facts


def _has_gpu() -> bool:
    try:
        return bool(find_gpus())
    except EngineError:
        return False
