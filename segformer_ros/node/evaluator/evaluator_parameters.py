# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The parameters of the evaluator node: one table, as `parameter.py` has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from segformer_ros.node.drivable_settings import MountSettings
from segformer_ros.node.parameter import Changeable, parameter


@dataclass(frozen=True)
class EvaluatorSettings:
    """What is scored, and until when."""

    output: str = parameter('', 'folder for metrics.json and live.json', change=Changeable.START)
    class_map: str = parameter(
        'cityscapes',
        "the masks' classes: a preset, a yaml file or a labels.txt",
        change=Changeable.START,
    )
    merge: str = parameter(
        '',
        "classes that are scored as one, as in 'rider,bicycle'; several groups with ';'",
        change=Changeable.START,
    )
    drivable: str = parameter(
        'road',
        "drivable group of the class map, or names joined by '+'; empty: none",
        change=Changeable.START,
    )
    label_tolerance: float = parameter(
        0.0,
        "seconds by which a label's stamp may differ from its mask's",
        low=0.0,
        high=10.0,
        change=Changeable.START,
    )
    compressed: bool = parameter(
        False, 'watch the compressed image in place of the raw one', change=Changeable.START
    )
    frames: int = parameter(
        0,
        'masks to expect, for the progress bar; 0: not known',
        low=0,
        high=2**31 - 1,
        change=Changeable.START,
    )
    quiet: float = parameter(
        10.0,
        'seconds without a mask, after the first, at which the evaluation ends; 0: never. '
        "A replay node's report ends it sooner",
        low=0.0,
        high=3600.0,
        change=Changeable.START,
    )
    mount: MountSettings = field(default_factory=MountSettings)
    """For distances in metres, with the camera's info."""
