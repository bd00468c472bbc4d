# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The Cityscapes folder layout as a source (cityscapesScripts, README: dataset structure)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.recordings.folder_source import read_image
from segformer_ros.recordings.label_folder import label_folder
from segformer_ros.recordings.labels import (
    LabelCoding,
    LabelError,
    Labels,
    read_values,
    take_coding,
)
from segformer_ros.recordings.source import (
    NO_TRUTH,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
    Truth,
)

_IMAGES = 'leftImg8bit'
_TRUTHS = ('gtFine', 'gtCoarse')
_ENDINGS = ('.png', '.jpg')
"""Suffixes of images; some of IDD's are JPEG."""
_TRAIN_IDS = ('_labelTrainIds.png', '_labelcsTrainIds.png')
"""Files of Cityscapes' train ids, the second as IDD calls them."""
_LABEL_IDS = ('_labelIds.png', '_labelids.png')
_INSTANCES = '_instanceIds.png'
_TRUTH_ENDS = (*_TRAIN_IDS, *_LABEL_IDS, _INSTANCES)
_FIRST_INSTANCE = 1000
"""gtFine_instanceIds holds label id * 1000 + number for an instance, else the label id."""


class _Item(NamedTuple):
    key: str
    image: Path
    truth: Path
    """Path of the truth files up to and including `_gtFine` or `_gtCoarse`."""


