# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The tables of doc/reliability.md, line by line: each fault comes to what is said."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep

import pytest

rclpy = pytest.importorskip('rclpy')

from robustness.all_faults import FAULTS, Leg, Outcome  # noqa: E402
from robustness.message_fuzz import MessageFuzz  # noqa: E402
from robustness.report import Findings  # noqa: E402
from robustness.signal_fuzz import WORKING, Start, alarm_in  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / 'doc/reliability.md'
SECTIONS = {
    'Any camera': (Leg.RAW, Leg.COMPRESSED),
    'Images': (Leg.RAW,),
    'Compressed images': (Leg.COMPRESSED,),
}
"""The document's sections, and the nodes that their faults are sent to."""


def rows(section: str) -> list[tuple[str, str]]:
    """First and second cell of each row under a heading, without the table's head."""
    text = DOCUMENT.read_text().partition(f'### {section}\n')[2].partition('\n#')[0]
    cells = re.findall(r'^\| ([^|]+?) \| ([^|]+?) \|', text, re.M)
    return cells[1:]


OLD = 'images older than drivable.max_age'
"""The fault of which /diagnostics warns though each image has its mask."""

LINES = [
    pytest.param(leg, name, outcome, id=f'{leg.value}: {name}')
    for leg in (Leg.RAW, Leg.COMPRESSED)
    for section, legs in SECTIONS.items()
    if leg in legs
    for name, outcome in rows(section)
]


@pytest.fixture(scope='module')
def fuzz_of(
    ros: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Leg], MessageFuzz]]:
    """The node and the camera of a leg; those of the other leg end."""
    started: dict[Leg, MessageFuzz] = {}
    with ExitStack() as stack:

        def start(leg: Leg) -> MessageFuzz:
            if leg not in started:
                stack.close()
                started.clear()
                fuzz = MessageFuzz(leg, 0, tmp_path_factory.mktemp('logs'), Findings())
                started[leg] = stack.enter_context(fuzz)
            return started[leg]

        yield start


def test_every_fault_has_its_line() -> None:
    for section, legs in SECTIONS.items():
        leg = legs[0] if len(legs) == 1 else Leg.BOTH
        named = dict(rows(section))
        made = {f.name: f.outcome.value for f in FAULTS.values() if f.leg is leg}
        assert named == made, section


@pytest.mark.parametrize(('leg', 'name', 'outcome'), LINES)
def test_a_fault_comes_to_what_its_line_says(
    fuzz_of: Callable[[Leg], MessageFuzz], leg: Leg, name: str, outcome: str
) -> None:
    seen = fuzz_of(leg).observe(name, seed=1)
    assert not seen.broken, seen
    if outcome != Outcome.SAFE.value:
        assert seen.outcome and seen.outcome.value == outcome, seen
    said = {Outcome.REFUSED.value: 'frames without a mask', OLD: 'drivable.max_age'}
    words = said.get(name) or said.get(outcome, '')
    assert any(words in status for status in seen.statuses), seen


@pytest.mark.parametrize(('what', 'outcome'), rows('Signals'))
def test_a_signal_comes_to_what_its_line_says(what: str, outcome: str) -> None:
    name, twice, when = re.fullmatch(r'(SIG\w+)( twice)?, (.*)', what).groups()  # type: ignore[union-attr]
    code = int(re.fullmatch(r'exit code (\d+), no traceback', outcome).group(1))  # type: ignore[union-attr]
    for delay in {'as it starts': (0.0, 0.3 * WORKING, 0.6 * WORKING), 'at work': (None,)}[when]:
        start = Start()
        if delay is None:
            start.wait_for('configured')
        else:
            sleep(delay)
        for _ in range(2 if twice else 1):
            start.interrupt(getattr(signal, name))
            sleep(0.05)
        ended, said = start.wait()
        assert (ended, alarm_in(said)) == (code, '')
