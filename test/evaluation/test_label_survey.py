# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What would make the numbers of a run worthless is said, or refused, before it begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import painted
import pytest
import recordings

from segformer_ros.evaluation.job import EvaluationJob
from segformer_ros.evaluation.label_survey import agreement_note, survey
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.recordings import SourceOptions, open_source

LABEL_IDS = np.full(256, 255, np.uint8)
LABEL_IDS[:19] = [entry.label_id for entry in painted.CITYSCAPES.classes]
COUNT = 3


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return painted.write_folders(tmp_path, COUNT)[0]


def run_of(images: Path, values: list[np.ndarray], **options: str) -> EvaluationRun:
    """A run with these labels, of one frame each."""
    folder = images.parent / 'others'
    for index, labels in enumerate(values):
        recordings.write_png(folder / f'frame{index:04d}.png', labels)
    sources = SourceOptions(labels=folder, **options)  # type: ignore[arg-type]
    return EvaluationRun(
        EvaluationJob((str(images),), sources, painted.FAKE), images.parent / 'out'
    )


def truths() -> list[np.ndarray]:
    return [painted.truth(index) for index in range(COUNT)]


def test_good_labels_give_no_note(images: Path) -> None:
    with run_of(images, truths()) as run:
        assert run.notes == []
        run.execute()
        assert run.notes == []


def test_label_ids_are_refused_with_the_option_that_maps_them(images: Path) -> None:
    ids = [LABEL_IDS[labels] for labels in truths()]
    words = "images: labels hold label ids of 'cityscapes', not train ids.* give --label-ids citys"
    with pytest.raises(EvaluationError, match=words):
        run_of(images, ids)
    with run_of(images, ids, label_ids='cityscapes') as run:
        mapped = run.execute().metrics
        assert run.notes == []
    with run_of(images, truths()) as run:
        assert run.execute().metrics['confusion'] == mapped['confusion']
    with run_of(images, ids, label_ids='train') as run:  # whoever insists
        assert '% of the labelled pixels' in run.notes[0]


def test_the_option_for_a_labels_txt_is_the_preset_that_it_has_its_ids_of(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / 'mine.txt').write_text('\n'.join(painted.CITYSCAPES.names))
    model = dataclasses.replace(painted.FAKE, classes=str(tmp_path / 'mine.txt'))
    for index, labels in enumerate(truths()):
        recordings.write_png(tmp_path / f'ids/frame{index:04d}.png', LABEL_IDS[labels])
    job = EvaluationJob((str(images),), SourceOptions(labels=tmp_path / 'ids'), model)
    with pytest.raises(EvaluationError, match="of 'mine', not .* give --label-ids cityscapes"):
        EvaluationRun(job, tmp_path / 'out')


def test_label_ids_that_could_be_train_ids_are_told_by_the_masks(images: Path) -> None:
    """Road, sidewalk and building are 7, 8 and 11: a sign, vegetation and a person."""
    road, building = painted.CITYSCAPES.ids('road', 'building')
    truth = np.where(painted.mask(0) == road, road, building).astype(np.uint8)
    with run_of(images, [LABEL_IDS[truth]] * COUNT) as run:
        metrics = run.execute().metrics
    (note,) = (note for note in metrics['inputs'][0]['notes'] if 'the masks agree' in note)
    assert 'if the labels are label ids of' in note and '--label-ids cityscapes' in note


@pytest.mark.parametrize(
    ('labels', 'words'),
    [
        (np.full(painted.SIZE, 13, np.uint8), 'all labels of the 3 frames looked at are 13 (car)'),
        (np.full(painted.SIZE, 255, np.uint8), 'no pixel of the 3 frames looked at is labelled'),
        (np.full(painted.SIZE, 77, np.uint8), '100% of the labelled pixels of the 3 frames'),
        (np.eye(*painted.SIZE, dtype=np.uint8) * 13, 'are 0 (road) and 13 (car); are they masks'),
        (np.full((32, 32), 3, np.uint8), 'another aspect, so another field of view'),
        (np.full((32, 64), 3, np.uint8), 'resize the labels to 128x64'),
    ],
)
def test_labels_that_make_numbers_worthless_are_noted(
    images: Path, labels: np.ndarray, words: str
) -> None:
    with run_of(images, [labels] * COUNT) as run:
        assert any(words in note for note in run.notes)


