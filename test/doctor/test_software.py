"""What the doctor says of the libraries."""

from __future__ import annotations

import pytest
import rosbags.rosbag2

from segformer_ros.doctor.finding import Verdict
from segformer_ros.doctor.software import examine_software


def test_a_rosbags_that_can_do_all_needs_no_word() -> None:
    assert 'bags' not in {finding.name for finding in examine_software()}


def test_an_old_rosbags_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rosbags.rosbag2, 'StoragePlugin')
    found = next(finding for finding in examine_software() if finding.name == 'bags')
    assert found.verdict is Verdict.WARNING
    assert 'Python 3.10' in found.cure
