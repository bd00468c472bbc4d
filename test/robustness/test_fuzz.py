# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A minute of the fuzz; and that its makers and its rules do what they say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

from robustness.all_faults import FAULTS, Camera, Leg, faults_of
from robustness.compressed_faults import scan_of, without_piece
from robustness.fuzz import run
from robustness.scenes import CLOSED, Scene, jpeg
from robustness.soak import growth_percent
from robustness.watch import judge_text

pytestmark = pytest.mark.ros

SEED = 18


def sent(name: str, seed: int, compressed: bool = False) -> list[bytes]:
    """All bytes of a fault's messages."""
    steps = FAULTS[name].make(np.random.default_rng(seed), Camera(compressed))
    return [repr(step).encode() for step in steps]


@pytest.mark.parametrize('leg', [Leg.RAW, Leg.COMPRESSED])
def test_a_seed_gives_the_same_messages(leg: Leg) -> None:
    for fault in faults_of(leg):
        compressed = leg is Leg.COMPRESSED
        assert sent(fault.name, 5, compressed) == sent(fault.name, 5, compressed), fault.name


def test_pieces_are_cut_out_of_the_entropy_coded_data_alone() -> None:
    rng = np.random.default_rng(3)
    for options in ((), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)):
        whole = jpeg(Scene(CLOSED).noisy(rng), *options)
        start, end = scan_of(whole)
        damaged = without_piece(rng, whole)
        missing = len(whole) - len(damaged)
        assert 0 < missing <= (end - start) // 2 + 1
        assert damaged.startswith(whole[:start])
        assert damaged.endswith(whole[end:])


def test_texts_are_judged() -> None:
    assert not list(judge_text('log', 'a camera of 3x4 pixels'))
    assert [v.rule for v in judge_text('log', 'x' * 3_000_000)] == ['text too long: log']
    assert [v.rule for v in judge_text('log', '\x1b[2J')] == ['control characters: log']


def test_growth_is_that_of_a_line_through_all() -> None:
    assert growth_percent([100.0, 101.0, 102.0]) == pytest.approx(2.0)
    assert growth_percent([100.0] * 50) == pytest.approx(0.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures('ros')
def test_a_minute_of_hostile_messages_files_and_signals_breaks_no_rule() -> None:
    result = run(1.0, SEED, ('raw', 'compressed', 'files', 'signals'))
    assert not len(result.findings), f'./run fuzz --seed {SEED}\n{result.text()}'
    for leg in ('raw messages', 'compressed messages'):
        assert result.counts[leg]['messages'] > 0
        assert result.counts[leg]['whole images answered'] > 0
