# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node's parameter: its limits, the check of its values, and its declaration.

ROS is imported only where a parameter is declared, so tables of parameters can be read without it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterator,
    Mapping,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    cast,
)

from segformer_ros.errors import SegformerError

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.node import Node

Value = Union[bool, int, float, str, Tuple[str, ...]]
T = TypeVar('T')

_KINDS: Dict[type, str] = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    tuple: 'a list of texts',
}


class ParameterError(SegformerError, ValueError):
    """An invalid parameter value; names the value and what is allowed."""


class Changeable(Enum):
    """When a parameter may be changed."""

    START = 'at start'
    """Only at start: read-only afterwards."""
    CONFIGURE = 'unconfigured'
    """While the node is unconfigured; takes effect with `configure`."""
    LIVE = 'always'
    """At any time; takes effect with the next frame."""


@dataclass(frozen=True)
class Parameter:
    """Name, default and limits of one parameter.

    low, high: the smallest and the largest number, None for no limit.
    choices: the allowed strings, empty for any.
    """

    name: str
    default: Value
    description: str
    low: Optional[float] = None
    high: Optional[float] = None
    choices: Tuple[str, ...] = ()
    change: Changeable = Changeable.LIVE

    @property
    def type(self) -> type:
        """Type of the value: bool, int, float, str or tuple (of str)."""
        return type(self.default)

    @property
    def allowed(self) -> str:
        """What the value may be, in words."""
        if self.choices:
            return 'one of ' + ', '.join(choice or "''" for choice in self.choices)
        kind = _KINDS[self.type]
        if self.low is None and self.high is None:
            return kind
        if self.high is None:
            return f'{kind}, {self.low:g} or more'
        return f'{kind} from {self.low:g} to {self.high:g}'

    @property
    def limited(self) -> bool:
        """Whether `allowed` says more than the type does."""
        return bool(self.choices) or self.low is not None

    def checked(self, value: Any) -> Value:
        """Return the value in the parameter's own type; raises ParameterError.

        An int is accepted for a float, and a list for a tuple.
        """
        if self.type is float and type(value) is int:
            value = float(value)
        elif self.type is tuple and _is_texts(value):
            value = tuple(value)
        if type(value) is not self.type or not self._within(value):
            # The description of a number has its unit.
            meaning = f' ({self.description})' if self.type in (int, float) else ''
            raise ParameterError(f'{self.name} is {value!r}; it must be {self.allowed}{meaning}')
        return cast(Value, value)

    def _within(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.type not in (int, float):
            return True
        above = self.low is None or value >= self.low
        below = self.high is None or value <= self.high
        return above and below and math.isfinite(value)


def parameter(
    default: T,
    description: str,
    *,
    low: Optional[float] = None,
    high: Optional[float] = None,
    choices: Tuple[str, ...] = (),
    change: Changeable = Changeable.LIVE,
) -> T:
    """Make a field of a settings class a parameter of the same name."""
    entry = Parameter('', default, description, low, high, choices, change)  # type: ignore[arg-type]
    field: T = dataclasses.field(default=default, metadata={'parameter': entry})
    return field


def parameters_of(settings: type, prefix: str = '') -> Tuple[Parameter, ...]:
    """All parameters of a settings class; those of its groups are named `group.name`."""
    return tuple(_walk(settings, prefix))


def start_parameters_of(settings: type) -> Tuple[Parameter, ...]:
    """All parameters of a node that reads them once, all of them read-only."""
    return tuple(
        dataclasses.replace(entry, change=Changeable.START) for entry in parameters_of(settings)
    )


def build(settings: Type[T], values: Mapping[str, Value], prefix: str = '') -> T:
    """Make an instance of a settings class from checked values, by parameter name."""
    arguments: Dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name = prefix + field.name
        if 'parameter' in field.metadata:
            arguments[field.name] = values[name]
        else:
            arguments[field.name] = build(field.default_factory, values, f'{name}.')  # type: ignore[arg-type]
    return settings(**arguments)


def literal(value: Value) -> str:
    """The value in yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f'{value:.6g}' if value % 1 else f'{value:.1f}'
    if isinstance(value, tuple):
        return '[' + ', '.join(f"'{item}'" for item in value) + ']'
    return f"'{value}'" if isinstance(value, str) else str(value)


def _walk(settings: type, prefix: str) -> Iterator[Parameter]:
    for field in dataclasses.fields(settings):
        name = prefix + field.name
        entry = field.metadata.get('parameter')
        if entry is not None:
            yield dataclasses.replace(entry, name=name)
        else:
            yield from _walk(field.default_factory, f'{name}.')  # type: ignore[arg-type]


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def start_settings(node: Node, settings: Type[T]) -> T:
    """Declare all parameters of a settings class and build it; raises ParameterError."""
    values: Dict[str, Value] = {}
    for entry in start_parameters_of(settings):
        values[entry.name] = entry.checked(declare(node, entry))
    return build(settings, values)


def declare(node: Node, entry: Parameter) -> Any:
    """Declare a parameter of a node and return its value; raises ParameterError."""
    from rclpy.exceptions import InvalidParameterValueException

    override = overrides(node).get(entry.name)
    if override is not None:
        entry.checked(override.value)  # for our message, before rclpy checks the range
    default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
    try:
        return node.declare_parameter(entry.name, default, descriptor(entry)).value
    except InvalidParameterValueException as error:
        # '... Reason: REASON: NAME'; the reason already has the name.
        reason = str(error).rpartition('Reason: ')[2].rpartition(': ')[0]
        raise ParameterError(reason or str(error)) from error


def overrides(node: Node) -> Mapping[str, Any]:
    """Parameters that were given at start, by name; rclpy has no public access to them."""
    return getattr(node, '_parameter_overrides', {})


def descriptor(entry: Parameter) -> ParameterDescriptor:
    """Descriptor of a parameter: what `ros2 param describe` prints."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    result = ParameterDescriptor(
        name=entry.name,
        description=entry.description,
        read_only=entry.change is Changeable.START,
        # Otherwise `max_age: 1` in a yaml file is rejected, since it is not written as 1.0.
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
