# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Class maps: what each value of a label map means, its colour, and what is drivable."""

from __future__ import annotations

import colorsys
import logging
import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import yaml

from segformer_ros.documents import (
    DocumentError,
    FieldError,
    items,
    mapping,
    parse_yaml,
    read_text,
    read_yaml,
    record,
    text,
    whole,
)
from segformer_ros.errors import SegformerError, reason
from segformer_ros.resources import share_path

_log = logging.getLogger(__name__)

IGNORE_ID = 255
"""Value of a pixel that carries no class (void in Cityscapes, unlabelled in vision_msgs)."""


class ClassMapError(SegformerError, ValueError):
    """A class map that cannot be read or contradicts itself."""


@dataclass(frozen=True)
class SegClass:
    """One class: its value in the mask, its name and its colour (RGB, 0..255)."""

    train_id: int
    name: str
    color: Tuple[int, int, int]
    label_id: int = -1
    """Id in the data set's own numbering (Cityscapes label id); -1 where there is none."""
    group: str = ''


@dataclass(frozen=True)
class OtherLabel:
    """A label of a data set that is not a class of its map.

    label_id: -1 if it has none. color: RGB, None if it has none. counts_as: name of the class that
    it is scored as; '' if it is not scored.
    """

    name: str
    label_id: int = -1
    color: Optional[Tuple[int, int, int]] = None
    counts_as: str = ''


