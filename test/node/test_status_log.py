"""The status log: one line when something begins to be wrong, and one when it ends."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from segformer_ros.node.status_log import SETTLED, StatusLog

pytestmark = pytest.mark.ros

OK, WARN, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.STALE


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(f'warning {line}')

    def info(self, line: str) -> None:
        self.lines.append(f'info {line}')


class Course:
    """A node's statuses over time, and the log."""

    def __init__(self) -> None:
        self.now = 0.0
        self.logger = Logger()
        self.log = StatusLog(self.logger, lambda: self.now)

    def run(self, level: bytes, message: str, seconds: float, name: str = 'camera') -> list[str]:
        """The same status for so long; the lines that were told meanwhile."""
        before = len(self.logger.lines)
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            self.log.note(
                [DiagnosticStatus(level=level, name=f'/ns/node: {name}', message=message)]
            )
        return self.logger.lines[before:]


@pytest.fixture
def course() -> Course:
    return Course()


def test_what_stays_wrong_is_told_once_and_so_is_its_end(course: Course) -> None:
    assert course.run(STALE, 'nobody publishes', 60) == ['warning camera: nobody publishes']
    assert course.run(OK, 'segmenting', 60) == ['info camera: segmenting']
    assert course.run(STALE, 'silent', 60) == ['warning camera: silent']


def test_a_node_that_waits_for_its_camera_for_a_moment_is_silent(course: Course) -> None:
    assert course.run(STALE, 'nobody publishes', SETTLED - 1) == []
    assert course.run(OK, 'segmenting', 60) == []


def test_what_flickers_is_not_told_again(course: Course) -> None:
    course.run(WARN, 'frames were lost', 10)
    for _ in range(5):
        assert course.run(OK, 'segmenting', 2) == []
        assert course.run(WARN, 'frames were lost', 2) == []


def test_another_kind_of_wrong_is_told_too(course: Course) -> None:
    course.run(STALE, 'silent', 10)
    assert course.run(WARN, 'without metres', 10) == ['warning camera: without metres']
    assert course.run(OK, 'segmenting', 10) == ['info camera: segmenting']


def test_cameras_are_told_of_one_by_one(course: Course) -> None:
    course.run(STALE, 'silent', 10, 'camera front')
    assert course.run(STALE, 'silent', 10, 'camera rear') == ['warning camera rear: silent']


def test_forgotten_is_as_if_new(course: Course) -> None:
    course.run(STALE, 'silent', 10)
    course.log.forget()
    assert course.run(STALE, 'silent', SETTLED - 1) == []
    assert course.run(STALE, 'silent', 10) == ['warning camera: silent']
