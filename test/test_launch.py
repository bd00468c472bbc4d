# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The launch files: which command lines they come to.

With the real launch where there is one; elsewhere with a stand-in, which says what it checks.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

# Not `launch`: from the source tree, that is also the folder of launch files.
REAL = importlib.util.find_spec('launch_ros') is not None
if REAL:
    from launch import LaunchContext, LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription, RegisterEventHandler
    from launch.event_handlers import OnProcessStart
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch.substitutions import LaunchConfiguration
else:
    from launch_stand_in import (
        IncludeLaunchDescription,
        LaunchConfiguration,
        LaunchContext,
        LaunchDescription,
        LaunchService,
        OnProcessStart,
        PythonLaunchDescriptionSource,
        RegisterEventHandler,
        stand_ins,
    )

pytestmark = pytest.mark.ros
needs_launch = pytest.mark.skipif(
    not REAL, reason='launch comes with a ROS distribution, not with wheels'
)

SEGMENT, REPLAY = 'segment.launch.py', 'replay.launch.py'
EVALUATE = 'evaluate.launch.py'
USUAL = {'namespace', 'params_file', 'use_sim_time', 'autostart', 'log_level'}
FASTDDS = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


@pytest.fixture(autouse=True)
def _launch(monkeypatch: pytest.MonkeyPatch) -> None:
    if not REAL:
        for name, module in stand_ins().items():
            monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def _no_profile() -> Iterator[None]:
    """No profile before, and afterwards none of those that launch has set for good."""
    before = {name: os.environ.pop(name) for name in FASTDDS if name in os.environ}
    yield
    for name in FASTDDS:
        os.environ.pop(name, None)
    os.environ.update(before)


def description(repo: Path, file: str) -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(repo / 'launch' / file))
    return source.get_launch_description(LaunchContext())


def started(repo: Path, file: str, **arguments: str) -> dict[str, list[str]]:
    """Command line of each program that a launch file starts; `echo` runs in their place."""
    commands = {}

    def note(event: Any, _context: LaunchContext) -> None:
        program = next(word for word in event.cmd if '/lib/' in word)
        commands[os.path.basename(program)] = list(event.cmd)

    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription(
            [
                RegisterEventHandler(OnProcessStart(on_start=note)),
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(repo / 'launch' / file)),
                    launch_arguments={'launch-prefix': 'echo', **arguments}.items(),
                ),
            ]
        )
    )
    assert service.run() == 0
    return commands


def remapped(command: list[str]) -> dict[str, str]:
    rules = [after for flag, after in pairwise(command) if flag == '-r']
    return dict(rule.split(':=', 1) for rule in rules)


def overridden(command: list[str]) -> dict[str, Any]:
    """Parameters as the node gets them: later files come before earlier ones."""
    values: dict[str, Any] = {}
    for flag, path in pairwise(command):
        if flag == '--params-file':
            for node in yaml.full_load(Path(path).read_text()).values():
                values.update(node['ros__parameters'])
    return values


