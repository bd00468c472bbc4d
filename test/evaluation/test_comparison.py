# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Comparison of runs: paired frames, and intervals that hold what they promise."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import painted
import pytest
import recordings

from segformer_ros.evaluation.comparison import (
    FEWEST_BLOCKS,
    ScoreChange,
    _block_members,
    _blocks_by_class,
    _change,
    _Counts,
    _sample,
    compare_runs,
)
from segformer_ros.evaluation.runner import EvaluationRun
from segformer_ros.evaluation.shards import EvaluationError


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs on the same frames: exact and fast upsampling."""
    root = tmp_path_factory.mktemp('runs')
    job = painted.folder_job(root, 24)
    for name in ('exact', 'fast'):
        EvaluationRun(dataclasses.replace(job, upsampling=name), root / name).execute()
    return root / 'exact', root / 'fast'


def test_a_run_against_itself(runs: tuple[Path, Path]) -> None:
    comparison = compare_runs(runs[0], runs[0] / 'metrics.json', block=1)
    assert comparison.frames == 24
    assert comparison.miou.difference == comparison.miou.low == comparison.miou.high == 0.0
    assert not comparison.changed
    assert not any(change.significant for change in comparison.classes.values())


def test_differences_are_those_of_the_metrics(runs: tuple[Path, Path]) -> None:
    from segformer_ros.evaluation.regression_gate import read_metrics

    before, after = (read_metrics(run) for run in runs)
    comparison = compare_runs(*runs, block=2)
    assert comparison.miou.before == before['miou']
    assert comparison.miou.after == after['miou']
    assert comparison.classes['road'].after == after['iou']['road']
    assert 'rider' not in comparison.classes
    assert comparison.miou.low <= comparison.miou.difference <= comparison.miou.high
    assert comparison == compare_runs(*runs, block=2)


def test_matrices_read_in_parts_count_the_same(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compare_runs(*runs, block=2)
    monkeypatch.setattr('segformer_ros.evaluation.comparison._PART', 5)  # of 24
    assert compare_runs(*runs, block=2) == whole


def test_frames_that_changed_the_most(runs: tuple[Path, Path]) -> None:
    changed = compare_runs(*runs, changed=3).changed
    sizes = [abs(frame.after - frame.before) for frame in changed]
    assert sizes == sorted(sizes, reverse=True)
    assert all(frame.frame.startswith('images/frame') for frame in changed)


def test_frames_of_one_run_alone(tmp_path: Path) -> None:
    few, more = (painted.folder_job(tmp_path / str(n), n) for n in (5, 7))
    EvaluationRun(few, tmp_path / 'few').execute()
    EvaluationRun(more, tmp_path / 'more').execute()
    comparison = compare_runs(tmp_path / 'few', tmp_path / 'more')
    assert (comparison.frames, comparison.only_before, comparison.only_after) == (5, 0, 2)


def test_recordings_that_share_no_frame_are_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    painted.write_bag(tmp_path / 'drive', 3)
    EvaluationRun(painted.bag_job(tmp_path / 'drive'), tmp_path / 'other').execute()
    with pytest.raises(EvaluationError, match=r'no scored frame in common \(a frame of each: im'):
        compare_runs(runs[0], tmp_path / 'other')


def write_labels(root: Path, numbers: range) -> None:
    """Other labels for some of the frames."""
    for index in numbers:
        labels = (painted.truth(index) // 2).astype(np.uint8)
        recordings.write_png(root / f'labels/frame{index:04d}.png', labels)


def test_frames_of_another_truth_are_left_out(tmp_path: Path) -> None:
    job = painted.folder_job(tmp_path, 6)
    EvaluationRun(job, tmp_path / 'before').execute()
    write_labels(tmp_path, range(2))
    EvaluationRun(job, tmp_path / 'after').execute()
    comparison = compare_runs(tmp_path / 'before', tmp_path / 'after')
    assert (comparison.frames, comparison.other_truth) == (4, 2)
    assert comparison.miou.difference == 0.0
    write_labels(tmp_path, range(6))
    EvaluationRun(job, tmp_path / 'all').execute()
    with pytest.raises(
        EvaluationError, match='have 6 frames of the same names, all with different truth'
    ):
        compare_runs(tmp_path / 'before', tmp_path / 'all')


def test_metrics_of_another_run_in_the_folder(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """The frames are read from beside metrics.json, and must be those of the same run."""
    shutil.copytree(runs[0], tmp_path / 'run')
    shutil.copy(runs[1] / 'metrics.json', tmp_path / 'run/new.json')
    with pytest.raises(
        EvaluationError, match=r'new\.json and the confusion\.npy beside it are from dif'
    ):
        compare_runs(runs[0], tmp_path / 'run/new.json')


def counts_of(hits: np.ndarray) -> _Counts:
    """One class of 100 pixels a frame, of which `hits` are found."""
    pixels = np.full((len(hits), 1), 100)
    return _Counts(hits[:, None], pixels, hits[:, None])


def change_of(before: np.ndarray, after: np.ndarray, member: np.ndarray) -> ScoreChange:
    """ScoreChange of the mIoU from one row of hits to another."""
    first, second = (_sample(counts_of(hits), member, 400).miou for hits in (before, after))
    return _change(first, second, int(member.max()) + 1)


def test_the_interval_covers_the_truth_in_about_95_percent() -> None:
    rng = np.random.default_rng(3)
    member = np.arange(60)
    covered = 0
    for _ in range(200):
        before = rng.integers(40, 60, 60)
        after = np.clip(before + rng.normal(5, 8, 60), 0, 100).astype(np.int64)
        change = change_of(before, after, member)
        covered += change.low <= 0.045 <= change.high or change.low <= 0.05 <= change.high
    assert covered >= 180


def test_blocks_widen_the_interval_of_frames_that_are_alike() -> None:
    rng = np.random.default_rng(4)
    hits = np.repeat(rng.integers(20, 80, 12), 10)
    names = [('drive', str(index)) for index in range(120)]
    widths = []
    for block in (1, 10):
        change = change_of(hits, hits * 0 + 50, _block_members(names, block))
        widths.append(change.high - change.low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize('blocks', [FEWEST_BLOCKS, 12, 30])
def test_noise_is_called_a_change_in_about_5_percent(blocks: int) -> None:
    """From the first number of blocks that has an interval."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(200):
        before, after = (rng.binomial(100, 0.8, blocks) for _ in range(2))
        called += change_of(before, after, np.arange(blocks)).significant
    assert 2 <= called <= 18


