# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Parameters at a node: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from node_rig import MakeRig

from segformer_ros.node.parameter import ParameterError

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('overlay_opacity', 1.5, '1.0'),
        ('upsampling', 'best', "upsampling is 'best'; it must be one of exact, fast"),
        ('model', '/x.onnx', 'model cannot change .* while the node is configured'),
        ('cameras', ['a'], 'read-only'),
        ('drivable__group', 'canal', "no class 'canal'"),
        ('drivable__grid__x_min', 45.0, 'holds no cell'),
    ],
)
def test_wrong_values_are_refused_in_words(
    make_rig: MakeRig, name: str, value: Any, words: str
) -> None:
    rig = make_rig()
    rig.start()
    before = rig.node.settings
    result = rig.set(**{name: value})[0]
    assert not result.successful
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(result.reason)
    assert rig.node.settings == before


def test_wrong_value_from_the_start(make_rig: MakeRig) -> None:
    with pytest.raises(
        ParameterError, match=r'jpeg_quality is 300; it must be a whole number from 1 to 100'
    ):
        make_rig(jpeg_quality=300)
    with pytest.raises(
        ParameterError, match="engine is 'cloud'; it must be one of auto, .*tensorrt$"
    ):
        make_rig(engine='cloud')


def test_unknown_parameter_is_named(make_rig: MakeRig, capfd: Any) -> None:
    make_rig(overlay_opcity=0.3)
    assert 'no parameter overlay_opcity: it is ignored; did you mean overlay_opacity?' in (
        capfd.readouterr().err
    )


def test_a_refusal_of_megabytes_is_a_line(make_rig: MakeRig) -> None:
    rig = make_rig()
    (result,) = rig.set(upsampling='\x1b[2J' + 'x' * 3_000_000)
    assert not result.successful
    assert result.reason.isprintable()
    assert len(result.reason) <= 1000
