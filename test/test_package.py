# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The package as a whole: one version, complete declarations, and builds that can be used."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator
from xml.etree import ElementTree

import pytest
import yaml

from segformer_ros.cli.checks import LIBRARIES
from segformer_ros.engines.cuda.compile import PREBUILT, file_name
from segformer_ros.engines.openvino import OLDEST

BUILT_FROM = (
    'CMakeLists.txt', 'LICENSE', 'config', 'launch', 'models', 'msg', 'package.xml', 'resource',
    'samples', 'scripts', 'segformer_ros', 'setup.cfg', 'setup.py',
)  # fmt: skip
# Imported as -> declared in package.xml as. None: a pip requirement, or Python's own.
DECLARED_AS = {
    'ament_index_python': 'ament_index_python',
    'cv2': 'python3-opencv',
    'jinja2': 'python3-jinja2',
    'launch': 'launch',
    'launch_ros': 'launch_ros',
    'numpy': 'python3-numpy',
    'rosbags': 'python3-rosbags-pip',
    'simplejpeg': 'python3-simplejpeg-pip',
    'tf2_ros': 'tf2_ros_py',  # with its Python; tf2_ros is that of C++
    'tqdm': 'python3-tqdm',
    'yaml': 'python3-yaml',
}


@pytest.fixture(scope='module')
def manifest(repo: Path) -> ElementTree.Element:
    return ElementTree.parse(repo / 'package.xml').getroot()


@pytest.fixture(scope='module')
def metadata(repo: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(repo / 'setup.cfg')
    return parser


@pytest.fixture
def source(repo: Path, tmp_path: Path) -> Path:
    """A copy of what a workspace has of the package."""
    target = tmp_path / 'src' / 'segformer_ros'
    target.mkdir(parents=True)
    for name in BUILT_FROM:
        path = repo / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=shutil.ignore_patterns('__pycache__'))
        elif path.exists():
            shutil.copy(path, target / name)
    return target


def imported_modules(folder: Path) -> Iterator[str]:
    """Top-level names that the Python files under `folder` import."""
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split('.')[0]


def test_one_version(manifest: ElementTree.Element, metadata: configparser.ConfigParser) -> None:
    assert manifest.findtext('version') == metadata['metadata']['version']


def test_changelog_tells_of_this_version(repo: Path, manifest: ElementTree.Element) -> None:
    text = (repo / 'CHANGELOG.rst').read_text()
    version = re.escape(str(manifest.findtext('version')))
    assert re.search(rf'^({version} \(\d{{4}}-\d\d-\d\d\)|Forthcoming)\n-+$', text, re.MULTILINE)


def test_licence_is_named_everywhere(
    repo: Path, manifest: ElementTree.Element, metadata: configparser.ConfigParser
) -> None:
    assert manifest.get('format') == '3'
    assert manifest.findtext('license') == 'Apache-2.0'
    assert metadata['metadata']['license'] == 'Apache-2.0'
    assert 'Apache License' in (repo / 'LICENSE').read_text()


def test_every_ros_import_is_declared(repo: Path, manifest: ElementTree.Element) -> None:
    declared = {str(node.text) for node in manifest if node.tag.endswith('depend')}
    ros_names = re.compile(r'_msgs$|_srvs$|^rclpy$|_interfaces$|^cv_bridge$|^tf2_')
    modules = {*imported_modules(repo / 'segformer_ros'), *imported_modules(repo / 'launch')}
    wanted = {name for name in modules if ros_names.search(name)}
    wanted |= {DECLARED_AS[name] for name in modules if name in DECLARED_AS}
    assert wanted - declared == set()


def test_what_is_declared_is_used(repo: Path, manifest: ElementTree.Element) -> None:
    """A package that nothing imports, starts or needs beside another is one more to install."""
    beside = {'tf2_ros', 'rosidl_default_runtime', 'bond', 'rviz2', 'vision_msgs', 'tf2_msgs'}
    modules = {*imported_modules(repo / 'segformer_ros'), *imported_modules(repo / 'launch')}
    used = {*modules, *(DECLARED_AS.get(name) for name in modules), *beside}
    assert {str(node.text) for node in manifest.iter('exec_depend')} - used == set()


def test_what_launch_files_start_is_declared(repo: Path, manifest: ElementTree.Element) -> None:
    declared = {str(node.text) for node in manifest if node.tag.endswith('depend')}
    started = {
        name
        for path in (repo / 'launch').glob('*.py')
        for name in re.findall(r"package='(\w+)'", path.read_text())
    }
    assert 'rviz2' in started
    assert started - declared == {'segformer_ros'}


