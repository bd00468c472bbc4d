# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The segmentation node, scored against labels while a recording plays.

ros2 launch segformer_ros evaluate.launch.py input:=drive.mcap label_topic:=/labels out:=out/live
With play:=false nothing is played: start `ros2 bag play` with the image and the labels yourself.
"""

import os
import posixpath
from typing import Any, Dict, List

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PATIENCE = '600'

SHARE = get_package_share_directory('segformer_ros')

ARGUMENTS = (
    ('out', 'out/live', 'folder for metrics.json and live.json'),
    ('play', 'true', 'play `input`; false: something else plays it (true, false)'),
    ('input', 'sample:', 'bag, video or folder of images; sample: is the drive that is shipped'),
    ('topic', '', 'image topic of a bag; empty: the only one'),
    ('label_topic', '', 'topic of a bag with label images'),
    ('labels', '', "folder of label images named by the frames' keys"),
    ('label_tolerance', '0.0', "seconds by which a label's stamp may differ from its image's"),
    ('rate', '1.0', 'how many times faster than recorded; 0: as fast as the node takes frames'),
    ('truth', 'labels', 'topic of the labels; the replay publishes on it'),
    ('merge', '', "classes to score as one, as in rider,bicycle; groups separated by ';'"),
    ('class_map', 'cityscapes', "the masks' classes: a preset, a yaml file or a labels.txt"),
    ('drivable', 'road', "drivable group, or class names joined by '+'; empty: none"),
    ('height', '0.0', "the lens's height over the ground, m; 0: no distances in metres"),
    ('pitch', '0.0', 'of the camera, positive looks down, rad'),
    ('roll', '0.0', 'of the camera, positive tilts the right side down, rad'),
    ('quiet', '10.0', 'end after this many seconds without a mask; 0: never'),
)
SHARED = ('namespace', 'camera', 'compressed', 'use_sim_time', 'log_level')


def evaluate(context: LaunchContext) -> List[Any]:
    names = (*(name for name, _, _ in ARGUMENTS), *SHARED)
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in names}
    if ',' in given['camera']:
        raise ValueError(f'camera is {given["camera"]!r}; one camera is evaluated at a time')
    simulated = given['use_sim_time'].lower() == 'true'
    evaluator = node('evaluator_node', given, {
        'use_sim_time': simulated,
        'output': given['out'],
        **{name: given[name] for name in ('merge', 'class_map', 'drivable')},
        **{f'mount.{name}': number(given, name) for name in ('height', 'pitch', 'roll')},
        'quiet': number(given, 'quiet'),
        'label_tolerance': number(given, 'label_tolerance'),
        'compressed': given['compressed'].lower() == 'true',
    })  # fmt: skip
    end = OnProcessExit(target_action=evaluator, on_exit=end_of_all)
    started: List[Any] = [evaluator, RegisterEventHandler(end)]
    if flag(given, 'play'):
        started.append(node('replay_node', given, {
            **{name: given[name] for name in ('input', 'topic', 'label_topic', 'labels')},
            'label_tolerance': number(given, 'label_tolerance'),
            'rate': number(given, 'rate'),
            'wait_for': 2,
            # With simulated time, the recording's own stamps are the clock.
            'clock': simulated,
            'stamps': 'recorded' if simulated else 'now',
        }))  # fmt: skip
    return started


def end_of_all(_event: Any, context: LaunchContext) -> List[EmitEvent]:
    """With the evaluator all ends; told so twice, after Ctrl-C, launch_ros would raise."""
    return [] if context.is_shutdown else [EmitEvent(event=Shutdown())]


def node(name: str, given: Dict[str, str], parameters: Dict[str, Any]) -> Node:
    image = given['camera']
    return Node(
        package='segformer_ros',
        executable=name,
        name=name,
        namespace=given['namespace'],
        parameters=[parameters],
        remappings=[
            ('image', image),
            ('image/compressed', f'{image}/compressed'),
            ('camera_info', posixpath.join(posixpath.dirname(image), 'camera_info')),
            ('labels', given['truth']),
            ('labels/compressed', f'{given["truth"]}/compressed'),
        ],
        ros_arguments=['--log-level', given['log_level']],
        output='screen',
        # When interrupted, the evaluator scores what has arrived so far, which may take minutes.
        sigterm_timeout=PATIENCE,
        sigkill_timeout=PATIENCE,
    )


def flag(given: Dict[str, str], name: str) -> bool:
    text = given[name].strip().lower()
    if text not in ('true', 'false'):
        raise ValueError(f'{name} is {text!r}; give true or false')
    return text == 'true'


def number(given: Dict[str, str], name: str) -> float:
    try:
        return float(given[name])
    except ValueError:
        raise ValueError(f'{name} is {given[name]!r}; give a number') from None


def generate_launch_description() -> LaunchDescription:
    segment = os.path.join(SHARE, 'launch', 'segment.launch.py')
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            # First: its arguments and its transport settings apply to the others too.
            IncludeLaunchDescription(PythonLaunchDescriptionSource(segment)),
            OpaqueFunction(function=evaluate),
        ]
    )
