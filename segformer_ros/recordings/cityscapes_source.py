"""The Cityscapes folder layout as a source (cityscapesScripts, README: dataset structure)."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.classes import load_class_map
from segformer_ros.recordings.folder_source import read_image
from segformer_ros.recordings.labels import (
    LabelError,
    check_labels,
    label_folder,
    read_label_image,
    train_id_table,
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
_TRUTH = 'gtFine'
_TRAIN_IDS, _LABEL_IDS, _INSTANCES = '_labelTrainIds.png', '_labelIds.png', '_instanceIds.png'
_TRUTH_ENDS = (_TRAIN_IDS, _LABEL_IDS, _INSTANCES)
_LAST_LABEL_ID = 33
"""Of cityscapesscripts; 255 stands for -1, the licence plate."""
_FIRST_INSTANCE = 1000
"""gtFine_instanceIds holds label id * 1000 + number for a single object, else the label id."""


class _Item(NamedTuple):
    key: str
    image: Path
    truth: Path
    """Truth files' path up to `_gtFine`."""


class CityscapesSource(Source):
    """Images of a Cityscapes folder: its root, leftImg8bit, one split of it, or one city.

    Labels come from labelTrainIds files, or else from labelIds, turned into train ids; instance
    numbers from instanceIds where those lie beside them. A label folder that is given replaces
    both.
    """

    class_map = 'cityscapes'

    def __init__(self, folder: Path, options: SourceOptions = SourceOptions()) -> None:
        images = _images_folder(folder)
        if images is None:
            raise SourceError(f'{folder} is not inside a Cityscapes folder ({_IMAGES})')
        self.name, self.path = folder.name, folder
        self._items = list(_find(folder, images))
        if not self._items:
            raise SourceError(f'{folder} holds no *_{_IMAGES}.png')
        self._options = options
        self._train_ids = _train_ids()
        self._label_folder = label_folder(options)
        if self._label_folder is not None:  # those are train ids of the model
            self.class_map = ''
        beside = any(_label_file(item)[0].exists() for item in self._items)
        self.labelled = beside or self._label_folder is not None

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
        return SourceFrame(index, item.key, frame, labels=labels, truth=truth)

    def _labels(self, item: _Item, size: Tuple[int, int]) -> np.ndarray:
        if self._label_folder is not None:
            return self._label_folder.read(item.key, size)
        path, has_train_ids = _label_file(item)
        values = check_labels(self._read(path), size, str(path))
        return values if has_train_ids else self._train_ids[values]

    def _read(self, path: Path) -> np.ndarray:
        return read_label_image(path, self._options.max_megapixels)

    def _truth(self, item: _Item, size: Tuple[int, int]) -> Truth:
        path = Path(f'{item.truth}{_INSTANCES}')
        if self._label_folder is not None or not path.exists():
            return NO_TRUTH
        values = self._read(path)
        if values.shape != size:
            raise LabelError(f'{path} has the shape {values.shape}, its frame {size}')
        return Truth(instances=np.where(values >= _FIRST_INSTANCE, values, 0).astype(np.uint16))


def _train_ids() -> np.ndarray:
    """Table (256,) uint8 from label ids to train ids.

    What is no label id stays as it is, so that it is told of and not taken for void.
    """
    table = train_id_table(load_class_map('cityscapes'))
    table[_LAST_LABEL_ID + 1 :] = np.arange(_LAST_LABEL_ID + 1, 256)
    return table


def is_cityscapes(folder: Path) -> bool:
    """Whether a folder is a Cityscapes root or lies inside its images."""
    return folder.is_dir() and _images_folder(folder) is not None


def _images_folder(folder: Path) -> Optional[Path]:
    for place in (folder / _IMAGES, folder, *list(folder.resolve().parents)[:2]):
        if place.name == _IMAGES and place.is_dir():
            return place
    return None


def _find(folder: Path, images: Path) -> Iterator[_Item]:
    inside = images if (folder / _IMAGES) == images else folder
    ending = f'_{_IMAGES}.png'
    for image in sorted(inside.rglob(f'*{ending}')):
        key = image.name[: -len(ending)]
        city = image.parent.resolve().relative_to(images.resolve())
        yield _Item(key, image, images.parent / _TRUTH / city / f'{key}_{_TRUTH}')


def _label_file(item: _Item) -> Tuple[Path, bool]:
    """The label file to take for an image, and whether it holds train ids already."""
    train_ids = Path(f'{item.truth}{_TRAIN_IDS}')
    if train_ids.exists():
        return train_ids, True
    return Path(f'{item.truth}{_LABEL_IDS}'), False