def test_every_source_file_has_the_copyright_notice(repo: Path) -> None:
    """As ament_copyright wants it: the text of Apache's notice, after `#!` if there is one."""
    notice = (repo / 'setup.py').read_text().split('\n\n')[0]
    assert notice.startswith(
        '# Copyright 2026 segformer_ros maintainers\n# Licensed under the Apa'
    )
    listed = subprocess.run(
        ['git', 'ls-files', '*.py'], cwd=repo, capture_output=True, text=True, check=False
    )
    files = [repo / name for name in listed.stdout.split()] or [
        *repo.glob('segformer_ros/**/*.py')
    ]
    texts = {file: file.read_text() for file in files}
    missing = [
        str(file.relative_to(repo))
        for file, text in texts.items()
        if text.strip() and not re.match(r'(#!.*\n)?' + re.escape(notice + '\n\n'), text)
    ]
    assert missing == []


def test_only_nodes_need_ros(repo: Path) -> None:
    package = repo / 'segformer_ros'
    for path in set(package.rglob('*.py')) - set((package / 'node').rglob('*.py')):
        text = path.read_text()
        assert not re.search(r'^(import|from) (rclpy|\w+_msgs)\b', text, re.MULTILINE), path


def test_scripts_are_installed_and_executable(repo: Path) -> None:
    cmake = (repo / 'CMakeLists.txt').read_text()
    nodes = [path for path in (repo / 'scripts').iterdir() if path.is_file() and not path.suffix]
    assert nodes
    for path in nodes:
        assert f'scripts/{path.name}\n' in cmake, f'{path.name} is not installed'
        assert os.access(path, os.X_OK), f'{path.name} is not executable'


def test_pins_cover_the_bounds(repo: Path, metadata: configparser.ConfigParser) -> None:
    pins = (repo / 'requirements/runtime.txt').read_text().lower()
    for bound in metadata['options']['install_requires'].strip().splitlines():
        name = re.split('[<>=]', bound)[0].lower()
        assert re.search(rf'^{name}==', pins, re.MULTILINE), f'{name} is not pinned'


def test_doctor_knows_the_bounds(metadata: configparser.ConfigParser) -> None:
    lines = metadata['options']['install_requires'].strip().splitlines()
    bounds = {line.split(';')[0] for line in lines}
    assert f'openvino>={OLDEST[0]}.{OLDEST[1]}' in bounds
    assert LIBRARIES
    for library in LIBRARIES:
        named = f'{library.distributions[0]}>={library.oldest}'
        assert named in bounds


@pytest.mark.parametrize(('extra', 'cuda'), [('tensorrt', 13), ('tensorrt-cu12', 12)])
def test_a_driver_and_one_extra_are_enough(
    metadata: configparser.ConfigParser, extra: str, cuda: int
) -> None:
    """It brings TensorRT, the binding and NVRTC, none of them for a newer CUDA than the driver."""
    bounds = metadata['options.extras_require'][extra].strip().splitlines()
    here = 'platform_machine == "x86_64"'
    named = {re.split('[<>=]', bound)[0]: bound for bound in bounds if 'aarch64' not in bound}
    assert here in named[f'tensorrt-rtx-cu{cuda}']
    assert ('<13;' in named['cuda-bindings']) == (cuda == 12)
    assert 'nvidia-cuda-nvrtc-cu12' in named


def test_pytest_of_ubuntu_22_04_takes_the_options(
    metadata: configparser.ConfigParser, repo: Path
) -> None:
    # Version 6.2.5; --strict-config makes an error of any option that it does not know.
    known = {'addopts', 'filterwarnings', 'markers', 'testpaths', 'timeout'}
    assert set(metadata['tool:pytest']) <= known
    for path in (repo / 'test').rglob('test_*.py'):
        # That version does not enter test modules in sys.modules, where dataclasses look.
        text = path.read_text()
        if re.search(r'^@dataclass', text, re.MULTILINE):
            assert not re.search(r'^from __future__', text, re.MULTILINE), path


def shown_topics(value: object, keys: frozenset[str]) -> Iterator[str]:
    """Topic names in a viewer's configuration: what stands under `keys`, and keys like /topic."""
    if isinstance(value, list):
        for entry in value:
            yield from shown_topics(entry, keys)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if str(key).startswith('/'):
                yield key
            if key in keys and isinstance(entry, str) and entry.startswith('/'):
                yield entry.split('.')[0]
            yield from shown_topics(entry, keys)


