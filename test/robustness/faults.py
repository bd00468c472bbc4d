# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Faults: everything hostile that is sent to the node, by the names of doc/reliability.md.

Each maker takes a random generator and the `Camera` that is to send, and gives the steps of one
try; the same generator gives the same steps. What must come of it is the fault's outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, Union

import numpy as np
from robustness.scenes import CLOSED, Scene, scene_message
from sensor_msgs.msg import CompressedImage, Image


class Outcome(Enum):
    """What must come of a fault; the value is the word of the document."""

    REFUSED = 'refused'
    """No mask and no valid area; counted as rejected."""
    ANSWERED = 'answered'
    """A mask, and an area that calls nothing free which is not."""
    NO_METRES = 'no metres'
    """Answered; the area is not calibrated and says why."""
    NOT_VALID = 'not valid'
    """Answered; the area is not valid and says why."""
    SAFE = 'answered or refused'
    """Either, as the bytes happen to be; nothing is called free that is not."""
    KEPT = 'no effect'
    """No image; every request is answered, and the next image finds the node as before."""


class Leg(Enum):
    """Which of the two nodes a fault is for: the one of Image or that of CompressedImage."""

    RAW = 'raw'
    COMPRESSED = 'compressed'
    BOTH = 'both'


class Publish(NamedTuple):
    """A message to publish; an image is stamped with the present unless it keeps its stamp.

    early: seconds by which that stamp is behind the present.
    """

    message: Any
    keeps_stamp: bool = False
    early: float = 0.0


class Pause(NamedTuple):
    """Time for the node to take up what was sent."""

    seconds: float


class Await(NamedTuple):
    """Until the image sent last is answered, where it is: what comes next would change that."""


class Request(NamedTuple):
    """A request to a service of the node, under the node's name; it must be answered."""

    service: str
    type: Any
    request: Any


Step = Union[Publish, Pause, Await, Request]


class Camera(NamedTuple):
    """The camera that is to send: CompressedImage or Image."""

    compressed: bool

    def closed(self) -> Image | CompressedImage:
        """A whole image of a wall and nothing else: whatever is called free of it is not."""
        return scene_message(Scene(CLOSED), self.compressed)


Maker = Callable[[np.random.Generator, Camera], list[Step]]


class Fault(NamedTuple):
    """One kind of fault."""

    name: str
    leg: Leg
    outcome: Outcome
    make: Maker


FAULTS: dict[str, Fault] = {}
"""All faults by name, filled by the modules that make them (`robustness.all_faults`)."""


def fault(name: str, outcome: Outcome, leg: Leg = Leg.BOTH) -> Callable[[Maker], Maker]:
    """Enter a maker under a name; one maker may stand under several."""

    def enter(make: Maker) -> Maker:
        assert name not in FAULTS, name
        FAULTS[name] = Fault(name, leg, outcome, make)
        return make

    return enter
