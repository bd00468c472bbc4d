"""The fake engine's delay."""

from time import perf_counter

import numpy as np

from segformer_ros.engines import EngineOptions, create_engine, fake_spec
from segformer_ros.frame import Frame


def test_the_delay_is_kept_and_told() -> None:
    with create_engine(fake_spec(), 'fake', EngineOptions(fake_delay=0.05)) as engine:
        start = perf_counter()
        result = engine.segment([Frame.from_array(np.zeros((4, 4, 3), np.uint8))])[0]
        assert perf_counter() - start >= 0.05
        assert result.times.inference >= 50
        assert engine.facts()['delay'] == '0.05 s'
