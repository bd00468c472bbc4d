# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Base class of all metrics (integer counts, so any split of the work agrees), and helpers.

Scored classes are the classes of a model that the truth distinguishes; some may be merged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Dict, Generic, Iterator, NamedTuple, Optional, Sequence, Tuple, TypeVar

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.errors import SegformerError

ScoresT = TypeVar('ScoresT', covariant=True)


class MetricError(SegformerError, ValueError):
    """Something that cannot be scored; says what, and which value."""


class Metric(ABC, Generic[ScoresT]):
    """Counts over frames: `update` with each frame, `merge` with other counts, `compute`, `reset`.

    counts: int64 array, the metric's whole state. Integer sums are exact, so frames may be counted
        in any order, by any number of workers, with the same result.
    """

    def __init__(self, shape: Tuple[int, ...]) -> None:
        self.counts = np.zeros(shape, np.int64)

    def reset(self) -> None:
        """Forget all frames."""
        self.counts[...] = 0

    def merge(self, counts: np.ndarray) -> None:
        """Add the counts of another metric of the same kind; raises MetricError."""
        if counts.shape != self.counts.shape:
            raise MetricError(
                f'{type(self).__name__}: counts of shape {counts.shape} do not fit '
                f'{self.counts.shape}; score all parts with the same classes'
            )
        self.counts += counts

    @abstractmethod
    def compute(self) -> ScoresT:
        """The scores of all frames counted so far; NaN where nothing was counted."""


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN if the whole is 0."""
    return float(part) / float(whole) if whole else float('nan')


def ratios(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """part / whole of each entry as float64, NaN where a whole is 0."""
    result = np.full(parts.shape, np.nan)
    np.divide(parts, wholes, out=result, where=wholes != 0)
    return result


def mean_of(values: np.ndarray) -> float:
    """Mean of the values that are not NaN, summed one after another; NaN where there are none."""
    valid = [float(value) for value in values if not np.isnan(value)]
    return sum(valid) / len(valid) if valid else float('nan')


_EXACT = 1 << 24
"""OpenCV gives counts as float32, which holds all integers up to here."""


def histogram(values: np.ndarray, mask: Optional[np.ndarray] = None) -> np.ndarray:
    """How often each value occurs in (H, W) uint8 values where the mask (H, W) bool is set.

    (256,) int64.
    """
    counts = np.zeros(256, np.int64)
    for rows in _strips(values.shape[0], values.shape[1]):
        # Without a mask OpenCV takes half the time.
        chosen = None if mask is None or mask[rows].all() else mask[rows].view(np.uint8)
        found = cv2.calcHist([values[rows]], [0], chosen, [256], [0, 256])
        counts += found.ravel().astype(np.int64)
    return counts


def joint_histogram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How often each pair of values occurs in two (H, W) uint8 maps: (256, 256) int64.

    Label maps are long runs of equal values. To count runs is several times faster than to count
    pixels.
    """
    one, other = one.ravel(), other.ravel()  # (H * W,)
    change = one[1:] != one[:-1]
    change |= other[1:] != other[:-1]
    lasts = np.append(np.flatnonzero(change), one.size - 1)  # (runs,) last pixel of each
    pairs = one[lasts].astype(np.intp) << 8 | other[lasts]  # (runs,)
    # Weighted by the runs' lengths, as float64: exact up to 2^53.
    counts = np.bincount(pairs, np.diff(lasts, prepend=-1), 1 << 16)
    return counts.astype(np.int64).reshape(256, 256)


