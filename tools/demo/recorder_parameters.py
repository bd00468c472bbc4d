# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The parameters of the recorder node: one table, as `parameter.py` has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from segformer_ros.node.drivable_settings import MountSettings
from segformer_ros.node.parameter import parameter
from segformer_ros.node.replay.player import LATEST_END


@dataclass(frozen=True)
class RecorderSettings:
    """What is written, and until when."""

    output: str = parameter('', 'mcap file to write')
    frames: int = parameter(
        0, 'masks to expect, for the progress bar; 0: not known', low=0, high=2**31 - 1
    )
    settle: float = parameter(
        0.5,
        "seconds without a message after the replay's report, at which the recording ends",
        low=0.1,
        high=LATEST_END,
    )
    page: bool = parameter(False, 'serve the newest overlay as a web page on this machine')
    mount: MountSettings = field(default_factory=MountSettings)
    """Written as a transform, so that viewers know where the camera stands."""
    vehicle_frame: str = parameter('base_link', 'frame of the mount, on the ground')
