"""Declares parameters that are only given at start, and reads them once."""

from __future__ import annotations

from typing import Dict, Type, TypeVar

from rclpy.node import Node

from segformer_ros.node.declaration import declare
from segformer_ros.node.parameter import Value, build, start_parameters_of

T = TypeVar('T')


def start_settings(node: Node, settings: Type[T]) -> T:
    """Declare all parameters of a settings class and build it; raises ParameterError."""
    values: Dict[str, Value] = {}
    for entry in start_parameters_of(settings):
        values[entry.name] = entry.checked(declare(node, entry))
    return build(settings, values)
