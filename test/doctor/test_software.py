"""Software on the doctor's list."""

from __future__ import annotations

import importlib.util

import pytest

from segformer_ros.doctor.finding import Verdict
from segformer_ros.doctor.software import examine_software


def test_a_library_that_is_missing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'mcap' else find(name)
    )
    found = next(finding for finding in examine_software() if finding.name == 'mcap')
    assert found.verdict is Verdict.WARNING
    assert found.cure == 'pip install mcap'
