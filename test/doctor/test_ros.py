"""What the doctor says of the transport."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.doctor import Verdict
from segformer_ros.doctor.ros import profile_finding

PROFILE = """<?xml version="1.0"?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles>
<transport_descriptors><transport_descriptor><type>SHM</type>
<segment_size>{size}</segment_size></transport_descriptor></transport_descriptors>
</profiles></dds>"""


def test_the_shipped_profile_is_fit_for_images(repo: Path) -> None:
    finding = profile_finding(str(repo / 'config/fastdds.xml'))
    assert finding.verdict is Verdict.OK
    assert '64 MiB' in finding.detail


@pytest.mark.parametrize(
    ('text', 'verdict', 'words'),
    [
        (PROFILE.format(size=524288), Verdict.WARNING, '0.5 MiB, too little for images'),
        ('<dds></dds>', Verdict.WARNING, '0.0 MiB, too little'),
        ('not xml', Verdict.BROKEN, 'cannot be read: syntax error'),
        (None, Verdict.BROKEN, 'No such file'),
    ],
)
def test_other_profiles_are_told_from_it(
    tmp_path: Path, text: str | None, verdict: Verdict, words: str
) -> None:
    profile = tmp_path / 'mine.xml'
    if text is not None:
        profile.write_text(text)
    finding = profile_finding(str(profile))
    assert finding.verdict is verdict
    assert words in finding.detail
    assert 'config/fastdds.xml' in finding.cure


def test_no_profile_is_warned_of() -> None:
    finding = profile_finding(None)
    assert finding.verdict is Verdict.WARNING
    assert 'is not set' in finding.detail
    assert finding.cure.startswith('export FASTRTPS_DEFAULT_PROFILES_FILE=')
