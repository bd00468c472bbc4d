# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The node's parameters while it runs."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Callable, Dict, Iterator, Mapping, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node

from segformer_ros.errors import one_line
from segformer_ros.node.declaration import declare, overrides
from segformer_ros.node.drivable_settings import MountSettings
from segformer_ros.node.parameter import (
    Changeable,
    Parameter,
    ParameterError,
    Value,
    build,
    parameters_of,
)
from segformer_ros.node.segmentation.parameters import Settings, mount_prefix

Check = Callable[[Settings, Mapping[str, MountSettings]], None]


class NodeParameters:
    """The node's parameters as typed settings.

    settings, mounts (by camera name): immutable, replaced as a whole when a parameter changes, so
    that any thread may read them.

    is_configured: tells whether the node is beyond unconfigured. check: raises ValueError in
    words for settings that are each right and do not go together.
    """

    def __init__(self, node: Node, is_configured: Callable[[], bool], check: Check) -> None:
        self._node = node
        self._is_configured = is_configured
        self._check = check
        self._table: Dict[str, Parameter] = {}
        self._values: Dict[str, Value] = {}
        self._complete = False
        node.add_on_set_parameters_callback(self._on_set)
        self._declare(parameters_of(Settings))
        self.settings = build(Settings, self._values)
        self.mounts: Dict[str, MountSettings] = {}
        for camera in self.settings.camera_names:
            self._declare(parameters_of(MountSettings, mount_prefix(camera)))
        self._take_up(self._values)
        self._complete = True

    def unknown(self) -> Iterator[str]:
        """One line for each parameter that was given and that the node does not have."""
        # config/segment.yaml as it is shipped has these, whatever the cameras are called.
        unused = {entry.name: entry.default for entry in parameters_of(MountSettings, 'mount.')}
        for name, parameter in overrides(self._node).items():
            known = self._node.has_parameter(name) or name.startswith('qos_overrides.')
            if not known and unused.get(name) != parameter.value:
                close = get_close_matches(name, self._table, 1)
                hint = f'; did you mean {close[0]}?' if close else ''
                yield f'there is no parameter {name}: it is ignored{hint}'

    def _declare(self, parameters: Sequence[Parameter]) -> None:
        for entry in parameters:
            self._table[entry.name] = entry
            declare(self._node, entry)

    def _on_set(self, changes: Sequence[Any]) -> SetParametersResult:
        """Check a change as a whole, and take it up only if all of it is right."""
        try:
            # Others than ours are use_sim_time and the like.
            accepted = {
                change.name: self._checked(self._table[change.name], change.value)
                for change in changes
                if change.name in self._table
            }
            if self._complete:
                self._take_up({**self._values, **accepted})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=one_line(str(error)))
        self._values.update(accepted)
        return SetParametersResult(successful=True)

    def _checked(self, entry: Parameter, value: Any) -> Value:
        checked = entry.checked(value)
        changed = self._complete and self._values[entry.name] != checked
        if changed and entry.change is Changeable.CONFIGURE and self._is_configured():
            raise ParameterError(
                f'{entry.name} cannot change to {value!r} while the node is configured; '
                'deactivate it and clean it up first'
            )
        return checked

    def _take_up(self, values: Mapping[str, Value]) -> None:
        settings = build(Settings, values)
        mounts = {
            camera: build(MountSettings, values, mount_prefix(camera))
            for camera in settings.camera_names
        }
        self._check(settings, mounts)
        self.settings, self.mounts = settings, mounts
