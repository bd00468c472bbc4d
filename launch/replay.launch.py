# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The shipped drive, or a recording, played as a camera, and the segmentation node.

ros2 launch segformer_ros replay.launch.py rviz:=true
ros2 launch segformer_ros replay.launch.py input:=drive.mcap
"""

import os
import posixpath
from typing import Any, Dict, List

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_directory('segformer_ros')

ARGUMENTS = (
    ('input', 'sample:', 'bag, video or folder of images; sample: is the drive that is shipped'),
    ('topic', '', 'image topic of a bag; empty: the only one'),
    ('rate', '1.0', 'how many times faster than recorded; 0: as fast as the node takes frames'),
    ('loop', 'false', 'start again at the end (true, false)'),
    ('transforms', 'true', "publish a bag's /tf_static and /tf too (true, false)"),
    (
        'vehicle_frame',
        'base_link',
        "frame on TF for the mount of a recording without transforms of its own; '': no mount",
    ),
    ('rviz', 'false', 'show camera, overlay and drivable area in RViz (true, false)'),
)


def replay(context: LaunchContext) -> List[Node]:
    given: Dict[str, str] = {
        name: LaunchConfiguration(name).perform(context)
        for name in ('input', 'topic', 'rate', 'loop', 'transforms', 'vehicle_frame', 'namespace',
                     'camera', 'use_sim_time', 'log_level')
    }  # fmt: skip
    if ',' in given['camera']:
        raise ValueError(f'camera is {given["camera"]!r}; a replay is one camera')
    simulated = given['use_sim_time'].lower() == 'true'
    parameters: Dict[str, Any] = {
        'input': given['input'],
        'topic': given['topic'],
        'rate': number(given, 'rate'),
        'loop': flag(given, 'loop'),
        'transforms': flag(given, 'transforms'),
        'vehicle_frame': given['vehicle_frame'].strip(),
        # With simulated time, the recording's own stamps are the clock.
        'clock': simulated,
        'stamps': 'recorded' if simulated else 'now',
    }
    image = given['camera']
    return [
        Node(
            package='segformer_ros',
            executable='replay_node',
            name='replay_node',
            namespace=given['namespace'],
            parameters=[parameters],
            remappings=[
                ('image', image),
                ('image/compressed', f'{image}/compressed'),
                ('camera_info', posixpath.join(posixpath.dirname(image), 'camera_info')),
            ],
            ros_arguments=['--log-level', given['log_level']],
            output='screen',
        )
    ]


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
            # First: its arguments and its transport settings apply to the replay too.
            IncludeLaunchDescription(PythonLaunchDescriptionSource(segment)),
            OpaqueFunction(function=replay),
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', os.path.join(SHARE, 'config', 'segformer.rviz')],
                condition=IfCondition(LaunchConfiguration('rviz')),
            ),
        ]
    )
