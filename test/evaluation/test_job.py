"""The job: what decides its numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import painted
import pytest

from segformer_ros.engines.precision import quantized_path
from segformer_ros.evaluation import EvaluationJob, ModelChoice
from segformer_ros.evaluation.job import describe
from tiny_models import save_external_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / 'model.onnx'
    save_external_network(path)
    return path


@pytest.fixture
def job(model: Path, tmp_path: Path) -> EvaluationJob:
    bag = painted.write_bag(tmp_path / 'drive', 2)
    return EvaluationJob((str(bag),), model=ModelChoice(str(model)))


def _other_weights(model: Path) -> None:
    (model.parent / 'weights.bin').write_bytes((model.parent / 'weights.bin').read_bytes() + b'\0')


def _a_sidecar(model: Path) -> None:
    model.with_suffix('.yaml').write_text('fit: letterbox\n')


def _an_int8_version(model: Path) -> None:
    quantized_path(model).write_bytes(b'another network')


@pytest.mark.parametrize('change', [_other_weights, _a_sidecar, _an_int8_version])
def test_what_changes_the_masks_changes_the_fingerprint(
    job: EvaluationJob, model: Path, change: Callable[[Path], None]
) -> None:
    before = job.fingerprint()
    assert job.fingerprint() == before
    change(model)
    assert job.fingerprint() != before


def test_the_hash_is_that_of_the_weights_too(model: Path) -> None:
    before = describe(ModelChoice(str(model)), 'exact')['sha256']
    _other_weights(model)
    assert describe(ModelChoice(str(model)), 'exact')['sha256'] != before
