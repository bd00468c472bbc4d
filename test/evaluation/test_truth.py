# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Truth of another class map: matched by name, or refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import painted
import pytest

from segformer_ros.evaluation.job import EvaluationJob, ModelChoice
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.metrics.metric import MetricError


def of_classes(classes: Path) -> ModelChoice:
    return dataclasses.replace(painted.FAKE, classes=str(classes))


def test_scores_do_not_depend_on_the_order_of_the_classes(backwards: Path, tmp_path: Path) -> None:
    jobs = [EvaluationJob(('street:7:10',), model=painted.FAKE)]
    jobs.append(dataclasses.replace(jobs[0], model=of_classes(backwards)))
    runs = [EvaluationRun(job, tmp_path / str(i)).execute() for i, job in enumerate(jobs)]
    one, other = (run.metrics for run in runs)
    assert len(runs[0].pictures[0].picture.map)
    assert one['iou']['road'] > 0.02
    for name, iou in one['iou'].items():  # ties between two classes go to the first of them
        assert other['iou'][name] == (None if iou is None else pytest.approx(iou, abs=1e-5))
    assert one['map']['maps'] == 1  # of ten frames
    assert 0 < one['map_known'] < 1
    assert one['map_known'] == pytest.approx(other['map_known'], abs=1e-3)
    assert one['map_false_free'] == pytest.approx(other['map_false_free'], abs=1e-3)


def test_a_reference_is_matched_by_name(backwards: Path, tmp_path: Path) -> None:
    images, _ = painted.write_folders(tmp_path, 2)
    job = EvaluationJob((str(images),), model=painted.FAKE, reference=of_classes(backwards))
    assert EvaluationRun(job, tmp_path / 'out').execute().metrics['miou'] == 1.0


@pytest.mark.parametrize('reference', [None, painted.FAKE])
def test_truth_of_other_classes_is_refused(reference: ModelChoice | None, tmp_path: Path) -> None:
    model = of_classes(Path('ade20k'))
    job = EvaluationJob(('street:7:2',), model=model, reference=reference)
    words = r"has the classes of 'cityscapes' \(19\), the model those of 'ade20k' \(150\); in one"
    with pytest.raises(MetricError, match=words):
        EvaluationRun(job, tmp_path)