def test_too_few_blocks_tell_nothing(runs: tuple[Path, Path]) -> None:
    comparison = compare_runs(*runs)
    assert comparison.blocks == 3
    changes = (comparison.miou, comparison.pixel_accuracy, *comparison.classes.values())
    assert not any(change.decided or change.significant for change in changes)
    assert compare_runs(*runs, block=3).miou.decided


def test_a_class_that_few_blocks_have_is_not_judged() -> None:
    """Though the recording is long: its IoU is decided by a few objects."""
    here = np.zeros((40, 2), np.int64)
    here[:, 0] = here[3:5, 1] = 100
    counts = [_Counts(here, here, here)]
    assert _blocks_by_class(counts, np.arange(40) // 2) == [20, 2]


def test_a_short_rest_is_shared_by_the_blocks() -> None:
    names = [('drive', str(index)) for index in range(22)]
    assert np.bincount(_block_members(names, 10)).tolist() == [8, 7, 7]


def test_blocks_do_not_reach_across_recordings() -> None:
    names = [('a', '0'), ('a', '1'), ('a', '2'), ('b', '0'), ('b', '1')]
    assert _block_members(names, 2).tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ('low', 'high', 'significant'), [(0.1, 0.2, True), (-0.1, 0.1, False), (-0.2, -0.1, True)]
)
def test_significance(low: float, high: float, significant: bool) -> None:
    assert ScoreChange(0.5, 0.6, low, high).significant is significant


def test_refusals(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match='blocks of 0 frames; give 1 or more'):
        compare_runs(*runs, block=0)
    merged = painted.folder_job(tmp_path, 3)
    merged = dataclasses.replace(merged, merged=(('rider', 'bicycle'),))
    EvaluationRun(merged, tmp_path / 'merged').execute()
    with pytest.raises(EvaluationError, match=r'score different classes \(19 and 18\)'):
        compare_runs(runs[0], tmp_path / 'merged')
    alone = tmp_path / 'alone'
    alone.mkdir()
    shutil.copy(runs[0] / 'metrics.json', alone)
    with pytest.raises(EvaluationError, match='does not have a complete result'):
        compare_runs(runs[0], alone)
    shutil.copytree(runs[0], tmp_path / 'mixed')
    shutil.copy(tmp_path / 'merged/frames.csv', tmp_path / 'mixed')
    with pytest.raises(EvaluationError, match=r'is a mixture of runs: frames\.csv has 3'):
        compare_runs(runs[0], tmp_path / 'mixed')


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / 'run'))


@pytest.mark.parametrize(
    ('row', 'words'),
    [
        ('a', 'frame 1: .* lacks|index: None'),
        ('a,0,b,x,1,,,0,,,,', "frame 1: stamp_ns: 'x' is not a whole number"),
        ('a,0,b,5,1,inf,,0,,,,', "frame 1: miou: 'inf' is not a number"),
        ('a,-1,b,5,1,,,0,,,,', "frame 1: index: '-1' is not a whole number"),
        ('"' + 'x' * 200_000, 'has a line of 65536 characters or more'),
        ('\0' * 200_000, 'has a line of 65536 characters or more'),
    ],
)
def test_a_damaged_table_is_said(
    runs: tuple[Path, Path], tmp_path: Path, row: str, words: str
) -> None:
    run = copied(runs[0], tmp_path)
    frames = run / 'frames.csv'
    header, *_ = frames.read_text().splitlines()
    frames.write_text(f'{header}\n{row}\n')
    with pytest.raises(EvaluationError, match=f'does not have a complete result.*({words})'):
        compare_runs(run, run)


def written(shape: str, kind: str = '<u4') -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'PK\x03\x04',
        b'\x93NUMPY',
        written('(' * 5000),
        written('(24, 19, 20)'),
        written('(24, 10**9, 20)'),
        written('(-1, 19, 20)'),
        written('()'),
        written('(24, 19, 20)', '|O') + bytes(9120),
        written('(24, 19, 20)', '<f8') + bytes(8 * 9120),
        written('(3, 19, 19)') + bytes(4 * 3 * 19 * 19),
        written('(2305843009213693952, 19, 20)'),
    ],
)
def test_damaged_matrices_are_said(runs: tuple[Path, Path], tmp_path: Path, data: bytes) -> None:
    run = copied(runs[0], tmp_path)
    (run / 'confusion.npy').write_bytes(data)
    with pytest.raises(EvaluationError, match=r'does not have.*confusion\.npy is damaged'):
        compare_runs(run, run)
