"""A look at labels before a run: what would make its numbers worthless is said or refused."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence

import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.metrics.metric import histogram, ratio
from segformer_ros.recordings import Source, SourceFrame, SourceOptions

_PLACES = 3
"""Places of a recording that are looked at: its beginning and further on."""
_FRAMES = 3
"""Frames of each place."""
_ODD_SHARE = 0.05
"""Share of the labelled pixels that may be of no class."""
_SURE_SHARE = 0.01
"""The same, where all values are label ids."""
_FEW_LABELLED = 0.3
_FEW_CLASSES = 3
_NAMED = 8

_BETTER, _AGREES, _DISAGREES = 0.3, 0.5, 0.1
"""Shares of pixels: masks that agree so much more, and so far, with labels read as label ids mean
that they are; below the last, labels and masks have little to do with each other."""


class _Seen(NamedTuple):
    """What was found in the frames that were looked at.

    counts: (256,) pixels by value. frames: those with labels. faults: why others have none.
    """

    counts: np.ndarray
    frames: int
    faults: Sequence[str]


def survey(source: Source, own: ClassMap, options: SourceOptions) -> List[str]:
    """Notes on a recording's labels, from a few of its frames.

    own: the classes that the labels are train ids of. Raises EvaluationError for label ids, which
    would be scored as other classes.
    """
    seen = _look(source)
    if not seen.frames:
        if not seen.faults:
            return []
        return [f'no labels of the {len(seen.faults)} frames looked at: {seen.faults[0]}']
    values = np.flatnonzero(seen.counts[:IGNORE_ID])
    looked = f'{seen.frames} frames looked at'
    labelled = int(seen.counts[:IGNORE_ID].sum())
    if not labelled:
        return [f'no pixel of the {looked} is labelled: all are {IGNORE_ID}']
    if not (options.label_ids or source.class_map):
        _refuse_label_ids(source, own, values, seen.counts)
    notes = []
    if len(values) < min(len(own), _FEW_CLASSES):
        names = ' and '.join(f'{value} ({own.name_of(int(value))})' for value in values)
        notes.append(
            f'all labels of the {looked} are {names}; are they a mask of another meaning? 255 is '
            'not scored'
        )
    odd = [int(value) for value in values if value >= len(own)]
    share = ratio(int(seen.counts[odd].sum()), labelled)
    if share > _ODD_SHARE:
        notes.append(
            f'{share:.0%} of the labelled pixels of the {looked} are of no class of {own.name!r}: '
            f'{_listed(odd)}; if they are of another class map, name it (--label-ids)'
        )
    if labelled < _FEW_LABELLED * seen.counts.sum():
        notes.append(f'only {labelled / seen.counts.sum():.0%} of the {looked} is labelled')
    return notes


def _look(source: Source) -> _Seen:
    counts, frames, faults = np.zeros(256, np.int64), 0, []
    for entry in _sampled(source):
        if entry.labels is not None:
            counts += histogram(entry.labels)
            frames += 1
        elif entry.error and entry.frame is not None:
            faults.append(entry.error)
    return _Seen(counts, frames, faults)


def _sampled(source: Source) -> Iterator[SourceFrame]:
    """A few frames in a row at each of a few places."""
    stop = 0
    for place in range(_PLACES):
        start = max(stop, len(source) * place // _PLACES)  # none twice
        stop = start + _FRAMES
        yield from source.frames(start, stop)


def _refuse_label_ids(
    source: Source, own: ClassMap, values: np.ndarray, counts: np.ndarray
) -> None:
    """Raise EvaluationError where the values are those of the data set's own label ids."""
    if not own.has_label_ids:
        return
    table = own.label_table()
    odd = [int(value) for value in values if value >= len(own)]
    classes = [value for value in odd if table.get(value, IGNORE_ID) != IGNORE_ID]
    share = counts[odd].sum() / counts[:IGNORE_ID].sum()
    if not classes or share < _SURE_SHARE or any(value not in table for value in values.tolist()):
        return
    named = ', '.join(f'{value} {own.names[table[value]]}' for value in classes[:_NAMED])
    raise EvaluationError(
        f'{source.name}: labels hold label ids of {own.name!r}, not train ids: they have '
        f'{_listed(values.tolist())}, where {named}; give --label-ids {own.name} (or --label-ids '
        'train, if they are train ids all the same)'
    )


def _listed(values: Sequence[int]) -> str:
    more = ', ...' if len(values) > 3 * _NAMED else ''
    return ', '.join(map(str, values[: 3 * _NAMED])) + more


def agreement_note(matrix: np.ndarray, own: ClassMap) -> str:
    """One line where the masks speak for labels of another kind; '' where they do not.

    matrix: (K, K + 1) int64 confusion of train ids as they were read.
    """
    accuracy = _accuracy(matrix)
    if np.isnan(accuracy):
        return ''
    moved = _as_label_ids(matrix, own)
    as_ids, kept = _accuracy(moved), ratio(int(moved.sum()), int(matrix.sum()))
    if own.has_label_ids and min(as_ids, kept) > _AGREES and as_ids > accuracy + _BETTER:
        return (
            f'the masks agree with the labels in {accuracy:.0%} of the pixels, and in '
            f'{as_ids:.0%} if the labels are label ids of {own.name!r}: give --label-ids '
            f'{own.name}'
        )
    if accuracy < _DISAGREES:
        return (
            f'the masks agree with the labels in {accuracy:.1%} of the pixels: are the labels of '
            'these frames, of the whole of them, and of the classes of the model (--classes, '
            '--label-ids, --label-colors)?'
        )
    return ''


def _accuracy(matrix: np.ndarray) -> float:
    """Share of the pixels that are right; NaN where there are none."""
    return ratio(int(np.trace(matrix[:, :-1])), int(matrix.sum()))


def _as_label_ids(matrix: np.ndarray, own: ClassMap) -> np.ndarray:
    """The same counts, with each true value taken for a label id."""
    moved, table = np.zeros_like(matrix), own.label_table()
    for value, row in enumerate(matrix):
        train_id = table.get(value, IGNORE_ID)
        if train_id != IGNORE_ID:
            moved[train_id] += row
    return moved