@dataclass(frozen=True)
class ClassMap:
    """The classes of a model, in train-id order without gaps."""

    name: str
    classes: Tuple[SegClass, ...]
    drivable: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    """Named groups of class names that a vehicle may drive on."""
    labels: Tuple[OtherLabel, ...] = ()
    """Other labels in the files of the data set."""
    instances: int = 0
    """Factor of the label id in the data set's instance ids; 0 if it has none."""

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORE_ID:
            raise ClassMapError(
                f'class map {self.name!r} has {len(self.classes)} classes; '
                f'a mono8 mask holds 2 to {IGNORE_ID}'
            )
        for index, entry in enumerate(self.classes):
            if entry.train_id != index:
                raise ClassMapError(
                    f'class map {self.name!r}: {entry.name!r} has train id {entry.train_id} at '
                    f'position {index}; list the classes in train-id order without gaps'
                )
        doubles = sorted({name for name in self.names if self.names.count(name) > 1})
        if doubles:
            raise ClassMapError(f'class map {self.name!r} names {doubles[0]!r} twice')
        for group, members in self.drivable.items():
            self._check_names(members, f'drivable group {group!r}')
        for label in self.labels:
            self._check_names(
                [label.counts_as] if label.counts_as else [], f'label {label.name!r}'
            )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> Tuple[str, ...]:
        """Class names, indexed by train id."""
        return tuple(entry.name for entry in self.classes)

    def name_of(self, value: int) -> str:
        """Name of a mask's value; 'unknown' for a value that is not a class."""
        return self.classes[value].name if 0 <= value < len(self.classes) else 'unknown'

    def ids(self, *names: str) -> Tuple[int, ...]:
        """Train ids of the named classes; raises ClassMapError for a name it does not have."""
        self._check_names(names)
        return tuple(self.names.index(name) for name in names)

    def drivable_ids(self, group: str) -> Tuple[int, ...]:
        """Train ids of a drivable group, or of class names joined by '+' or ','."""
        if group in self.drivable:
            return self.ids(*self.drivable[group])
        return self.ids(*(name.strip() for name in group.replace('+', ',').split(',')))

    @property
    def has_label_ids(self) -> bool:
        """Whether the data set's label ids differ from the train ids."""
        return any(entry.label_id not in (-1, entry.train_id) for entry in self.classes)

    def label_table(self) -> Dict[int, int]:
        """Train id of each of the data set's label ids, IGNORE_ID for those that are not scored.

        If no class has a label id, train ids take their place.
        """
        named = any(entry.label_id >= 0 for entry in self.classes)
        own = {entry.label_id if named else entry.train_id: entry for entry in self.classes}
        others = {label.label_id: self._counted(label) for label in self.labels}
        table = {**others, **{label_id: entry.train_id for label_id, entry in own.items()}}
        return {label_id: train_id for label_id, train_id in table.items() if label_id >= 0}

    def color_table(self) -> Dict[Tuple[int, int, int], int]:
        """Train id of each of the data set's colours (RGB), IGNORE_ID for those not scored.

        The first class wins if two have the same colour.
        """
        others = {label.color: self._counted(label) for label in self.labels if label.color}
        return {**others, **{e.color: e.train_id for e in reversed(self.classes)}}

    def _counted(self, label: OtherLabel) -> int:
        return self.names.index(label.counts_as) if label.counts_as else IGNORE_ID

    @property
    def palette(self) -> np.ndarray:
        """Colours by mask value: (256, 3) uint8 RGB; values without a class are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.classes)] = [entry.color for entry in self.classes]
        return table

    @property
    def palette_bgr(self) -> np.ndarray:
        """Colours by mask value: (256, 3) uint8 BGR."""
        return np.ascontiguousarray(self.palette[:, ::-1])

    def as_yaml(self) -> str:
        """The class map as yaml; `load_class_map` reads it back."""
        classes = [{**vars(entry), 'color': list(entry.color)} for entry in self.classes]
        drivable = {group: list(names) for group, names in self.drivable.items()}
        data: Dict[str, Any] = {'name': self.name, 'classes': classes, 'drivable': drivable}
        if self.labels:
            data['labels'] = [_label_fields(label) for label in self.labels]
        if self.instances:
            data['instances'] = self.instances
        return yaml.safe_dump(data, sort_keys=False)

    def _check_names(self, names: Sequence[str], where: str = '') -> None:
        unknown = [name for name in names if name not in self.names]
        if unknown:
            close = get_close_matches(unknown[0], self.names, n=1)
            raise ClassMapError(
                (f'{where}: ' if where else '')
                + f'class map {self.name!r} has no class {unknown[0]!r}'
                + (f' (did you mean {close[0]}?)' if close else '')
                + f'; it has {", ".join(self.names)}'
            )


def load_class_map(source: Union[str, Path]) -> ClassMap:
    """Read a class map: a shipped preset's name, a yaml file, or a labels.txt.

    A labels.txt has one name per line in train-id order (or all names separated by `;`, as
    DeepStream writes it). Classes without a colour or group that have a name of Cityscapes get its
    colour and group; others get a colour of evenly spread hue. `void+` before a preset's name puts
    a class `void` before its classes, for networks whose first output is background.
    """
    if str(source).startswith(_VOID):
        return _with_void(load_class_map(str(source)[len(_VOID) :]))
    path = Path(source)
    if not path.suffix and not path.exists():
        path = _preset_path(str(source))
    try:
        text = read_text(path)
        if path.suffix in ('.yaml', '.yml'):
            return _from_yaml(text, path)
        return _from_labels(text, path)
    except FieldError as error:
        raise ClassMapError(
            f'{path} is not a class map: {error}; it needs `classes:`, '
            'a list of {train_id, name, color: [r, g, b]}'
        ) from error
    except (OSError, DocumentError) as error:
        raise ClassMapError(
            f'cannot read class map {path}: {reason(error)}; give a yaml, a labels.txt or a preset'
        ) from error


_VOID = 'void+'


def _with_void(class_map: ClassMap) -> ClassMap:
    """The same classes, shifted by one, after a class for none of them at id 0."""
    void = SegClass(0, 'void', (0, 0, 0), 0, 'void')
    others = (replace(entry, train_id=entry.train_id + 1) for entry in class_map.classes)
    return replace(
        class_map,
        name=f'{_VOID}{class_map.name}',
        classes=(void, *others),
        labels=tuple(label for label in class_map.labels if label.name != void.name),
    )


def preset_names() -> List[str]:
    """Names of the shipped class maps, Cityscapes first."""
    names = (file.stem for file in share_path('config/classes').glob('*.yaml'))
    return sorted(names, key=lambda name: (name != 'cityscapes', name))


def _preset_path(name: str) -> Path:
    path = share_path('config/classes') / f'{name}.yaml'
    if not path.is_file():
        presets = ', '.join(sorted(preset_names()))
        raise ClassMapError(f'no class map {name!r}; give a file, or one of the presets {presets}')
    return path


def _from_yaml(text: str, path: Path) -> ClassMap:
    data = _DOCUMENT(parse_yaml(text))
    entries = data['classes']
    classes = tuple(_read_class(entry, len(entries)) for entry in entries)
    return ClassMap(
        data.get('name', path.stem),
        classes,
        data.get('drivable', {}),
        tuple(_read_label(entry) for entry in data.get('labels', ())),
        data.get('instances', 0),
    )


def _read_label(entry: Mapping[str, Any]) -> OtherLabel:
    fields = {('counts_as' if key == 'class' else key): value for key, value in entry.items()}
    return OtherLabel(**fields)


def _label_fields(label: OtherLabel) -> Dict[str, Any]:
    """A label as in a class map's yaml file."""
    color = list(label.color) if label.color else None
    fields = {'name': label.name, 'label_id': label.label_id, 'color': color}
    fields['class'] = label.counts_as or None
    return {key: value for key, value in fields.items() if value is not None}


