# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the replay node says about a play: what it sent and what was answered."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class ReplayReport:
    """Figures of one play, sent as JSON on `replay/report`.

    finished: whether the play is over; the last report. entries: entries of the source that were
    taken, published plus broken. answered: published frames whose mask came back. resent: frames
    sent a second time because no answer came. seconds: from the first frame to the last answer.
    latency_p50, latency_p99: milliseconds from publishing an image to its mask's arrival; NaN
    where nothing was answered. problems: the first few broken entries, in words. failure: why the
    play ended early; empty where it did not.
    """

    finished: bool = False
    entries: int = 0
    published: int = 0
    broken: int = 0
    answered: int = 0
    resent: int = 0
    seconds: float = 0.0
    latency_p50: float = float('nan')
    latency_p99: float = float('nan')
    problems: Tuple[str, ...] = ()
    failure: str = ''

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ReplayReport:
        """The report of a line that `to_json` made."""
        fields = json.loads(text)
        return cls(**{**fields, 'problems': tuple(fields['problems'])})
