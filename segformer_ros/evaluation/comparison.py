# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Compare: two runs frame by frame, with confidence intervals that separate change from noise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros.documents import DocumentError
from segformer_ros.errors import reason
from segformer_ros.evaluation.regression_gate import read_metrics
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.evaluation.tables import CONFUSION_NPY, read_frames, read_matrices
from segformer_ros.metrics.metric import ratios

_BATCH = 64  # resamples that are drawn together
_PART = 4096  # frames whose matrices are read together

FrameName = Tuple[str, str]
"""Recording and key of a frame."""

RESAMPLES = 2000
LEVEL = 0.95
"""Confidence level: share of the resamples inside an interval."""
BLOCK = 10
"""Consecutive frames that are resampled together.

Neighbouring frames of a drive show the same street, so they are not independent samples; a block
bootstrap (Kuensch, 1989) preserves their correlation, and its intervals are rightly wider.
"""
FEWEST_BLOCKS = 8
"""Blocks below which there is no interval: too few to estimate how much blocks differ."""


class ScoreChange(NamedTuple):
    """A score before and after, and the confidence interval of the difference after - before.

    low, high: NaN where too few blocks of frames have the score for an interval.
    """

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """after - before."""
        return self.after - self.before

    @property
    def decided(self) -> bool:
        """Whether there is an interval."""
        return not np.isnan(self.low)

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


class DrivableChange(NamedTuple):
    """A score of the drivable area over each whole run; NaN where one of them lacks it."""

    name: str
    before: float
    after: float


