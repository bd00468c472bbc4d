# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Plays a source through the nodes and records what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Dict, Mapping

from segformer_ros.recordings import Source, SourceOptions
from tools.demo.node_commands import (
    mount_parameters,
    replay_command,
    segmentation_command,
)
from tools.demo.processes import NodeCommand, Nodes, Value

SEGMENTATION, RECORDER, REPLAY = 'segmentation node', 'recorder', 'replay'

_LATEST_END = 15.0
_END_AFTER_FAILURE = 3.0
"""Seconds that the recorder has after the replay has ended, well or not."""
_POLL = 0.1
_MAX_AGE = 60.0


@dataclass(frozen=True)
class DemoPlan:
    """What is played, through which node.

    parameters: of the segmentation node, beyond its parameter file. rate: as the replay node has
    it. page: serve the overlays live as a web page.
    """

    location: str
    options: SourceOptions = field(default_factory=SourceOptions)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    rate: float = 0.0
    page: bool = False


def play(plan: DemoPlan, source: Source, recording: Path) -> str:
    """Play all of a source and record it; why that failed, or ''."""
    with Nodes() as nodes:
        nodes.start(SEGMENTATION, _segmentation(plan, source))
        nodes.start(RECORDER, _recorder(plan, source, recording))
        nodes.start(REPLAY, _replay(plan))
        return _wait(nodes)


def _wait(nodes: Nodes) -> str:
    """Wait until the recorder has ended by itself, or another node too early; why, or ''."""
    deadline = float('inf')
    while nodes.code(RECORDER) is None and monotonic() < deadline:
        if nodes.code(SEGMENTATION) is not None:
            return nodes.failure(SEGMENTATION)
        if nodes.code(REPLAY) is not None:
            deadline = min(deadline, monotonic() + _LATEST_END)
        if nodes.code(REPLAY):
            deadline = min(deadline, monotonic() + _END_AFTER_FAILURE)
        sleep(_POLL)
    failed = [name for name in (REPLAY, RECORDER) if nodes.code(name)]
    return nodes.failure(failed[0]) if failed else ''


def _segmentation(plan: DemoPlan, source: Source) -> NodeCommand:
    # The drive's own time counts, so that ages and the recording are as on the road.
    mount = mount_parameters(source, plan.parameters)
    parameters: Dict[str, Value] = {
        'use_sim_time': True,
        'drivable.vehicle_frame': plan.options.vehicle_frame,
        **mount,
    }
    if plan.rate == 0:
        # The drive waits for the node; the camera is not late because no image comes meanwhile.
        parameters['drivable.max_age'] = _MAX_AGE
    if mount:
        parameters.update({'drivable.use_tf': False, 'overlay_boundary': True})
    parameters.update(plan.parameters)
    return segmentation_command(parameters)


def _recorder(plan: DemoPlan, source: Source, recording: Path) -> NodeCommand:
    return NodeCommand(
        'tools.demo.recorder_node',
        {
            'output': str(recording),
            'frames': len(source),
            'page': plan.page,
            'vehicle_frame': plan.options.vehicle_frame,
            **mount_parameters(source, plan.parameters),
        },
    )


def _replay(plan: DemoPlan) -> NodeCommand:
    return replay_command(
        plan.location,
        plan.options,
        plan.rate,
        stamps='recorded',
        clock=True,
        reliable=True,
        vehicle_frame=plan.options.vehicle_frame,
    )
