# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Stands for `launch` and `launch_ros`, which come with a ROS distribution and not with wheels.

It knows the few classes that this package's launch files use, with the keywords named here. What
it checks: that the files load, which arguments they declare and read, and which programs they
would start, with which parameters, remappings and namespace. It starts nothing, knows no order of
events, and does not know what the real one refuses beyond that. Where the real one is installed,
the same tests run with it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

PLAIN = (bool, int, float, str)


class LaunchContext:
    """Values of the arguments, what has been started, and who wants to know of it."""

    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.handlers: list[Any] = []


@dataclass
class LaunchDescription:
    """What is to be done, in order."""

    entities: Sequence[Any]

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        """Arguments that are declared here and in what is included."""
        found: list[DeclareLaunchArgument] = []
        for entity in self.entities:
            if isinstance(entity, DeclareLaunchArgument):
                found.append(entity)
            elif isinstance(entity, IncludeLaunchDescription):
                included = entity.source.get_launch_description(LaunchContext())
                found += included.get_launch_arguments()
        return found

    def execute(self, context: LaunchContext) -> None:
        """Do it all."""
        for entity in self.entities:
            if entity.condition is None or entity.condition.evaluate(context):
                entity.execute(context)


class LaunchService:
    """Runs descriptions; an error ends it with 1, as in the real one."""

    def __init__(self, noninteractive: bool) -> None:
        assert noninteractive
        self._descriptions: list[LaunchDescription] = []

    def include_launch_description(self, description: LaunchDescription) -> None:
        self._descriptions.append(description)

    def run(self) -> int:
        context = LaunchContext()
        try:
            for description in self._descriptions:
                description.execute(context)
        except Exception as error:
            logging.getLogger('launch').exception('Caught exception in launch: %s', error)
            return 1
        return 0


@dataclass
class _Text:
    """A substitution that is plain text."""

    text: str

    def perform(self, context: LaunchContext) -> str:
        return self.text


class LaunchConfiguration:
    """The value of an argument; one that nobody has declared is an error."""

    def __init__(self, variable_name: str) -> None:
        self.variable_name = [_Text(variable_name)]

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self.variable_name[0].text]


class IfCondition:
    """Whether an argument is true."""

    def __init__(self, predicate_expression: LaunchConfiguration) -> None:
        self._value = predicate_expression

    def evaluate(self, context: LaunchContext) -> bool:
        text = self._value.perform(context).lower()
        assert text in ('true', 'false', '1', '0'), text
        return text in ('true', '1')


class _Action:
    condition: IfCondition | None = None

    def execute(self, context: LaunchContext) -> None:
        """Do nothing."""


@dataclass
class DeclareLaunchArgument(_Action):
    name: str
    default_value: str
    description: str

    def __post_init__(self) -> None:
        assert isinstance(self.default_value, str), self.name

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations.setdefault(self.name, self.default_value)


@dataclass
class SetEnvironmentVariable(_Action):
    name: str
    value: str

    def execute(self, context: LaunchContext) -> None:
        os.environ[self.name] = self.value


@dataclass
class OpaqueFunction(_Action):
    function: Callable[[LaunchContext], Iterable[Any] | None]

    def execute(self, context: LaunchContext) -> None:
        LaunchDescription(list(self.function(context) or ())).execute(context)


@dataclass
class PythonLaunchDescriptionSource:
    location: str

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """What the file's generate_launch_description returns."""
        spec = importlib.util.spec_from_file_location('launch_file', self.location)
        assert spec is not None and spec.loader is not None, self.location
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        description: LaunchDescription = module.generate_launch_description()
        return description


@dataclass
class IncludeLaunchDescription(_Action):
    source: PythonLaunchDescriptionSource
    launch_arguments: Iterable[tuple[str, str]] = ()

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations.update(self.launch_arguments)
        self.source.get_launch_description(context).execute(context)


@dataclass
class OnProcessStart:
    on_start: Callable[[Any, LaunchContext], None]


@dataclass
class OnProcessExit:
    target_action: Node
    on_exit: Callable[[Any, LaunchContext], Sequence[Any]]


@dataclass
class Shutdown:
    pass


@dataclass
class EmitEvent(_Action):
    event: Shutdown


@dataclass
class RegisterEventHandler(_Action):
    event_handler: OnProcessStart | OnProcessExit

    def execute(self, context: LaunchContext) -> None:
        context.handlers.append(self.event_handler)


@dataclass(frozen=True)
class Started:
    """What handlers get: the words of the command line."""

    cmd: list[str]


@dataclass
class Node(_Action):
    """A program of a package, and the command line that it comes to."""

    package: str
    executable: str
    name: str = ''
    namespace: str = ''
    parameters: Sequence[str | Mapping[str, Any]] = ()
    remappings: Sequence[tuple[str, str]] = ()
    arguments: Sequence[str] = ()
    ros_arguments: Sequence[str] = ()
    output: str = 'log'
    sigterm_timeout: str = '5'
    sigkill_timeout: str = '5'
    condition: IfCondition | None = field(default=None)

    def execute(self, context: LaunchContext) -> None:
        event = Started(list(self._command()))
        for handler in context.handlers:
            if isinstance(handler, OnProcessStart):
                handler.on_start(event, context)

    def _command(self) -> Iterator[str]:
        yield f'/lib/{self.package}/{self.executable}'
        yield from self.arguments
        yield '--ros-args'
        yield from self.ros_arguments
        rules = [('__node', self.name)]
        if self.namespace:
            rules.append(('__ns', f'/{self.namespace.strip("/")}'))
        for given in self.parameters:
            yield from ('--params-file', given if isinstance(given, str) else _file(given))
        for name, value in (*rules, *self.remappings):
            assert isinstance(name, str) and isinstance(value, str), (name, value)
            yield from ('-r', f'{name}:={value}')


class LifecycleNode(Node):
    """The real one also follows the states; it must have a namespace, '' included."""


def _file(parameters: Mapping[str, Any]) -> str:
    """A file of parameters, whose types are those that ROS has."""
    values = {}
    for name, value in parameters.items():
        several = isinstance(value, (list, tuple))
        assert all(isinstance(each, PLAIN) for each in (value if several else [value])), name
        values[name] = tuple(value) if several else value
    folder = tempfile.mkdtemp(prefix='launch_params_')
    path = Path(folder, 'parameters.yaml')
    path.write_text(yaml.dump({'/**': {'ros__parameters': values}}))
    return str(path)


MODULES: Mapping[str, Sequence[type]] = {
    'launch': (LaunchContext, LaunchDescription, LaunchService),
    'launch.actions': (
        DeclareLaunchArgument,
        EmitEvent,
        IncludeLaunchDescription,
        OpaqueFunction,
        RegisterEventHandler,
        SetEnvironmentVariable,
    ),
    'launch.conditions': (IfCondition,),
    'launch.event_handlers': (OnProcessExit, OnProcessStart),
    'launch.events': (Shutdown,),
    'launch.launch_description_sources': (PythonLaunchDescriptionSource,),
    'launch.substitutions': (LaunchConfiguration,),
    'launch_ros': (),
    'launch_ros.actions': (LifecycleNode, Node),
}


def stand_ins() -> dict[str, ModuleType]:
    """The modules, to be put into sys.modules."""
    modules = {}
    for name, members in MODULES.items():
        modules[name] = ModuleType(name)
        for member in members:
            setattr(modules[name], member.__name__, member)
    return modules
