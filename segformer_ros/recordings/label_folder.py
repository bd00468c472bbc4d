# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A folder of label files: which belongs to which frame, and what its name says it holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from segformer_ros.recordings.labels import LabelCoding, LabelError, Labels
from segformer_ros.recordings.source import SourceError, SourceOptions

LABEL_SUFFIXES = ('.png', '.npy')

_TRAIN, _IDS, _INSTANCES, _COLOURS, _ADE20K, _ANY = range(6)
_ENDINGS: Tuple[Tuple[str, int], ...] = (
    ('_labelTrainIds', _TRAIN), ('_trainIds', _TRAIN), ('_train_id', _TRAIN),
    ('_labelcsTrainIds', _TRAIN),
    ('_labelIds', _IDS), ('_labelids', _IDS), ('_labelcsIds', _IDS),
    ('_instanceIds', _INSTANCES), ('_instanceids', _INSTANCES),
    ('_train_color', _COLOURS), ('_color', _COLOURS),
    ('_label', _ANY), ('_labels', _ANY), ('_mask', _ANY), ('_seg', _ANY), ('_L', _ANY),
)  # fmt: skip
"""Endings of label files' names in common data sets (Cityscapes, IDD, BDD, GOOSE, CamVid and
others), and what such files hold."""
_SETS = ('_gtFine', '_gtCoarse')
_IMAGE_ENDINGS = ('_leftImg8bit', '_windshield_vis')
_ADE20K_NAMES = ('ADE_val_', 'ADE_train_')
_WANTED = {
    _IDS: 'label ids',
    _INSTANCES: 'instance ids',
    _COLOURS: 'colours',
    _ADE20K: "ADE20K's ids, which begin at 1",
}


class LabelFolder:
    """Label files of a folder by the frames' keys: KEY.png, KEY.npy, or a data set's own names.

    Cityscapes' KEY_gtFine_labelIds.png, CamVid's KEY_L.png, BDD's KEY_train_id.png and so on.
    """

    def __init__(self, folder: Path, coding: LabelCoding) -> None:
        if not folder.is_dir():
            raise SourceError(f'no label folder {folder}; give the one with the KEY.png files')
        self.folder, self.coding = folder, coding
        ranked: Dict[str, Tuple[int, Path]] = {}
        others: Counter[str] = Counter()
        # A PNG takes precedence over an npy of the same name.
        for path in sorted(folder.iterdir(), key=lambda path: (path.suffix == '.npy', path)):
            if path.name.startswith('.'):  # macOS puts ._KEY.png beside KEY.png
                continue
            if path.suffix.lower() not in LABEL_SUFFIXES:
                others[path.suffix.lower()] += path.is_file()
                continue
            for key, rank in _keys_of(path.stem, coding):
                if key not in ranked or rank < ranked[key][0]:
                    ranked[key] = (rank, path)
        if not ranked:
            raise SourceError(_no_labels(folder, others))
        self._files = {key: path for key, (_, path) in ranked.items()}

    def __contains__(self, key: str) -> bool:
        return self._path(key) is not None

    @property
    def files(self) -> List[Path]:
        """All label files."""
        return sorted(set(self._files.values()))

    def read(self, key: str, size: Tuple[int, int]) -> Labels:
        """Labels of the frame `key` of (height, width) `size`; raises LabelError."""
        path = self._path(key)
        if path is None:
            some = ', '.join(file.name for file in self.files[:3])
            raise LabelError(f'no label image {key}.png in {self.folder} (it has {some}, ...)')
        self._check_kind(path)
        return self.coding.read_file(path, size)

    def fault(self, keys: Sequence[str]) -> str:
        """Why none of the frames of these keys has a label file; '' where one has."""
        if any(key in self for key in keys):
            return ''
        images, labels = (
            ', '.join([*names[:3], *(['...'] * (len(names) > 3))])
            for names in ([*keys], [path.name for path in self.files])
        )
        return (
            f'no label file in {self.folder} is named as a frame: frames {images}, labels '
            f'{labels}; name them as the frames are, as in {keys[0]}.png'
        )

    def _path(self, key: str) -> Optional[Path]:
        for ending in _IMAGE_ENDINGS:
            if key.endswith(ending) and key not in self._files:
                key = key[: -len(ending)]
        return self._files.get(key)

    def _check_kind(self, path: Path) -> None:
        """Raises LabelError where the file's name contradicts the coding of the labels."""
        kind = _ADE20K if path.stem.startswith(_ADE20K_NAMES) else _kind(path.stem)[1]
        if self.coding.insisted:
            return
        if kind in (_IDS, _INSTANCES, _ADE20K) and not self.coding.class_map:
            option = f'--label-ids {"ade20k" if kind == _ADE20K else "cityscapes"}'
        elif kind == _COLOURS and not self.coding.colors:
            option = '--label-colors cityscapes'
        else:
            return
        raise LabelError(
            f'label image {path} is named as one of {_WANTED[kind]}, not of train ids; give '
            f'{option}, or the class map that they belong to (--label-ids train, if they are '
            'train ids nevertheless)'
        )


def label_folder(options: SourceOptions, coding: LabelCoding) -> Optional[LabelFolder]:
    """The label folder that the options name; raises SourceError where it has no labels."""
    return LabelFolder(options.labels, coding) if options.labels else None


def _kind(stem: str) -> Tuple[str, int]:
    """The key in a label file's name, and what the name says the file holds."""
    for ending, kind in _ENDINGS:
        if stem.endswith(ending):
            stem = stem[: -len(ending)]
            for name in _SETS:
                stem = stem[: -len(name)] if stem.endswith(name) else stem
            return stem, kind
    return stem, _ANY


def _keys_of(stem: str, coding: LabelCoding) -> List[Tuple[str, int]]:
    """Keys that a label file may be for, each with a rank: of several files the least is taken."""
    key, kind = _kind(stem)
    first = _COLOURS if coding.colors else _IDS if coding.ids else _TRAIN
    order = [first, *(other for other in (_TRAIN, _IDS, _INSTANCES, _COLOURS) if other != first)]
    rank = 1 + (order.index(kind) if kind in order else len(order))
    return [(stem, 0)] + ([(key, rank)] if key != stem else [])


def _no_labels(folder: Path, others: Mapping[str, int]) -> str:
    kinds = [f'{count} {suffix}' for suffix, count in others.items() if suffix and count]
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if inner and not kinds:
        return (
            f'label folder {folder} holds no .png file, but folders ({", ".join(inner[:6])}); '
            'give the one with the KEY.png files'
        )
    if not kinds:
        return f'label folder {folder} holds no .png file; give the one with the KEY.png files'
    jpeg = ' (JPEG changes values)' if {'.jpg', '.jpeg'} & set(others) else ''
    return (
        f'label folder {folder} holds no .png or .npy file, but {", ".join(kinds)}{jpeg}; labels '
        'need a lossless format: convert them to PNG'
    )
