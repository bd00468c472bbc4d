# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Label survey: checks some labels before a run for mistakes that make scores worthless."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap, load_class_map, preset_names
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.metrics.metric import histogram, ratio
from segformer_ros.recordings import Source, SourceFrame, SourceOptions

_PLACES = 3
"""Places of a recording that are sampled: its beginning and further on."""
_FRAMES = 3
"""Frames at each place."""
_ODD_SHARE = 0.05
"""Share of the labelled pixels that may be of no class."""
_SURE_SHARE = 0.01
"""The same, where all values could be label ids."""
_FEW_LABELLED = 0.3
_FEW_CLASSES = 3
_NAMED = 8

_BETTER, _AGREES, _DISAGREES = 0.3, 0.5, 0.1
"""Shares of pixels: labels are label ids if masks agree with them, read so, by that much more, and
at least that far. Below the last, labels and masks have nothing to do with each other."""


_SIDE = 480
"""Longest side in pixels to which images are scaled down to compare edges."""
_EDGES = 300
"""Fewest edge pixels per frame that are significant."""
_FITS_BETTER, _FITS = 1.15, 1.3
"""How much better the edges of wrong labels must fit once transformed, and how much stronger than
average the image's edges must then be at them. Right labels of CamVid, IDD and LabelMe fit at
least 1.15 times better than transformed ones, and 1.7 times better than average; labels of
another view fit worse."""


class _Seen(NamedTuple):
    """What was found in the sampled frames.

    counts: (256,) pixels by value. frames: number with labels. faults: why others have none.
    odd: notes on labels that are partly not scored. views: as for `_misfit`.
    """

    counts: np.ndarray
    frames: int
    faults: Sequence[str]
    odd: Sequence[str]
    views: Sequence[Tuple[np.ndarray, np.ndarray]]