def _strips(height: int, width: int) -> Iterator[slice]:
    """Slices of rows with at most _EXACT pixels each."""
    rows = max(1, _EXACT // max(width, 1))
    for start in range(0, height, rows):
        yield slice(start, start + rows)


class Prepared(NamedTuple):
    """Truth and prediction of one frame in scored ids.

    truth: (H, W) uint8, 255 = not scored. predicted: (H, W) uint8, 255 = no class.
    unknown: (N, 2) int64 rows of (value, pixels): truth values that the class map does not have.
    """

    truth: np.ndarray
    predicted: np.ndarray
    unknown: np.ndarray


def unknown_note(unknown: np.ndarray) -> str:
    """One line on truth values without a class, see Prepared.unknown; '' if there are none."""
    if not len(unknown):
        return ''
    values = ', '.join(f'{value} ({pixels} pixels)' for value, pixels in unknown.tolist())
    return f'label values that the class map does not have, not scored: {values}'


class ScoredClasses:
    """The classes that scoring distinguishes.

    merged: groups of class names that are scored as one, for truth that does not distinguish them
        (CamVid has one class for rider and bicycle). A group takes the position of its first class
        and the name 'rider+bicycle'.

    Raises ClassMapError for an unknown name, MetricError for a name in two groups.
    """

    def __init__(self, class_map: ClassMap, merged: Sequence[Sequence[str]] = ()) -> None:
        self.class_map = class_map
        self.members = _members(class_map, merged)
        """Train ids of each scored class."""
        self.names = tuple(
            '+'.join(class_map.names[train_id] for train_id in ids) for ids in self.members
        )
        self._table = np.full(256, IGNORE_ID, np.uint8)
        for scored, ids in enumerate(self.members):
            self._table[list(ids)] = scored

    def __len__(self) -> int:
        return len(self.members)

    def scored_ids(self, train_ids: Sequence[int]) -> Tuple[int, ...]:
        """Scored ids that the given train ids fall into, each once."""
        return tuple(sorted({int(self._table[train_id]) for train_id in train_ids}))

    def prepare(self, truth: np.ndarray, predicted: np.ndarray) -> Prepared:
        """Map (H, W) uint8 train ids to scored ids; raises MetricError where sizes differ."""
        for name, labels in (('truth', truth), ('mask', predicted)):
            if labels.ndim != 2 or labels.dtype != np.uint8:
                raise MetricError(
                    f'{name} of shape {labels.shape} and type {labels.dtype} is not (H, W) uint8'
                )
        if truth.shape != predicted.shape:
            raise MetricError(
                f'labels of {truth.shape[1]}x{truth.shape[0]} pixels do not fit the mask of '
                f'{predicted.shape[1]}x{predicted.shape[0]}'
            )
        invalid = self._invalid(truth)
        unknown = np.unique(truth[invalid] if invalid.any() else truth[:0], return_counts=True)
        return Prepared(
            self._scored(truth, invalid),
            self._scored(predicted, self._invalid(predicted)),
            np.stack(unknown, axis=1).astype(np.int64),
        )

    def _invalid(self, labels: np.ndarray) -> np.ndarray:
        """Where labels are neither a class nor IGNORE_ID: (H, W) bool."""
        classes = np.uint8(len(self.class_map))
        # uint8 wraps around: class ids end up above the range, which starts at 0 now.
        invalid: np.ndarray = labels - classes < IGNORE_ID - classes
        return invalid

    def _scored(self, labels: np.ndarray, invalid: np.ndarray) -> np.ndarray:
        if len(self.members) == len(self.class_map) and not invalid.any():
            return labels  # nothing is merged, so scored ids are train ids
        return np.asarray(cv2.LUT(labels, self._table))


def _members(class_map: ClassMap, merged: Sequence[Sequence[str]]) -> Tuple[Tuple[int, ...], ...]:
    groups: Dict[int, Tuple[int, ...]] = {
        train_id: (train_id,) for train_id in range(len(class_map))
    }
    taken = set()
    for names in merged:
        if len(set(names)) < 2:
            raise MetricError(
                f'merging {", ".join(names)!r} has no effect; name two classes or more, as in '
                "'rider,bicycle'"
            )
        group = tuple(sorted(class_map.ids(*names)))
        for train_id in group:
            if train_id in taken:
                raise MetricError(
                    f'class {class_map.names[train_id]!r} is merged twice; '
                    'put all classes that are scored as one into one group'
                )
            taken.add(train_id)
            del groups[train_id]
        groups[group[0]] = group
    return tuple(groups[first] for first in sorted(groups))


_NAMED = 6
"""Most classes that an error names."""


def truth_table(
    truth: ClassMap, model: ClassMap, whose: str, common: bool = False
) -> Optional[np.ndarray]:
    """(256,) uint8 from a truth's values to the model's train ids; None if they are the same.

    Classes are matched by name, in any order; values that are not a class are kept. Raises
    MetricError if the names differ; whose: what the truth belongs to, for the message.
    common: classes that both have are enough; the truth's other classes are not scored.
    """
    if truth.names == model.names or _is_nameless(truth, len(model)):
        return None
    different = sorted(set(truth.names) ^ set(model.names))
    if different and not (common and set(truth.names) & set(model.names)):
        raise MetricError(
            f'{whose} has the classes of {truth.name!r} ({len(truth)}), the model those of '
            f'{model.name!r} ({len(model)}); in one of them alone: {_some(different)}. Give the '
            'class map that both have (--classes), or truth in the classes of the model'
        )
    table = np.arange(256, dtype=np.uint8)
    if different:  # values beyond the truth's classes must not become the model's
        table[len(truth) :] = IGNORE_ID
    for value, name in enumerate(truth.names):
        table[value] = model.names.index(name) if name in model.names else IGNORE_ID
    return table


def truth_notes(truth: ClassMap, model: ClassMap) -> Tuple[str, ...]:
    """Notes, one line each, on classes that only the truth or only the model has."""
    if truth.names == model.names or _is_nameless(truth, len(model)):
        return ()
    lost = [name for name in truth.names if name not in model.names]
    lacking = [name for name in model.names if name not in truth.names]
    notes = []
    if lost:
        notes.append(
            f'not scored, as {model.name!r} does not have them: classes {_some(lost)} of the '
            f'labels ({truth.name!r})'
        )
    if lacking:
        notes.append(
            f'the labels ({truth.name!r}) do not have {_some(lacking)}: where the mask says so, '
            'it counts as wrong, unless the class is merged with one of theirs (--merge)'
        )
    return tuple(notes)


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:_NAMED]) + ', ...' * (len(names) > _NAMED)


def _is_nameless(class_map: ClassMap, count: int) -> bool:
    """Whether the names are just numbers, as given to a file without a class map."""
    return class_map.names == tuple(f'class {index}' for index in range(count))
