# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How the nodes are started for a recording: what the command line says, as their parameters."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Dict, Mapping, Tuple

import yaml

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.cli.arguments import number
from segformer_ros.engines import ENGINES
from segformer_ros.errors import SegformerError
from segformer_ros.model import BUNDLED_MODELS, load_model
from segformer_ros.node.transport import check_shared_memory
from segformer_ros.recordings import Source, SourceOptions
from segformer_ros.resources import share_path
from tools.demo.processes import NodeCommand, Value


class DemoError(SegformerError, RuntimeError):
    """Nodes that cannot run, or did not: says which part and what to do."""


def check_ros() -> None:
    """Raises DemoError and TransportError where ROS 2 cannot run here."""
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
    check_shared_memory()


def add_node_arguments(parser: argparse.ArgumentParser, rate: float) -> None:
    """--engine, --rate and the other words about the nodes; `rate` is the default."""
    group = parser.add_argument_group('nodes')
    group.add_argument('--engine', choices=('auto', *ENGINES), help='what runs the network')
    group.add_argument('--model', help='model file, or tiny (default: the bundled model)')
    group.add_argument('--precision', help='arithmetic of the network')
    group.add_argument('--classes', help="class map, if the model's own is not the right one")
    group.add_argument(
        '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='another parameter of the segmentation node; may be repeated',
    )  # fmt: skip
    group.add_argument(
        '--rate', type=number(0, 1000), default=rate,
        help=f'speed relative to the recording (default: {rate:g}); 0: as fast as the node takes '
        'frames, without drops',
    )  # fmt: skip


def node_parameters(arguments: argparse.Namespace) -> Dict[str, Value]:
    """Parameters of the segmentation node that the command line gives; raises DemoError."""
    given: Dict[str, Value] = {}
    for name, parameter in (
        ('engine', 'engine'),
        ('model', 'model'),
        ('precision', 'precision'),
        ('classes', 'class_map'),
    ):
        if getattr(arguments, name):
            given[parameter] = getattr(arguments, name)
    for text in arguments.param:
        name, value = _param(text)
        given[name] = value
    if given.get('model', '') not in BUNDLED_MODELS:
        given['model'] = str(Path(str(given['model'])).resolve())
    return given


def _param(text: str) -> Tuple[str, Value]:
    """Name and value of NAME:=VALUE; raises DemoError."""
    name, separator, value = text.partition(':=')
    try:
        if name and separator:
            return name, yaml.safe_load(value)
    except yaml.YAMLError:
        pass
    raise DemoError(f'--param {text}: give NAME:=VALUE, as in overlay_opacity:=0.6')


def chosen_model(parameters: Mapping[str, Value]) -> Tuple[str, ClassMap]:
    """Name and classes of the model that the node will use; raises ModelError and the like."""
    chosen = str(parameters.get('class_map', ''))
    class_map = load_class_map(chosen) if chosen else None
    if parameters.get('engine') == 'fake' and not parameters.get('model'):
        return 'fake', class_map or load_class_map('cityscapes')
    spec = load_model(str(parameters.get('model', '')), class_map)
    return spec.path.name, spec.class_map


def segmentation_command(parameters: Mapping[str, Value]) -> NodeCommand:
    """The segmentation node with its parameter file and these parameters above it."""
    return NodeCommand(
        'segformer_ros.node.segmentation.segmentation_node',
        parameters,
        files=(str(share_path('config/segment.yaml')),),
    )


def replay_command(
    location: str, options: SourceOptions, rate: float, **more: Value
) -> NodeCommand:
    """The replay node for a recording.

    It starts once the segmentation node and the one that takes down its answers listen."""
    parameters: Dict[str, Value] = {
        'input': location,
        'topic': options.topic,
        'label_topic': options.label_topic,
        'label_tolerance': options.label_tolerance,
        'labels': str(options.labels or ''),
        'label_ids': options.label_ids,
        'label_colors': options.label_colors,
        'camera_info': str(options.camera_info or ''),
        'bits': options.bits,
        'fps': options.fps,
        'rate': rate,
        'wait_for': 2,
        **more,
    }
    return NodeCommand('segformer_ros.node.replay.replay_node', parameters)


def mount_parameters(source: Source, given: Mapping[str, Value]) -> Dict[str, Value]:
    """Parameters of the camera's mount: the given ones, before those that the source knows."""
    known: Dict[str, Value] = {}
    if source.pose is not None:
        names = ('height', 'pitch', 'roll', 'yaw', 'x', 'y')
        known = {f'mount.{name}': float(getattr(source.pose, name)) for name in names}
    return {**known, **{name: given[name] for name in given if name.startswith('mount.')}}
