# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The fake engine's delay."""

from time import perf_counter

import numpy as np

from segformer_ros.engines import EngineOptions, create_engine, fake_spec
from segformer_ros.engines.fake import color_logits
from segformer_ros.frame import Frame


def test_the_delay_is_kept_and_told() -> None:
    with create_engine(fake_spec(), 'fake', EngineOptions(fake_delay=0.05)) as engine:
        start = perf_counter()
        result = engine.segment([Frame.from_array(np.zeros((4, 4, 3), np.uint8))])[0]
        assert perf_counter() - start >= 0.05
        assert result.times.inference >= 50
        assert engine.facts()['delay'] == '0.05 s'


def test_between_cells_of_one_colour_no_other_class_can_win() -> None:
    palette = fake_spec().class_map.palette_bgr[:19]
    shades = np.random.default_rng(0).integers(-9, 10, (64, 64, 3))
    pixels = np.clip(palette[0].astype(int) + shades, 0, 255).astype(np.uint8)
    logits = color_logits(pixels, palette)
    assert (logits[0] == 0).all()
    assert (logits[1:] < 0).all()