class FrameChange(NamedTuple):
    """Pixel accuracy of a frame before and after."""

    frame: str
    before: float
    after: float


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    frames: number of frames that both runs scored against the same truth. only_before, only_after:
    frames that only one of them scored. other_truth: frames whose truth differs; they are left
    out. blocks: number of blocks of the frames in common.
    miou, pixel_accuracy: over the frames in common. classes: IoU by class name.
    changed: frames whose pixel accuracy changed the most, in that order.
    drivable: scores of the drivable area, of all frames of each run: they have no intervals.
    """

    frames: int
    only_before: int
    only_after: int
    other_truth: int
    blocks: int
    miou: ScoreChange
    pixel_accuracy: ScoreChange
    classes: Dict[str, ScoreChange]
    changed: Sequence[FrameChange]
    drivable: Sequence[DrivableChange] = ()


class _Finished(NamedTuple):
    """A finished run. frames: index in the matrices of each scored frame, by its name."""

    classes: Tuple[str, ...]
    frames: Dict[FrameName, int]
    matrices: np.ndarray
    metrics: Mapping[str, Any]


def compare_runs(
    before: Path, after: Path, block: int = BLOCK, resamples: int = RESAMPLES, changed: int = 10
) -> Comparison:
    """Compare two runs, given by their folders or metrics.json; raises EvaluationError.

    Frames are paired by recording and name, if both have the same number of true pixels of each
    class; others are different frames, or were relabelled. Each resample draws blocks of the
    frames in common, the same for both runs, and scores their summed confusion matrices.
    """
    one, other = _load(before), _load(after)
    if block < 1:
        raise EvaluationError(f'blocks of {block} frames; give 1 or more')
    if one.classes != other.classes:
        raise EvaluationError(
            f'{before} and {after} score different classes ({len(one.classes)} and '
            f'{len(other.classes)}); evaluate both with the same class map and --merge'
        )
    paired = [frame for frame in one.frames if frame in other.frames]
    if not paired:
        raise EvaluationError(
            f'{before} and {after} have no scored frame in common (a frame of each: '
            f'{_any_name(one)}, {_any_name(other)}); compare runs on the same recordings'
        )
    counts = [_counts(run, paired) for run in (one, other)]
    same = (counts[0].true == counts[1].true).all(axis=1)
    if not same.any():
        raise EvaluationError(
            f'{before} and {after} have {len(paired)} frames of the same names, all with '
            'different truth; compare runs on the same data and labels'
        )
    common = [frame for frame, alike in zip(paired, same) if alike]
    counts = [_Counts(*(part[same] for part in run)) for run in counts]
    member = _block_members(common, block)  # (N,)
    first, second = (_sample(values, member, resamples) for values in counts)
    blocks = int(member.max()) + 1
    ious = [
        _change(first.iou[:, k], second.iou[:, k], blocks_with_class)
        for k, blocks_with_class in enumerate(_blocks_by_class(counts, member))
    ]
    return Comparison(
        frames=len(common),
        only_before=len(one.frames) - len(paired),
        only_after=len(other.frames) - len(paired),
        other_truth=len(paired) - len(common),
        blocks=blocks,
        miou=_change(first.miou, second.miou, blocks),
        pixel_accuracy=_change(first.accuracy, second.accuracy, blocks),
        classes={
            name: change
            for name, change in zip(one.classes, ious)
            if not np.isnan(change.difference)
        },
        changed=_most_changed(common, counts, changed),
        drivable=_drivable(one.metrics, other.metrics),
    )


class _Counts(NamedTuple):
    """Right, true and predicted pixels by frame and class: (N, K) int64 each."""

    hits: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


class _Sampled(NamedTuple):
    """Scores of the run, then of its R resamples: iou (R + 1, K), the others (R + 1,)."""

    iou: np.ndarray
    miou: np.ndarray
    accuracy: np.ndarray


def _load(path: Path) -> _Finished:
    metrics = read_metrics(path)
    folder = path if path.is_dir() else path.parent
    try:
        rows = [row for row in read_frames(folder) if row.scored]
        matrices = read_matrices(folder)
    except (OSError, DocumentError) as error:
        raise EvaluationError(
            f'{folder} does not have a complete result of `segformer evaluate`: {reason(error)}; '
            'evaluate again'
        ) from error
    if len(rows) != len(matrices):
        raise EvaluationError(
            f'{folder} is a mixture of runs: frames.csv has {len(rows)} scored frames, '
            f'{CONFUSION_NPY} {len(matrices)}; evaluate again'
        )
    _check_confusion(path, metrics, matrices)
    names = {(row.input, row.frame): place for place, row in enumerate(rows)}
    return _Finished(tuple(metrics['classes']), names, matrices, metrics)


def _check_confusion(path: Path, metrics: Mapping[str, Any], matrices: np.ndarray) -> None:
    """Raise EvaluationError unless the frames add up to the confusion in metrics.json."""
    counted = [metrics.get(name) or () for name in ('confusion', 'no_class')]
    total = np.column_stack(counted) if all(counted) else np.zeros((0, 0))  # (K, K + 1)
    if total.shape != matrices.shape[1:] or (matrices.sum(axis=0, dtype=np.int64) != total).any():
        file = path / 'metrics.json' if path.is_dir() else path
        raise EvaluationError(
            f'{file} and the {CONFUSION_NPY} beside it are from different runs; keep each run in '
            'a folder of its own, or evaluate again'
        )


def _drivable(before: Mapping[str, Any], after: Mapping[str, Any]) -> List[DrivableChange]:
    """Scores of the drivable area that both runs have."""
    one, other = (_drivable_scores(metrics) for metrics in (before, after))
    return [
        DrivableChange(name, value, other[name]) for name, value in one.items() if name in other
    ]


def _drivable_scores(metrics: Mapping[str, Any]) -> Dict[str, float]:
    """Scores of the drivable area in a metrics.json, by their titles."""
    drivable = metrics.get('drivable') or {}
    scores = {'drivable IoU': drivable.get('iou'), 'drivable and rest': drivable.get('miou')}
    birdseye = drivable.get('birdseye') or {}
    for name in ('precision', 'recall', 'f1', 'iou', 'max_f'):
        title = {'f1': 'F1', 'iou': 'IoU', 'max_f': 'MaxF'}.get(name, name)
        scores[f"bird's-eye {title}"] = birdseye.get(name)
    for name in ('known', 'false_free', 'false_on_things'):
        scores[f'map, {name.replace("_", " ")}'] = (metrics.get('map') or {}).get(name)
    for scale, unit in (('metres', 'm'), ('rows', 'of the height')):
        for band in (drivable.get(scale) or {}).get('bands', ()):
            for name in ('false_free', 'false_blocked'):
                title = name.replace('_', ' ')
                scores[f'{title}, {band["band"]} {unit}'] = band.get(name)
    return {name: value for name, value in scores.items() if value is not None}


def _any_name(run: _Finished) -> str:
    return '/'.join(next(iter(run.frames), ('none',)))


def _counts(run: _Finished, frames: Sequence[FrameName]) -> _Counts:
    places = [run.frames[frame] for frame in frames]
    # In parts: the matrices of hours of frames are gigabytes, unlike their sums.
    parts = [
        _counted(run.matrices[places[start : start + _PART]])
        for start in range(0, len(places), _PART)
    ]
    return _Counts(*(np.concatenate(part) for part in zip(*parts)))


def _counted(matrices: np.ndarray) -> _Counts:
    """Sums of confusion matrices (N, K, K + 1), whose last column is pixels without a class."""
    square = matrices[:, :, :-1]  # (N, K, K)
    hits = np.diagonal(square, axis1=1, axis2=2).astype(np.int64)  # (N, K)
    return _Counts(hits, matrices.sum(axis=2, dtype=np.int64), square.sum(axis=1, dtype=np.int64))


def _block_members(frames: Sequence[FrameName], block: int) -> np.ndarray:
    """Block of each frame, (N,) int: up to `block` consecutive frames of one recording.

    The blocks of a recording have equal lengths, within one frame: a short last block would weigh
    as much as the others when blocks are drawn.
    """
    lengths = Counter(recording for recording, _ in frames)
    places: Dict[str, int] = {}
    numbers: Dict[Tuple[str, int], int] = {}
    member = np.empty(len(frames), np.intp)
    for index, (recording, _) in enumerate(frames):
        place = places[recording] = places.get(recording, -1) + 1
        length = lengths[recording]
        own = place * -(-length // block) // length
        member[index] = numbers.setdefault((recording, own), len(numbers))
    return member


def _blocks_by_class(counts: Sequence[_Counts], member: np.ndarray) -> List[int]:
    """For each class, the number of blocks that have it in the truth or either prediction."""
    seen = np.zeros((int(member.max()) + 1, counts[0].true.shape[1]), bool)
    for part in counts:
        np.logical_or.at(seen, member, (part.true > 0) | (part.predicted > 0))
    return [int(blocks) for blocks in seen.sum(axis=0)]


def _sample(counts: _Counts, member: np.ndarray, resamples: int) -> _Sampled:
    """Scores of the run and its resamples; the draws are the same for equal numbers of blocks."""
    blocks = int(member.max()) + 1
    generator = np.random.default_rng(0)
    # Integers below 2^53 are exact in floats, whose matrix products are much faster.
    sums = [np.zeros((blocks, part.shape[1])) for part in counts]  # (blocks, K) each
    for part, total in zip(counts, sums):
        np.add.at(total, member, part)
    samples = [_scores(*(total.sum(axis=0, keepdims=True) for total in sums))]
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        # How often each block is drawn: (size, blocks).
        weights = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size).astype(float)
        samples.append(_scores(*(weights @ total for total in sums)))
    return _Sampled(*(np.concatenate(parts) for parts in zip(*samples)))


def _scores(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> _Sampled:
    """Scores of sums of pixels, (R, K) each."""
    iou = ratios(hits, true + predicted - hits)
    present = true > 0
    return _Sampled(
        iou=iou,
        miou=ratios(np.where(present, iou, 0.0).sum(axis=1), present.sum(axis=1)),
        accuracy=ratios(hits.sum(axis=1), true.sum(axis=1)),
    )


def _change(before: np.ndarray, after: np.ndarray, blocks: int) -> ScoreChange:
    """The change of one score, from its (R + 1,) values in both runs; blocks: how many have it."""
    differences = after - before  # (R + 1,), the first without resampling
    known = differences[1:][~np.isnan(differences[1:])]
    low, high = (np.nan, np.nan)
    if len(known) and blocks >= FEWEST_BLOCKS:
        tail = (1 - LEVEL) / 2
        ends = np.quantile(known, (tail, 1 - tail))
        low, high = differences[0] + (ends - differences[0]) * _widening(blocks)
    return ScoreChange(float(before[0]), float(after[0]), float(low), float(high))


def _widening(blocks: int) -> float:
    """Factor by which the quantiles of the resamples are too narrow for few blocks.

    Resamples have only (blocks - 1) / blocks of the true variance, and the quantiles of a normal
    distribution, where Student's t is right as the variance is estimated (expansion by Peiser,
    1943).
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    free = blocks - 1
    student = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return float(student / z * np.sqrt(blocks / free))


def _most_changed(
    frames: Sequence[FrameName], counts: Sequence[_Counts], number: int
) -> List[FrameChange]:
    before, after = (ratios(part.hits.sum(axis=1), part.true.sum(axis=1)) for part in counts)
    order = np.argsort(-np.nan_to_num(np.abs(after - before)), kind='stable')[:number]
    return [
        FrameChange('/'.join(frames[i]), float(before[i]), float(after[i]))
        for i in order
        if before[i] != after[i]
    ]
