"""OpenVINO reports nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = (
    'from segformer_ros.engines.openvino_library import import_openvino; import_openvino().Core()'
)


@pytest.mark.parametrize('code', [IMPORT, 'from segformer_ros.cli import main; main(["doctor"])'])
def test_nothing_is_left_in_the_users_folder(code: str, tmp_path: Path) -> None:
    """Its telemetry keeps the user's id there."""
    subprocess.run(
        [sys.executable, '-c', code],
        check=True,
        env={**os.environ, 'HOME': str(tmp_path)},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    assert not (tmp_path / 'intel').exists()