def survey(source: Source, model: ClassMap, options: SourceOptions) -> List[str]:
    """Notes on a recording's labels, from a few of its frames.

    model: the model's classes; labels are its train ids unless the recording says otherwise.
    Raises EvaluationError for label ids, which would be scored as other classes, and where no
    label file belongs to a frame.
    """
    if source.label_fault:
        raise EvaluationError(f'{source.name}: {source.label_fault}')
    own = load_class_map(source.class_map) if source.class_map else model
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
    notes = [f'labels of {len(seen.odd)} of the {looked}: {seen.odd[0]}'] if seen.odd else []
    moved = _misfit(seen.views)
    if moved:
        notes.append(
            f'the edges of the labels of the {looked} fit those of the images better if the '
            f'labels are {moved}: are they of another field of view?'
        )
    if len(values) < min(len(own), _FEW_CLASSES):
        names = ' and '.join(f'{value} ({own.name_of(int(value))})' for value in values)
        notes.append(
            f'all labels of the {looked} are {names}; are they masks of something else? 255 is '
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
    counts, frames = np.zeros(256, np.int64), 0
    faults: List[str] = []
    odd: List[str] = []
    views = []
    for entry in _sampled(source):
        if entry.frame is None:
            continue
        if entry.labels is None:
            faults.append(entry.error or 'there are none')
            continue
        frames += 1
        counts += histogram(entry.labels)
        odd += [entry.error] if entry.error else []
        views.append((_image_edges(entry.frame.bgr()), _smaller(entry.labels)))
    return _Seen(counts, frames, faults, odd, views)


def _sampled(source: Source) -> Iterator[SourceFrame]:
    """A few consecutive frames at each of a few places."""
    stop = 0
    for place in range(_PLACES):
        start = max(stop, len(source) * place // _PLACES)  # no frame twice
        stop = start + _FRAMES
        yield from source.frames(start, stop)


def _smaller(pixels: np.ndarray, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation))


def _image_edges(image: np.ndarray) -> np.ndarray:
    """Edge strength of each pixel of a BGR image, scaled down: (h, w) float32, 0..1."""
    grey = cv2.cvtColor(_smaller(image, cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    steps = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(*steps)
    return np.minimum(strength / (np.percentile(strength, 90) + 1e-6), 1)


def _label_edges(labels: np.ndarray) -> np.ndarray:
    """Where two classes meet, (h, w) bool; there are no edges to unlabelled pixels."""
    edges, known = np.zeros(labels.shape, bool), labels != IGNORE_ID
    edges[:, 1:] = (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    edges[1:] |= (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    return edges


def _moves() -> Iterator[Tuple[str, np.ndarray]]:
    """Transforms that may correct wrong labels: in words, and (2, 3) on coordinates of -1..1."""
    for zoom in (0.5, 0.67, 0.75, 0.8, 1.25, 1.33, 1.5, 2.0):
        yield f'scaled by {zoom:g} about the middle', np.array([[zoom, 0, 0], [0, zoom, 0]])
        yield f'made {zoom:g} times as wide', np.array([[zoom, 0, 0], [0, 1, 0]])
        yield f'made {zoom:g} times as high', np.array([[1, 0, 0], [0, zoom, 0]])
    for shift in (-0.5, -0.25, -0.12, 0.12, 0.25, 0.5):
        yield f'shifted by {abs(shift) / 2:.0%} of the width', np.array([[1, 0, shift], [0, 1, 0]])
        yield (
            f'shifted by {abs(shift) / 2:.0%} of the height',
            np.array([[1, 0, 0], [0, 1, shift]]),
        )
    yield 'mirrored', np.array([[-1, 0, 0], [0, 1, 0]])
    yield 'turned upside down', np.array([[-1, 0, 0], [0, -1, 0]])


def _misfit(views: Sequence[Tuple[np.ndarray, np.ndarray]]) -> str:
    """The transform that would make labels fit their images; '' where they fit as they are.

    views: the edges of each image, see `_image_edges`, and its labels at the same size.
    """
    own = _fit(views, np.eye(2, 3))
    if np.isnan(own):
        return ''
    fits = [(_fit(views, move), words) for words, move in _moves()]
    best, words = max(((fit, words) for fit, words in fits if not np.isnan(fit)), default=(0, ''))
    anywhere = float(np.mean([edges.mean() for edges, _ in views]))
    return words if best > max(_FITS_BETTER * own, _FITS * anywhere) else ''


def _fit(views: Sequence[Tuple[np.ndarray, np.ndarray]], move: np.ndarray) -> float:
    """Mean strength of the images' edges at those of the transformed labels; NaN for too few."""
    total, pixels = 0.0, 0
    for strength, labels in views:
        height, width = labels.shape
        # The transform in pixels: pixel = half * (1 + u) with u of -1..1, so for u' = A u + b
        # linear = diag(half) A diag(1 / half), and the image's centre moves by half * b.
        half = np.array([(width - 1) / 2, (height - 1) / 2])
        linear = move[:, :2] * half[:, None] / half[None, :]  # (2, 2)
        matrix = np.column_stack([linear, half + move[:, 2] * half - linear @ half])  # (2, 3)
        moved = cv2.warpAffine(
            labels, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE_ID
        )
        edges = _label_edges(np.asarray(moved))
        total += float(strength[edges].sum())
        pixels += int(edges.sum())
    return ratio(total, pixels) if pixels >= _EDGES * len(views) else float('nan')


def _refuse_label_ids(
    source: Source, own: ClassMap, values: np.ndarray, counts: np.ndarray
) -> None:
    """Raise EvaluationError where the values are the data set's own label ids."""
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
        f'{_listed(values.tolist())}, where {named}; give --label-ids {_option(own)} (or '
        '--label-ids train, if they are train ids nevertheless)'
    )


def _option(own: ClassMap) -> str:
    """The value of --label-ids for these label ids: a preset, or the class map's own file."""
    if own.name in preset_names():
        return own.name
    known = {entry.name: entry.label_id for entry in load_class_map('cityscapes').classes}
    borrowed = all(entry.label_id in (-1, known.get(entry.name)) for entry in own.classes)
    return 'cityscapes' if borrowed else "FILE, the class map's"


def _listed(values: Sequence[int]) -> str:
    more = ', ...' if len(values) > 3 * _NAMED else ''
    return ', '.join(map(str, values[: 3 * _NAMED])) + more


def agreement_note(matrix: np.ndarray, own: ClassMap) -> str:
    """One line if the masks suggest that the labels were misread; else ''.

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
            f'{_option(own)}'
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
    """The confusion matrix that results if each true value is a label id."""
    moved, table = np.zeros_like(matrix), own.label_table()
    for value, row in enumerate(matrix):
        train_id = table.get(value, IGNORE_ID)
        if train_id != IGNORE_ID:
            moved[train_id] += row
    return moved
