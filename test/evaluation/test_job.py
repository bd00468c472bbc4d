# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The job: what decides its numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import painted
import pytest
import recordings

from segformer_ros.evaluation.job import EvaluationJob, ModelChoice, describe
from segformer_ros.measurement import versions
from segformer_ros.model.sidecar import quantized_path
from segformer_ros.recordings import open_source
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


def fingerprint(job: EvaluationJob) -> str:
    """Of the job and its recordings, as they lie there now."""
    return job.fresh().fingerprint([open_source(path, job.sources) for path in job.inputs])


@pytest.mark.parametrize('change', [_other_weights, _a_sidecar, _an_int8_version])
def test_what_changes_the_masks_changes_the_fingerprint(
    job: EvaluationJob, model: Path, change: Callable[[Path], None]
) -> None:
    before = fingerprint(job)
    assert fingerprint(job) == before
    change(model)
    assert fingerprint(job) != before


def test_what_changes_the_truth_of_cityscapes_changes_the_fingerprint(tmp_path: Path) -> None:
    stem = 'bonn_000000_000019'
    image = tmp_path / 'leftImg8bit' / 'val' / 'bonn' / f'{stem}_leftImg8bit.png'
    truth = tmp_path / 'gtFine' / 'val' / 'bonn' / f'{stem}_gtFine_labelIds.png'
    recordings.write_png(image, recordings.picture(1))
    recordings.write_png(truth, recordings.labels(1))
    job = EvaluationJob((str(tmp_path / 'leftImg8bit' / 'val'),), model=painted.FAKE)
    before = fingerprint(job)
    recordings.write_png(truth, recordings.labels(2))
    os.utime(truth, (1, 1))
    assert fingerprint(job) != before
    before = fingerprint(job)
    recordings.write_png(truth.with_name(f'{stem}_gtFine_instanceIds.png'), recordings.labels(2))
    assert fingerprint(job) != before


def test_a_recording_given_as_a_url_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    bag = painted.write_bag(tmp_path / 'drive', 2)
    job = EvaluationJob((f'file://{bag}',), model=painted.FAKE)
    before = fingerprint(job)
    os.utime(bag / 'drive.mcap', (1, 1))
    assert fingerprint(job) != before


def test_label_images_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    job = painted.folder_job(tmp_path, 2)
    before = fingerprint(job)
    os.utime(tmp_path / 'labels' / 'frame0001.png', (1, 1))
    assert fingerprint(job) != before


def test_versions_are_part_of_the_fingerprint(
    job: EvaluationJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(job)
    assert 'openvino' in versions()
    monkeypatch.setattr(metadata, 'version', lambda name: f'another {name}')
    assert fingerprint(job) != before


def test_the_number_of_threads_is_not(job: EvaluationJob) -> None:
    more = replace(job.model, options=replace(job.model.options, threads=7, streams=2))
    assert fingerprint(replace(job, model=more)) == fingerprint(job)


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b'caf\xe9')
    recordings.write_folder(tmp_path / 'clip', 1).rename(folder)
    (folder / 'frame0.png').rename(folder / os.fsdecode(b'stra\xdfe.png'))
    assert fingerprint(EvaluationJob((str(folder),), model=painted.FAKE))


def test_the_hash_is_that_of_the_weights_too(model: Path) -> None:
    before = describe(ModelChoice(str(model)), 'exact')['sha256']
    _other_weights(model)
    assert describe(ModelChoice(str(model)), 'exact')['sha256'] != before
