"""The pool: workers that do not come to work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import painted
import pytest

SCRIPT = """
from pathlib import Path
from segformer_ros.evaluation import EvaluationJob, Execution, ModelChoice, EvaluationRun
from segformer_ros.recordings import SourceOptions

{guard}
    job = EvaluationJob(
        ('images',), SourceOptions(labels=Path('labels')), ModelChoice(engine='fake'),
        shard_frames=16,
    )
    EvaluationRun(job, Path('out')).execute(Execution(workers=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('guard', 'words'),
    [
        ("if __name__ == '__main__':", ''),
        ('if True:', 'a worker ended with code 1 before it began; its own words stand above'),
    ],
)
def test_a_script_without_its_guard_is_told_so(guard: str, words: str, tmp_path: Path) -> None:
    painted.write_folders(tmp_path, 20)
    (tmp_path / 'script.py').write_text(SCRIPT.format(guard=guard))
    ended = subprocess.run(
        [sys.executable, 'script.py'], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (ended.returncode == 0) is (not words)
    assert words in ended.stderr
    assert 'workers died on frames' not in ended.stderr
