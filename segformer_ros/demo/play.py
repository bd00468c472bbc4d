"""Plays a source through the nodes and records what comes out."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Dict, Mapping

from segformer_ros.demo.processes import NodeCommand, Nodes, Value
from segformer_ros.resources import share_path
from segformer_ros.sources import Source, SourceOptions

SEGMENTATION, RECORDER, REPLAY = 'segmentation node', 'recorder', 'replay'

_LATEST_END = 15.0
_END_AFTER_FAILURE = 3.0
"""Seconds that the recorder has after the replay has ended, well or not."""
_POLL = 0.1
_MAX_AGE = 60.0


class DemoError(RuntimeError):
    """A demo that cannot run: says which part and what to do."""


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


def check_ros() -> None:
    """Raises DemoError where ROS 2 or this package's messages are not here."""
    if importlib.util.find_spec('rclpy') is None:
        raise DemoError(
            'ROS 2 is not here (no rclpy); start with ./run demo, or source ROS 2. '
            'Without ROS, `segformer segment` does the same'
        )
    if importlib.util.find_spec('segformer_ros.msg') is None:
        raise DemoError(
            "this package's messages are not built; start with ./run demo, or build with colcon "
            'and source install/setup.bash'
        )


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
            return _failure(SEGMENTATION, nodes)
        if nodes.code(REPLAY) is not None:
            deadline = min(deadline, monotonic() + _LATEST_END)
        if nodes.code(REPLAY):
            deadline = min(deadline, monotonic() + _END_AFTER_FAILURE)
        sleep(_POLL)
    failed = [name for name in (REPLAY, RECORDER) if nodes.code(name)]
    return _failure(failed[0], nodes) if failed else ''


def _failure(name: str, nodes: Nodes) -> str:
    return f'the {name} ended with exit code {nodes.code(name)}; its last lines stand above'


def _segmentation(plan: DemoPlan, source: Source) -> NodeCommand:
    # The drive's own time counts, so that ages and the recording are as on the road.
    parameters: Dict[str, Value] = {'use_sim_time': True, **_mount(source)}
    if plan.rate == 0:
        # The drive waits for the node: that no image comes meanwhile is no fault of the camera.
        parameters['drivable.max_age'] = _MAX_AGE
    if source.pose is not None:
        parameters.update({'drivable.use_tf': False, 'overlay_boundary': True})
    parameters.update(plan.parameters)
    return NodeCommand(
        'segmentation_node', parameters, files=(str(share_path('config/segment.yaml')),)
    )


def _recorder(plan: DemoPlan, source: Source, recording: Path) -> NodeCommand:
    return NodeCommand(
        'recorder_node',
        {
            'output': str(recording),
            'frames': len(source),
            'page': plan.page,
            **_mount(source),
        },
    )


def _mount(source: Source) -> Dict[str, Value]:
    """Parameters of the camera's mount, where the source knows it."""
    if source.pose is None:
        return {}
    names = ('height', 'pitch', 'roll', 'yaw', 'x', 'y')
    return {f'mount.{name}': float(getattr(source.pose, name)) for name in names}


def _replay(plan: DemoPlan) -> NodeCommand:
    options = plan.options
    return NodeCommand(
        'replay_node',
        {
            'input': plan.location,
            'topic': options.topic,
            'label_topic': options.label_topic,
            'label_tolerance': options.label_tolerance,
            'labels': str(options.labels or ''),
            'fps': options.fps,
            'rate': plan.rate,
            'stamps': 'recorded',
            'clock': True,
            'reliable': True,
            'wait_for': 2,
        },
    )