def install_program(prefix: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have launch find a package with a program of its own name."""
    marker = prefix / 'share/ament_index/resource_index/packages' / name
    program = prefix / 'lib' / name / name
    for file in (marker, program):
        file.parent.mkdir(parents=True)
        file.touch(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(prefix), prepend=os.pathsep)


@pytest.mark.parametrize(
    ('file', 'names'),
    [
        (SEGMENT, USUAL | {'camera', 'model', 'engine', 'precision', 'use_tf'}),
        (REPLAY, USUAL | {'camera', 'model', 'engine', 'precision', 'input', 'rate', 'loop'}),
        (EVALUATE, USUAL | {'camera', 'model', 'engine', 'input', 'label_topic', 'labels', 'out'}),
    ],
)
def test_arguments_are_described(repo: Path, file: str, names: set[str]) -> None:
    arguments = {
        argument.name: argument.description
        for argument in description(repo, file).get_launch_arguments()
    }
    assert names <= set(arguments)
    assert all(len(text) > 10 and text != 'no description given' for text in arguments.values())


def test_segment_without_arguments_follows_the_parameter_file(repo: Path) -> None:
    command = started(repo, SEGMENT)['segmentation_node']
    shipped = yaml.safe_load((repo / 'config/segment.yaml').read_text())['/**']['ros__parameters']
    assert overridden(command) == shipped
    assert remapped(command)['image'] == 'image'


def test_segment_arguments_come_before_the_parameter_file(repo: Path) -> None:
    command = started(
        repo, SEGMENT, engine='fake', autostart='false', use_sim_time='True', namespace='robot',
        log_level='debug', precision='bf16', model='/models/b0.onnx', use_tf='false',
    )['segmentation_node']  # fmt: skip
    values = overridden(command)
    assert values['engine'] == 'fake'
    assert values['precision'] == 'bf16'
    assert values['model'] == '/models/b0.onnx'
    assert values['autostart'] is False
    assert values['drivable.use_tf'] is False
    assert values['use_sim_time'] is True
    assert remapped(command)['__ns'] == '/robot'
    assert command[command.index('--log-level') + 1] == 'debug'


def test_camera_is_remapped_with_its_calibration(repo: Path) -> None:
    rules = remapped(started(repo, SEGMENT, camera='/front/image_raw')['segmentation_node'])
    assert rules['image'] == '/front/image_raw'
    assert rules['camera_info'] == '/front/camera_info'


def test_compressed_camera(repo: Path) -> None:
    command = started(repo, SEGMENT, camera='front/image_raw', compressed='true')
    assert remapped(command['segmentation_node'])['image'] == 'front/image_raw/compressed'
    assert overridden(command['segmentation_node'])['compressed'] is True


def test_several_cameras(repo: Path) -> None:
    command = started(repo, SEGMENT, camera='/front/image_raw, /left/image')['segmentation_node']
    assert overridden(command)['cameras'] == ('front', 'left')
    rules = remapped(command)
    assert rules['front/image'] == '/front/image_raw'
    assert rules['left/image'] == '/left/image'
    assert rules['left/camera_info'] == '/left/camera_info'


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'autostart': 'maybe'}, "autostart is 'maybe'; give true or false"),
        ({'camera': 'image,front/image'}, 'several topics need namespaces that differ'),
    ],
)
def test_wrong_arguments_are_told(
    repo: Path, arguments: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription(
            [
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(repo / 'launch' / SEGMENT)),
                    launch_arguments=arguments.items(),
                )
            ]
        )
    )
    assert service.run() == 1
    assert words in caplog.text


def test_replay_plays_as_the_camera_that_is_segmented(repo: Path) -> None:
    commands = started(
        repo, REPLAY, input='drive.mcap', camera='/front/image_raw', rate='0', use_sim_time='true'
    )
    assert remapped(commands['replay_node'])['image'] == '/front/image_raw'
    assert (
        remapped(commands['replay_node'])['camera_info']
        == remapped(commands['segmentation_node'])['camera_info']
        == '/front/camera_info'
    )
    values = overridden(commands['replay_node'])
    assert values['input'] == 'drive.mcap'
    assert values['rate'] == 0.0
    assert (values['clock'], values['stamps']) == (True, 'recorded')


def test_without_arguments_the_shipped_drive_is_played_with_its_mount(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = overridden(started(repo, REPLAY)['replay_node'])
    assert (player['input'], player['vehicle_frame']) == ('sample:', 'base_link')
    assert overridden(started(repo, EVALUATE)['replay_node'])['input'] == 'sample:'
    install_program(tmp_path, 'rviz2', monkeypatch)
    assert 'rviz2' in started(repo, REPLAY, rviz='true')


def test_evaluation_watches_the_camera_that_is_played_and_segmented(repo: Path) -> None:
    commands = started(
        repo, EVALUATE, input='drive.mcap', camera='/front/image_raw', truth='/front/labels',
        label_topic='/labels', merge='rider,bicycle', out='scores', rate='0.5',
        class_map='ade20k', drivable='road+path', height='1.4', pitch='0.1',
    )  # fmt: skip
    rules = [remapped(commands[name]) for name in ('replay_node', 'evaluator_node')]
    assert all(rule['image'] == '/front/image_raw' for rule in rules)
    assert all(rule['labels'] == '/front/labels' for rule in rules)
    assert all(rule['camera_info'] == '/front/camera_info' for rule in rules)
    evaluator = overridden(commands['evaluator_node'])
    assert (evaluator['output'], evaluator['merge']) == ('scores', 'rider,bicycle')
    assert (evaluator['class_map'], evaluator['drivable']) == ('ade20k', 'road+path')
    mount = [evaluator[f'mount.{name}'] for name in ('height', 'pitch', 'roll')]
    assert mount == [1.4, 0.1, 0.0]
    assert rules[1]['labels/compressed'] == '/front/labels/compressed'
    player = overridden(commands['replay_node'])
    assert (player['label_topic'], player['rate']) == ('/labels', 0.5)


def test_evaluation_in_simulated_time_has_one_clock(repo: Path) -> None:
    commands = started(repo, EVALUATE, input='drive.mcap', use_sim_time='true')
    player = overridden(commands['replay_node'])
    assert (player['clock'], player['stamps']) == (True, 'recorded')
    assert all(
        overridden(commands[name])['use_sim_time'] is True
        for name in ('evaluator_node', 'segmentation_node')
    )


def test_evaluation_of_what_something_else_plays(repo: Path) -> None:
    commands = started(repo, EVALUATE, play='false', quiet='3')
    assert set(commands) == {'segmentation_node', 'evaluator_node'}
    assert overridden(commands['evaluator_node'])['quiet'] == 3.0


@pytest.mark.parametrize('distribution', ['humble', 'jazzy', 'kilted', 'lyrical'])
def test_transport_profile_is_set_where_the_user_has_none(
    repo: Path, monkeypatch: pytest.MonkeyPatch, distribution: str
) -> None:
    """By the name that Fast DDS of the distribution reads; the newer one warns of the older."""
    monkeypatch.setenv('ROS_DISTRO', distribution)
    own, other = FASTDDS if distribution in ('humble', 'jazzy') else FASTDDS[::-1]
    started(repo, SEGMENT)
    assert os.environ[own].endswith('config/fastdds.xml')
    assert Path(os.environ[own]).is_file()
    assert other not in os.environ
    del os.environ[own]
    os.environ[other] = '/etc/mine.xml'
    started(repo, SEGMENT)
    assert os.environ[other] == '/etc/mine.xml'
    assert own not in os.environ


@pytest.mark.parametrize('file', [SEGMENT, REPLAY, EVALUATE])
def test_every_argument_that_is_read_is_shown(repo: Path, file: str) -> None:
    """`ros2 launch --show-args` lists what is declared; whatever is read must be among it."""
    read: set[str] = set()
    perform = LaunchConfiguration.perform

    def note(self: LaunchConfiguration, context: LaunchContext) -> str:
        read.add(''.join(part.perform(context) for part in self.variable_name))
        return perform(self, context)

    shown = {argument.name for argument in description(repo, file).get_launch_arguments()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LaunchConfiguration, 'perform', note)
        started(repo, file)
    launchs_own = {name for name in read if name.startswith(('launch', 'sig', 'ros_', 'emulate'))}
    assert 'camera' in read
    assert read - launchs_own <= shown


@pytest.mark.parametrize('file', [SEGMENT, REPLAY, EVALUATE])
@pytest.mark.parametrize('path', ['/no/where.yaml', '/', ''])
def test_a_parameter_file_that_is_none_is_an_error(
    repo: Path, file: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert failed(repo, file, params_file=path)
    assert f'params_file is {path!r}, which is not a file' in caplog.text


@pytest.mark.parametrize(
    ('file', 'name', 'value', 'words'),
    [
        (REPLAY, 'rate', 'fast', 'give a number'),
        (REPLAY, 'loop', 'maybe', 'give true or false'),
        (EVALUATE, 'play', 'maybe', 'give true or false'),
        (EVALUATE, 'height', 'high', 'give a number'),
        (EVALUATE, 'quiet', '', 'give a number'),
    ],
)
def test_a_value_that_means_nothing_is_an_error(
    repo: Path, file: str, name: str, value: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert failed(repo, file, **{name: value})
    assert f'{name} is {value!r}; {words}' in caplog.text


def failed(repo: Path, file: str, **arguments: str) -> bool:
    """Whether a launch ends with an error; nothing real runs in it."""
    service = LaunchService(noninteractive=True)
    source = PythonLaunchDescriptionSource(str(repo / 'launch' / file))
    given = {'launch-prefix': 'echo', **arguments}.items()
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)])
    )
    return service.run() != 0


LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService()
included = IncludeLaunchDescription(source, launch_arguments={'engine': 'fake'}.items())
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@needs_launch
@pytest.mark.slow
@pytest.mark.parametrize('file', [SEGMENT, REPLAY, EVALUATE])
@pytest.mark.parametrize('seed', range(3))
def test_ctrl_c_of_a_terminal_ends_without_a_node_that_has_died(
    repo: Path, file: str, seed: int
) -> None:
    """It reaches the whole group, and launch passes it on once more, shortly after."""
    chance = random.Random(seed)
    launched = subprocess.Popen(
        [sys.executable, '-c', LAUNCH, str(repo / 'launch' / file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert launched.stdout is not None
    while 'process started' not in (line := launched.stdout.readline()):
        assert line, 'launch ended by itself'
    time.sleep(chance.uniform(0.5, 5.0))
    os.killpg(launched.pid, signal.SIGINT)
    time.sleep(chance.uniform(0.05, 0.3))
    with suppress(ProcessLookupError):
        os.killpg(launched.pid, signal.SIGINT)
    output, _ = launched.communicate(timeout=200)
    for word in ('died', 'Traceback', 'Caught exception'):
        assert word not in output, output