def street(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (240, 320) of boxes, each of a class and grey value of its own, and its labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((240, 320), np.uint8)
    image = np.full((240, 320), 90, np.uint8)
    for _ in range(12):
        y, x = int(rng.integers(0, 200)), int(rng.integers(0, 270))
        place = (slice(y, y + int(rng.integers(20, 90))), slice(x, x + int(rng.integers(20, 90))))
        labels[place], image[place] = rng.integers(1, 19), rng.integers(0, 256)
    return np.repeat(image[..., None], 3, axis=2), labels


def cut(labels: np.ndarray) -> np.ndarray:
    """The middle alone, three quarters of each side, at the size of the whole."""
    middle = labels[30:-30, 40:-40]
    return cv2.resize(middle, labels.shape[::-1], interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda labels: labels, ''),
        (lambda labels: labels[:, ::-1], 'mirrored'),
        (lambda labels: labels[::-1, ::-1], 'turned upside down'),
        (cut, 'scaled by 0.75 about the middle'),
        (lambda labels: np.roll(labels, 40, axis=1), 'shifted by 12% of the width'),
    ],
)
def test_labels_of_another_field_of_view_are_noted(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    for index in range(6):
        image, labels = street(index)
        recordings.write_png(tmp_path / f'images/{index}.png', image)
        recordings.write_png(
            tmp_path / f'labels/{index}.png', np.ascontiguousarray(change(labels))
        )
    options = SourceOptions(labels=tmp_path / 'labels')
    notes = survey(open_source(tmp_path / 'images', options), painted.CITYSCAPES, options)
    found = [note for note in notes if 'another field of view' in note]
    assert [words in note for note in found] == ([True] if words else [])


def test_few_labelled_pixels_are_noted(images: Path) -> None:
    few = truths()
    for labels in few:
        labels[8:] = 255
    with run_of(images, few) as run:
        assert any('of the 3 frames looked at is labelled' in note for note in run.notes)


def test_masks_that_have_nothing_to_do_with_the_labels_are_noted() -> None:
    matrix = np.zeros((19, 20), np.int64)
    matrix[10, 3] = 100
    note = agreement_note(matrix, painted.CITYSCAPES)
    assert 'agree with the labels in 0.0% of the pixels' in note
    matrix[10, 10] = 300
    assert agreement_note(matrix, painted.CITYSCAPES) == ''


def test_truth_of_another_data_set_is_scored_where_it_is_named(images: Path) -> None:
    """CamVid's colours on a model of Cityscapes: eleven classes in common, eight lacking."""
    from segformer_ros.classes import load_class_map

    camvid = load_class_map('camvid')
    table = np.full(256, 255, np.uint8)
    for train_id, name in enumerate(painted.CITYSCAPES.names):
        if name in camvid.names:
            table[train_id] = camvid.names.index(name)
    colours = [camvid.palette_bgr[table[labels]] for labels in truths()]
    with run_of(images, colours, label_colors='camvid') as run:
        assert "the labels ('camvid') do not have wall, traffic light, terrain" in run.notes[0]
        metrics = run.execute().metrics
    assert metrics['iou']['road'] > 0.5
    assert metrics['pixels']['car'] > 0 and metrics['pixels']['wall'] == 0


def test_drivable_ground_from_above_is_in_all_results(tmp_path: Path) -> None:
    from segformer_ros.camera import CameraPose
    from segformer_ros.cli.compare import comparison_text
    from segformer_ros.cli.evaluate import scores_text
    from segformer_ros.evaluation.comparison import compare_runs
    from segformer_ros.evaluation.report import report_run

    bag = painted.write_bag(tmp_path / 'drive', 3, pose=CameraPose(1.5, pitch=0.1))
    job = dataclasses.replace(painted.bag_job(bag), worst=0)
    with EvaluationRun(job, tmp_path / 'out') as run:
        evaluation = run.execute()
        page = report_run(run, evaluation).read_text()
    above = evaluation.metrics['drivable']['birdseye']
    assert above['cell'] == 0.05 and above['ahead'] == [6.0, 46.0] and above['side'] == 10.0
    assert 0 < above['f1'] <= above['max_f'] <= 1
    assert evaluation.metrics['birdseye_f1'] == above['f1']
    assert '6 to 46 m ahead, 10 m to each side' in page
    assert "bird's-eye MaxF" in scores_text(evaluation.metrics)
    text = comparison_text(compare_runs(tmp_path / 'out', tmp_path / 'out', block=1))
    assert "bird's-eye precision" in text and 'false free, 5-10 m' in text
    rows = evaluation.metrics['drivable']
    assert rows['miou'] == (rows['iou'] + rows['background_iou']) / 2