@pytest.mark.parametrize(
    ('file', 'keys'),
    [
        ('segformer.rviz', frozenset({'Value'})),
        ('foxglove_layout.json', frozenset({'imageTopic', 'value', 'topicToRender'})),
    ],
)
def test_viewers_show_topics_that_the_nodes_have(
    repo: Path, file: str, keys: frozenset[str]
) -> None:
    shown = set(shown_topics(yaml.safe_load((repo / 'config' / file).read_text()), keys))
    shown.discard('/drivable_area/grid_updates')  # RViz wants a name; the grid comes whole
    assert {'/drivable_area/grid', '/drivable_area/scan'} < shown
    assert {topic.split('/compressed')[0] for topic in shown} >= {
        '/image',
        '/segmentation/overlay',
    }
    literals = {
        node.value
        for path in (
            *(repo / 'segformer_ros/node').rglob('*.py'),
            repo / 'segformer_ros/topics.py',
        )
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for topic in shown:
        assert {topic, topic[1:], topic.replace('/segmentation/', '')} & literals, topic


def test_foxglove_layout_places_every_panel(repo: Path) -> None:
    layout = yaml.safe_load((repo / 'config/foxglove_layout.json').read_text())

    def panels(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from panels(node['first'])
            yield from panels(node['second'])
        else:
            yield str(node)

    assert sorted(panels(layout['layout'])) == sorted(layout['configById'])


def test_transport_profiles_hold_a_frame(repo: Path) -> None:
    frame = 1920 * 1080 * 3
    fast = {
        element.tag.rpartition('}')[2]: element.text
        for element in ElementTree.parse(repo / 'config/fastdds.xml').iter()
    }
    assert int(str(fast['segment_size'])) > 8 * frame
    assert int(str(fast['maxMessageSize'])) > frame
    (buffer,) = [
        element.get('max')
        for element in ElementTree.parse(repo / 'config/cyclonedds.xml').iter()
        if element.tag.endswith('SocketReceiveBufferSize')
    ]
    assert int(str(buffer).removesuffix('MB')) * 1_000_000 > 2 * frame


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which('colcon') is None, reason='colcon is not installed')
@pytest.mark.parametrize('options', [(), ('--symlink-install',)], ids=['plain', 'symlink'])
def test_colcon_build_can_be_used(source: Path, options: tuple[str, ...]) -> None:
    workspace = source.parents[1]
    build = subprocess.run(
        [
            'colcon', 'build', *options, '--cmake-args', '-DBUILD_TESTING=OFF',
            f'-DPython3_EXECUTABLE={sys.executable}',
        ],
        cwd=workspace, capture_output=True, text=True,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr
    prefix = workspace / 'install/segformer_ros'
    for name in ('segmentation_node', 'replay_node', 'segformer'):
        assert os.access(prefix / 'lib/segformer_ros' / name, os.X_OK)
    # As a user does it: set-up sourced, from another folder, without the source tree's paths.
    script = (
        f'. {workspace}/install/setup.sh && cd / && {sys.executable} -c "'
        'import segformer_ros.classes as classes, segformer_ros.msg as msg; '
        'from segformer_ros.recordings import open_source; '
        "print(classes.__file__, len(classes.load_class_map('cityscapes')), "
        "msg.DrivableArea.CLASS_NONE, open_source('sample:').path)\" && "
        # A wrong parameter makes the node say so and end: it starts from the installation.
        f'! {prefix}/lib/segformer_ros/segmentation_node --ros-args -p engine:=abacus'
    )
    environment = {**os.environ, 'PYTHONPATH': ''}
    used = subprocess.run(
        ['sh', '-c', script], env=environment, capture_output=True, text=True, check=False
    )
    assert used.returncode == 0, used.stderr
    module, classes, none, sample = used.stdout.splitlines()[0].split()
    assert Path(module).is_relative_to(workspace)
    assert Path(sample).is_relative_to(workspace if options else prefix / 'share')
    assert (classes, none) == ('19', '255')
    assert 'abacus' in used.stderr


@pytest.mark.slow
def test_wheel_carries_what_the_command_needs(source: Path) -> None:
    prebuilt = source / 'segformer_ros/engines/cuda' / PREBUILT.name
    prebuilt.mkdir(exist_ok=True)
    (prebuilt / file_name(87)).write_bytes(b'cubin')
    built = subprocess.run(
        [sys.executable, 'setup.py', '-q', 'bdist_wheel'],
        cwd=source, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    listing = subprocess.run(
        [sys.executable, '-m', 'zipfile', '-l', *map(str, (source / 'dist').glob('*.whl'))],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert 'segformer_ros/engines/cuda/kernels.cu' in listing
    assert f'segformer_ros/engines/cuda/prebuilt/{file_name(87)}' in listing
    assert 'share/segformer_ros/config/classes/cityscapes.yaml' in listing
    assert 'share/segformer_ros/samples/street_drive.mcap' in listing
    assert 'share/segformer_ros/msg/DrivableArea.msg' in listing  # for the bags of results
    assert (
        'segformer = segformer_ros.interrupts:segformer'
        in (source / 'segformer_ros.egg-info/entry_points.txt').read_text()
    )


def test_what_a_robot_runs_runs_on_python_3_8(repo: Path) -> None:
    """JetPack 5's; ruff knows only its syntax, and not what its library lacks."""
    vermin = shutil.which('vermin')
    assert vermin is not None, 'pip install vermin (requirements/dev.txt)'
    command = [vermin, '--target=3.8-', '--violations', '--no-tips']
    done = subprocess.run(
        [*command, 'segformer_ros', 'launch', 'setup.py'], cwd=repo, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
