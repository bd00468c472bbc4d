# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The segmentation node for one or several cameras.

ros2 launch segformer_ros segment.launch.py camera:=/front/image_raw
"""

import os
import posixpath
from typing import Any, Dict, List, Tuple

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from segformer_ros.node.transport import PROFILE_VARIABLES, profile_variable

SHARE = get_package_share_directory('segformer_ros')

# Name, default, description. Empty: the parameter file decides.
ARGUMENTS = (
    ('namespace', '', 'namespace of the node and of its topics'),
    (
        'params_file',
        os.path.join(SHARE, 'config', 'segment.yaml'),
        'parameter file; those of the arguments below that are not empty override it',
    ),
    ('use_sim_time', '', 'take the time from /clock (true, false)'),
    ('autostart', '', 'configure and activate without being told to (true, false)'),
    ('log_level', 'info', 'debug, info, warn, error or fatal'),
    (
        'camera',
        'image',
        'image topic of the driver, with camera_info beside it; several with commas: '
        'front/image_raw,left/image_raw. The outputs are then under front and left',
    ),
    ('compressed', '', 'subscribe to the compressed image (true, false)'),
    ('model', '', 'ONNX or engine file, or tiny; empty here and in the file: the bundled model'),
    ('engine', '', 'what runs the network: auto, openvino, tensorrt, ...'),
    ('precision', '', 'auto, fp32, fp16, bf16, int8 or fastest'),
    (
        'use_tf',
        '',
        "take the camera's mount from TF where it has it; false: from the mount parameters alone",
    ),
)
# Launch arguments and the node parameters they override.
OVERRIDES = {
    'use_sim_time': ('use_sim_time', bool),
    'autostart': ('autostart', bool),
    'compressed': ('compressed', bool),
    'model': ('model', str),
    'engine': ('engine', str),
    'precision': ('precision', str),
    'use_tf': ('drivable.use_tf', bool),
}
TRUTH = {'true': True, 'false': False}


def overrides(given: Dict[str, str]) -> Dict[str, Any]:
    """Return the node's parameters that arguments were given for."""
    parameters: Dict[str, Any] = {}
    for name, (parameter, kind) in OVERRIDES.items():
        text = given[name]
        if not text:
            continue
        if kind is bool and text.lower() not in TRUTH:
            raise ValueError(f'{name} is {text!r}; give true or false')
        parameters[parameter] = TRUTH[text.lower()] if kind is bool else text
    cameras = camera_names(given['camera'])
    if cameras:
        parameters['cameras'] = cameras
    return parameters


def camera_topics(camera: str) -> List[str]:
    return [topic.strip() for topic in camera.split(',')]


def camera_names(camera: str) -> List[str]:
    """Names of several cameras; of a single one, none: its topics have no prefix."""
    topics = camera_topics(camera)
    if len(topics) == 1:
        return []
    names = [posixpath.dirname(topic).strip('/') for topic in topics]
    if '' in names or len(set(names)) < len(names):
        raise ValueError(
            f'camera is {camera!r}; several topics need namespaces that differ, '
            'as in front/image_raw,left/image_raw'
        )
    return names


def remappings(given: Dict[str, str]) -> List[Tuple[str, str]]:
    """Connect the node's inputs with the drivers' topics."""
    camera = given['camera']
    transport = '/compressed' if given['compressed'].lower() == 'true' else ''
    pairs = []
    for name, topic in zip(camera_names(camera) or [''], camera_topics(camera)):
        info = posixpath.join(posixpath.dirname(topic), 'camera_info')
        pairs.append((posixpath.join(name, 'image'), topic + transport))
        pairs.append((posixpath.join(name, 'camera_info'), info))
    return pairs


def start(context: LaunchContext) -> List[LifecycleNode]:
    given = {name: LaunchConfiguration(name).perform(context).strip() for name, _, _ in ARGUMENTS}
    file = os.path.expanduser(given['params_file'])
    if not os.path.isfile(file):  # launch itself would ignore it and start the node
        raise ValueError(f'params_file is {file!r}, which is not a file; give a parameter file')
    return [
        LifecycleNode(
            package='segformer_ros',
            executable='segmentation_node',
            name='segmentation_node',
            namespace=given['namespace'],
            parameters=[file, overrides(given)],
            remappings=remappings(given),
            ros_arguments=['--log-level', given['log_level']],
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    profile = os.path.join(SHARE, 'config', 'fastdds.xml')
    transport = (
        []
        if any(map(os.environ.get, PROFILE_VARIABLES))
        else [SetEnvironmentVariable(profile_variable(), profile)]
    )
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            *transport,
            OpaqueFunction(function=start),
        ]
    )
