# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Declares parameters at a node: with descriptors, and with refusals in plain words."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Type, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node

from segformer_ros.node.parameter import (
    Changeable,
    Parameter,
    ParameterError,
    Value,
    build,
    start_parameters_of,
)

T = TypeVar('T')


def start_settings(node: Node, settings: Type[T]) -> T:
    """Declare all parameters of a settings class and build it; raises ParameterError."""
    values: Dict[str, Value] = {}
    for entry in start_parameters_of(settings):
        values[entry.name] = entry.checked(declare(node, entry))
    return build(settings, values)


def declare(node: Node, entry: Parameter) -> Any:
    """Declare a parameter at a node; the value that it has now. Raises ParameterError."""
    override = overrides(node).get(entry.name)
    if override is not None:
        entry.checked(override.value)  # in our words, before rclpy looks at the range
    default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
    try:
        return node.declare_parameter(entry.name, default, descriptor(entry)).value
    except InvalidParameterValueException as error:
        # '... Reason: REASON: NAME', and the reason has the name already.
        reason = str(error).rpartition('Reason: ')[2].rpartition(': ')[0]
        raise ParameterError(reason or str(error)) from error


def overrides(node: Node) -> Mapping[str, Any]:
    """Parameters that the node was given at start, by name; rclpy does not publish them."""
    return getattr(node, '_parameter_overrides', {})


def descriptor(entry: Parameter) -> ParameterDescriptor:
    """Descriptor of a parameter: what `ros2 param describe` prints."""
    result = ParameterDescriptor(
        name=entry.name,
        description=entry.description,
        read_only=entry.change is Changeable.START,
        # Or else `max_age: 1` in a yaml file is refused for not being written as 1.0.
        dynamic_typing=True,
    )
    if entry.choices:
        result.additional_constraints = entry.allowed
    if entry.low is not None and entry.high is not None:
        if entry.type is int:
            result.integer_range = [
                IntegerRange(from_value=int(entry.low), to_value=int(entry.high))
            ]
        else:
            result.floating_point_range = [
                FloatingPointRange(from_value=entry.low, to_value=entry.high)
            ]
    return result
