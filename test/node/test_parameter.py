# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""One parameter: what it takes, and its words where it does not."""

# Without `from __future__ import annotations`: a dataclass looks annotations that are text up in
# sys.modules, and pytest 6 (Ubuntu 22.04) enters no test module there.
from dataclasses import dataclass, field

import pytest

from segformer_ros.node.parameter import (
    Parameter,
    ParameterError,
    build,
    parameter,
    parameters_of,
)


@dataclass(frozen=True)
class Inner:
    width: float = parameter(2.0, 'a width, m', low=0.0, high=5.0)


@dataclass(frozen=True)
class Outer:
    names: tuple[str, ...] = parameter(('a',), 'names')
    inner: Inner = field(default_factory=Inner)


def test_groups_become_dotted_names() -> None:
    assert [entry.name for entry in parameters_of(Outer, 'x.')] == ['x.names', 'x.inner.width']


def test_build_takes_values_by_dotted_name() -> None:
    outer = build(Outer, {'names': ('b', 'c'), 'inner.width': 3.5})
    assert outer == Outer(('b', 'c'), Inner(3.5))


def test_whole_number_serves_as_number() -> None:
    value = Parameter('width', 2.0, '').checked(3)
    assert value == 3.0
    assert type(value) is float


def test_list_serves_as_tuple() -> None:
    assert Parameter('names', ('a',), '').checked(['b', 'c']) == ('b', 'c')


@pytest.mark.parametrize(
    ('entry', 'value', 'words'),
    [
        (Parameter('opacity', 0.5, '', 0.0, 1.0), 1.5, 'opacity is 1.5; .* a number from 0 to 1'),
        (Parameter('opacity', 0.5, '', 0.0, 1.0), float('nan'), 'opacity is nan'),
        (Parameter('opacity', 0.5, '', 0.0, 1.0), 'x', "opacity is 'x'"),
        (Parameter('quality', 80, '', 1, 100), 0, 'quality is 0; .* a whole number from 1 to 100'),
        (Parameter('quality', 80, '', 1, 100), 50.0, 'quality is 50.0'),
        (Parameter('quality', 80, '', 1, 100), True, 'quality is True'),
        (Parameter('age', 1.0, '', 0.0), -1.0, 'a number, 0 or more'),
        (Parameter('pitch', 0.0, 'rad', -1.6, 1.6), 3, r'a number from -1.6 to 1.6 \(rad\)'),
        (Parameter('enabled', True, ''), 1, 'enabled is 1; it must be true or false'),
        (Parameter('mode', 'a', '', choices=('a', 'b')), 'c', "mode is 'c'; .* one of a, b"),
        (Parameter('mode', '', '', choices=('', 'b')), 'c', "mode is 'c'; .* one of '', b"),
        (Parameter('names', ('a',), ''), [1], r'names is \[1\]; it must be a list of texts'),
    ],
)
def test_refusal_names_value_and_limits(entry: Parameter, value: object, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        entry.checked(value)