def _read_class(entry: Mapping[str, Any], count: int) -> SegClass:
    own = _class_of_name(entry['train_id'], entry['name'], count)
    return replace(own, **{'label_id': -1, **entry})


def _from_labels(text: str, path: Path) -> ClassMap:
    return class_map_of_names(_NAMES(_names_of_lines(text, path)), path.stem)


def class_map_of_names(names: Sequence[str], title: str) -> ClassMap:
    """The class map of names in train-id order, such as those of a labels.txt."""
    classes = tuple(_class_of_name(index, name, len(names)) for index, name in enumerate(names))
    groups = {
        group: members
        for group, members in load_class_map('cityscapes').drivable.items()
        if set(members) <= set(names)
    }
    return ClassMap(title, classes, groups)


def _names_of_lines(text: str, path: Path) -> List[str]:
    """Names in a labels.txt, in order; raises ClassMapError for duplicates."""
    # Carriage returns belong to the line's end, even if some tool has doubled them.
    lines = re.split(r'\r*\n|\r|;', text)
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    places: Dict[str, int] = {}
    for number, name in numbered:
        if places.setdefault(name, number) != number:
            raise ClassMapError(
                f'{path} names {name!r} in line {places[name]} and in line {number}: each class '
                'needs a unique name, in the line of its train id; rename one, do not delete it'
            )
    inside = range(numbered[0][0], numbered[-1][0]) if numbered else ()
    empty = sorted(set(inside) - {number for number, _ in numbered})
    if empty:
        _log.warning(
            f'{path}: empty lines ({", ".join(map(str, empty[:6]))}{", ..." * (len(empty) > 6)}) '
            f'are skipped: train id {sum(n < empty[0] for n, _ in numbered)} is '
            f'{next(name for n, name in numbered if n > empty[0])!r}'
        )
    return [name for _, name in numbered]


def _class_of_name(train_id: int, name: str, count: int) -> SegClass:
    """The Cityscapes class of this name, else a new class with one of `count` spread colours."""
    known = _cityscapes_by_name().get(name)
    if known:
        return replace(known, train_id=train_id)
    return SegClass(train_id, name, spread_color(train_id, count))


@lru_cache(maxsize=None)
def _cityscapes_by_name() -> Dict[str, SegClass]:
    data = _DOCUMENT(read_yaml(_preset_path('cityscapes')))
    return {entry['name']: SegClass(**entry) for entry in data['classes']}


def spread_color(index: int, count: int) -> Tuple[int, int, int]:
    """RGB colour of a class among `count`, hues evenly spread."""
    red, green, blue = colorsys.hsv_to_rgb(index / max(count, 1), 0.65, 0.9)
    return int(red * 255), int(green * 255), int(blue * 255)


_NAMES = items(text())

_CLASS = record(
    {
        'train_id': whole(0, IGNORE_ID - 1),
        'name': text(),
        'color': items(whole(0, 255), 3, 3),
        'label_id': whole(-1, 65535),
        'group': text(least=0),
    },
    needed=frozenset(('train_id', 'name')),
)

_LABEL = record(
    {
        'name': text(),
        'label_id': whole(-1, 65535),
        'color': items(whole(0, 255), 3, 3),
        'class': text(),
    },
    needed=frozenset(('name',)),
)

_DOCUMENT = record(
    {
        'name': text(),
        'classes': items(_CLASS),
        'drivable': mapping(items(text(), 0, IGNORE_ID)),
        'labels': items(_LABEL, 0, 1 << 12),
        'instances': whole(0, 65535),
    },
    needed=frozenset(('classes',)),
)
"""A class map's yaml file."""
