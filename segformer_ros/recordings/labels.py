"""Label images from files: where they lie, and their values as train ids."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.documents import MAX_IMAGE_BYTES, DocumentError, read_bytes
from segformer_ros.errors import SegformerError, reason
from segformer_ros.formats import decode_labels
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError
from segformer_ros.recordings.source import SourceError, SourceOptions


class LabelError(SegformerError, ValueError):
    """One label image that cannot be used; the rest may be."""


class LabelFolder:
    """Label images (single channel, train ids) of a folder, by the frames' keys."""

    def __init__(self, folder: Path, max_megapixels: float = MAX_MEGAPIXELS) -> None:
        if not folder.is_dir():
            raise SourceError(f'no label folder {folder}; give the one with the KEY.png files')
        self._files: Dict[str, Path] = {path.stem: path for path in sorted(folder.glob('*.png'))}
        if not self._files:
            raise SourceError(
                f'label folder {folder} holds no .png file; give the one with the KEY.png files'
            )
        self.folder = folder
        self._max_megapixels = max_megapixels

    def __contains__(self, key: str) -> bool:
        return key in self._files

    @property
    def files(self) -> List[Path]:
        """All label images."""
        return list(self._files.values())

    def read(self, key: str, size: Tuple[int, int]) -> np.ndarray:
        """Labels of the frame `key` of (height, width) `size`; raises LabelError."""
        if key not in self._files:
            raise LabelError(f'no label image {key}.png in {self.folder}')
        return check_labels(
            read_label_image(self._files[key], self._max_megapixels), size, str(self._files[key])
        )


def label_folder(options: SourceOptions) -> Optional[LabelFolder]:
    """The label folder that the options name; raises SourceError where it has no labels."""
    return LabelFolder(options.labels, options.max_megapixels) if options.labels else None


def read_label_image(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Values of a single-channel PNG file, (H, W) of its own type; raises LabelError."""
    try:
        data = np.frombuffer(read_bytes(path, MAX_IMAGE_BYTES), np.uint8)
        values = decode_labels(data, path.suffix, max_megapixels)
    except (FrameError, DocumentError, OSError) as error:
        raise LabelError(f'unreadable label image {path}: {reason(error)}') from error
    _check_channels(values, str(path))
    return values


def check_labels(values: np.ndarray, size: Tuple[int, int], where: str) -> np.ndarray:
    """The values, if they are (H, W) uint8 of the frame's `size`; raises LabelError."""
    _check_channels(values, where)
    if values.dtype != np.uint8:
        raise LabelError(f'label image {where} is {values.dtype}; train ids are 8 bit')
    if values.shape != size:
        raise LabelError(
            f'label image {where} has {values.shape[1]}x{values.shape[0]} pixels, '
            f'its frame {size[1]}x{size[0]}'
        )
    return values


def _check_channels(values: np.ndarray, where: str) -> None:
    if values.ndim != 2:
        raise LabelError(
            f'label image {where} has {values.shape[2]} channels; '
            'labels are one channel of class ids, not colours'
        )


def train_id_table(class_map: ClassMap) -> np.ndarray:
    """Table (256,) uint8 from a data set's label ids to train ids; others become 255."""
    table = np.full(256, IGNORE_ID, np.uint8)
    for entry in class_map.classes:
        if 0 <= entry.label_id < 256:
            table[entry.label_id] = entry.train_id
    return table
