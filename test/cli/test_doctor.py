"""segformer doctor, as it is typed."""

from __future__ import annotations

import json

import pytest

from segformer_ros.cli import doctor
from segformer_ros.cli.checks import Finding, Health
from segformer_ros.cli.main import main


def test_every_part_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    main(['doctor', '--json'])
    findings = json.loads(capsys.readouterr().out)
    assert {finding['part'] for finding in findings} == {'machine', 'software', 'GPU', 'ROS 2'}
    by_name = {finding['name']: finding for finding in findings}
    assert by_name['bundled model']['verdict'] == 'OK'
    assert '(width x height)' in by_name['bundled model']['detail']
    assert by_name['OpenVINO (CPU engine)']['detail'].endswith('CPU')


@pytest.mark.parametrize(('verdict', 'code'), [(Health.WARNING, 0), (Health.BROKEN, 1)])
def test_cures_are_listed_and_the_code_tells(
    verdict: Health,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = Finding('software', 'cv2', verdict, 'missing', 'pip install it')
    monkeypatch.setattr(doctor, 'examine', lambda: [finding])
    assert main(['doctor']) == code
    assert 'What to do:\n- cv2: pip install it\n' in capsys.readouterr().out