class CityscapesSource(Source):
    """Images of a Cityscapes folder: its root, leftImg8bit, one split of it, or one city.

    Labels come from labelTrainIds files, or else from labelIds, mapped to train ids; instance
    numbers from instanceIds files, if there are any. Where the options name the class map of the
    label ids (IDD has the same layout), labelIds come first. A label folder in the options
    replaces both.
    """

    class_map = 'cityscapes'

    def __init__(self, folder: Path, options: SourceOptions = SourceOptions()) -> None:
        images = _images_folder(folder)
        if images is None:
            raise SourceError(f'{folder} is not inside a Cityscapes folder ({_IMAGES})')
        self.name, self.path = folder.name, folder
        truth, self.notes = _truth_folder(images)
        self._items = list(_find(folder, images, truth))
        if not self._items:
            raise SourceError(f'{folder} holds no *_{_IMAGES}.png or .jpg')
        self._options = options
        self._coding = LabelCoding(max_megapixels=options.max_megapixels)
        coding = LabelCoding.of(options)
        self._label_ids = LabelCoding.of(
            replace(options, label_ids=coding.ids or self.class_map, label_colors='')
        )
        self.class_map = self._label_ids.ids
        self._endings: Tuple[str, ...] = (*_TRAIN_IDS, _LABEL_IDS[0])
        if coding.ids:
            train_ids = _TRAIN_IDS if coding.ids == CityscapesSource.class_map else ()
            self._endings = (*_LABEL_IDS, *train_ids)
        self._label_folder = label_folder(options, coding)
        if self._label_folder is not None:  # by default, train ids of the model
            self.notes = ()
            take_coding(self, coding)
            self.label_fault = self._label_folder.fault([item.key for item in self._items])
        beside = any(self._label_file(item).exists() for item in self._items)
        self.labelled = beside or self._label_folder is not None
        if not self.labelled:
            self.notes = (*self.notes, _lacking(images, truth))

    def __len__(self) -> int:
        return len(self._items)

    @property
    def files(self) -> List[Path]:
        """The images, and their truth."""
        images = [item.image for item in self._items]
        if self._label_folder is not None:
            return images + self._label_folder.files
        truth = (Path(f'{item.truth}{end}') for item in self._items for end in _TRUTH_ENDS)
        return images + [path for path in truth if path.exists()]

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Images `start` to `stop`, in the order split, city, sequence, frame."""
        for index in self.span(start, stop):
            yield self._entry(index, self._items[index])

    def _entry(self, index: int, item: _Item) -> SourceFrame:
        frame = read_image(item.image, index, self._options)
        if isinstance(frame, str):
            return SourceFrame(index, item.key, error=frame)
        if not self.labelled:
            return SourceFrame(index, item.key, frame)
        size = (frame.height, frame.width)
        try:
            labels = self._labels(item, size)
            truth = self._truth(item, size)
        except LabelError as error:
            return SourceFrame(index, item.key, frame, str(error))
        return SourceFrame(index, item.key, frame, labels.note or None, labels.ids, truth)

    def _labels(self, item: _Item, size: Tuple[int, int]) -> Labels:
        if self._label_folder is not None:
            return self._label_folder.read(item.key, size)
        path = self._label_file(item)
        coding = self._coding if path.name.endswith(_TRAIN_IDS) else self._label_ids
        return coding.read_file(path, size)

    def _label_file(self, item: _Item) -> Path:
        """The label file for an image, even if it does not exist."""
        paths = (Path(f'{item.truth}{ending}') for ending in self._endings)
        return next(
            (path for path in paths if path.exists()), Path(f'{item.truth}{_LABEL_IDS[0]}')
        )

    def _truth(self, item: _Item, size: Tuple[int, int]) -> Truth:
        path = Path(f'{item.truth}{_INSTANCES}')
        if self._label_folder is not None or not path.exists():
            return NO_TRUTH
        values = read_values(path, self._options.max_megapixels)
        if values.shape != size:
            raise LabelError(f'{path} has shape {values.shape}, but its frame {size}')
        return Truth(instances=np.where(values >= _FIRST_INSTANCE, values, 0).astype(np.uint16))


def is_cityscapes(folder: Path) -> bool:
    """Whether a folder is a Cityscapes root or lies inside its images."""
    return folder.is_dir() and _images_folder(folder) is not None


def _images_folder(folder: Path) -> Optional[Path]:
    """The folder of all images, given any folder inside it, or the one that it was unpacked in."""
    unpacked = sorted(folder.glob(f'{_IMAGES}*/{_IMAGES}')) if folder.is_dir() else []
    for place in (folder / _IMAGES, folder, *list(folder.resolve().parents)[:2], *unpacked):
        if place.name == _IMAGES and place.is_dir():
            return place
    return None


def _truth_folder(images: Path) -> Tuple[Path, Tuple[str, ...]]:
    """The folder of the labels, and notes on it.

    It is beside the images, or, where each archive was unpacked into its own folder, beside that:
    leftImg8bit_trainvaltest/leftImg8bit and gtFine_trainvaltest/gtFine.
    """
    own = images.parent.resolve()
    for name in _TRUTHS:
        beside = sorted(own.parent.glob(f'{name}*/{name}'))
        for place in (own / name, own.parent / name, *beside):
            if place.is_dir():
                others = [str(other) for other in beside if other != place]
                notes = [f'labels are read from {place}'] if place.parent != own else []
                notes += [f'not from {", ".join(others)}'] if notes and others else []
                notes += ['labels are the coarse ones (gtCoarse)'] if name != _TRUTHS[0] else []
                return place, ('; '.join(notes),) if notes else ()
    return own / _TRUTHS[0], ()


def _lacking(images: Path, truth: Path) -> str:
    """Why there are no labels, and where they must be."""
    split = '/val/CITY/CITY_..._gtFine_labelIds.png'
    if truth.is_dir():
        return f'{truth} has no labels of these images ({truth.name}{split})'
    return (
        f'no labels: unpack gtFine_trainvaltest.zip so that {images.parent.resolve() / "gtFine"} '
        f'lies beside {_IMAGES} (it holds gtFine{split})'
    )


def _find(folder: Path, images: Path, truth: Path) -> Iterator[_Item]:
    places = (folder.resolve(), *folder.resolve().parents)
    inside = folder if images.resolve() in places else images
    found = (path for ending in _ENDINGS for path in inside.rglob(f'*_{_IMAGES}{ending}'))
    for image in sorted(path for path in found if not path.name.startswith('.')):
        key = image.stem[: -len(_IMAGES) - 1]
        city = image.parent.resolve().relative_to(images.resolve())
        yield _Item(key, image, truth / city / f'{key}_{truth.name}')
