# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Scored classes: the classes of a model as the truth tells them apart, some perhaps merged."""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.metrics.metric import MetricError


class Prepared(NamedTuple):
    """Truth and prediction of one frame in scored ids.

    truth: (H, W) uint8, 255 = not scored. predicted: (H, W) uint8, 255 = no class.
    unknown: (N, 2) int64 rows of (value, pixels): truth values that the class map does not have.
    """

    truth: np.ndarray
    predicted: np.ndarray
    unknown: np.ndarray


def unknown_note(unknown: np.ndarray) -> str:
    """One line on truth values without a class, see Prepared.unknown; '' for none."""
    if not len(unknown):
        return ''
    values = ', '.join(f'{value} ({pixels} pixels)' for value, pixels in unknown.tolist())
    return f'label values that the class map does not have, not scored: {values}'


class ScoredClasses:
    """The classes that scoring tells apart.

    merged: groups of class names that are scored as one, for truth that does not tell them apart
        (CamVid has one class for rider and bicycle). A group takes the place of its first class
        and the name 'rider+bicycle'.

    Raises ClassMapError for an unknown name, MetricError for one in two groups.
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
        """Bring (H, W) uint8 train ids to scored ids; raises MetricError where sizes differ."""
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
        strange = self._strange(truth)
        unknown = np.unique(truth[strange] if strange.any() else truth[:0], return_counts=True)
        return Prepared(
            self._scored(truth, strange),
            self._scored(predicted, self._strange(predicted)),
            np.stack(unknown, axis=1).astype(np.int64),
        )

    def _strange(self, labels: np.ndarray) -> np.ndarray:
        """Where labels are neither a class nor IGNORE_ID."""
        classes = np.uint8(len(self.class_map))
        # Classes wrap to above what lies between the last one and IGNORE_ID.
        strange: np.ndarray = labels - classes < IGNORE_ID - classes
        return strange

    def _scored(self, labels: np.ndarray, strange: np.ndarray) -> np.ndarray:
        if len(self.members) == len(self.class_map) and not strange.any():
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
                f'merging {", ".join(names)!r} joins nothing; name two classes or more, as in '
                "'rider,bicycle'"
            )
        group = tuple(sorted(class_map.ids(*names)))
        for train_id in group:
            if train_id in taken:
                raise MetricError(
                    f'class {class_map.names[train_id]!r} is merged twice; '
                    'name all classes that are one in one group'
                )
            taken.add(train_id)
            del groups[train_id]
        groups[group[0]] = group
    return tuple(groups[first] for first in sorted(groups))


_NAMED = 6
"""Classes that an error names."""


def truth_table(
    truth: ClassMap, model: ClassMap, whose: str, common: bool = False
) -> Optional[np.ndarray]:
    """(256,) uint8 from a truth's values to the model's train ids; None where they are the same.

    Classes are matched by name, in any order. Values that are no class stay as they are. Raises
    MetricError where the names differ; whose: of what the truth is, for the message.
    common: classes that both have are enough, and the truth's others are not scored.
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
    """What a truth of other classes than the model's leaves out: one line each."""
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
    """Whether the names are only numbers, which a file without a class map is given."""
    return class_map.names == tuple(f'class {index}' for index in range(count))
