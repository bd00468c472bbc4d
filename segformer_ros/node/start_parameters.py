"""Declares parameters that are only given at start, and reads them once."""

from __future__ import annotations

from typing import Dict, Type, TypeVar

from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from segformer_ros.node.declaration import descriptor
from segformer_ros.node.parameter import ParameterError, Value, build, parameters_of

T = TypeVar('T')


def start_settings(node: Node, settings: Type[T]) -> T:
    """Declare all parameters of a settings class and build it; raises ParameterError."""
    values: Dict[str, Value] = {}
    for entry in parameters_of(settings):
        try:
            given = node.declare_parameter(entry.name, entry.default, descriptor(entry)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ParameterError(str(error)) from error
        values[entry.name] = entry.checked(given)
    return build(settings, values)
