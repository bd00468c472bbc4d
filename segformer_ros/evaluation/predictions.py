"""Predictions as label images, as the Cityscapes server takes them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.destination import output_folder, write_image
from segformer_ros.evaluation.shards import EvaluationError

FOLDER = 'predictions'


class Predictions:
    """Label images `folder/RECORDING/KEY.png` (H, W) uint8, of a data set's own label ids.

    A class map without label ids of its own is written in train ids. Pixels without a class are 0
    among label ids (Cityscapes' unlabeled) and 255 among train ids.
    """

    def __init__(self, folder: Path, class_map: ClassMap) -> None:
        self._folder = folder
        classes = len(class_map)
        ids = [entry.label_id for entry in class_map.classes]
        own = min(ids) > 0 and len(set(ids)) == classes and max(ids) < IGNORE_ID
        self._written = np.full(256, 0 if own else IGNORE_ID, np.uint8)
        self._written[:classes] = ids if own else range(classes)
        self._read = np.full(256, IGNORE_ID, np.uint8)
        self._read[self._written[:classes]] = range(classes)

    def write(self, recording: str, key: str, labels: np.ndarray) -> None:
        """Write the mask of a frame, (H, W) uint8 train ids; raises DestinationError."""
        path = self._path(recording, key)
        output_folder(path.parent)
        write_image(path, cv2.LUT(labels, self._written))

    def read(self, recording: str, key: str) -> np.ndarray:
        """The mask of a frame as it was written, in train ids; raises EvaluationError."""
        path = self._path(recording, key)
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None:
            raise EvaluationError(f'{path} is not there or no image; evaluate again')
        return np.asarray(cv2.LUT(values, self._read))

    def clear(self) -> None:
        """Remove the masks of former runs, and the folders that this leaves empty."""
        places = [] if self._folder.is_symlink() else [*self._folder.glob('*/')]
        for place in places:
            if place.is_symlink():  # what it leads to is not ours
                continue
            for path in place.glob('*.png'):
                path.unlink()
            with suppress(OSError):  # something else lies in it
                place.rmdir()

    def has(self, recording: str, key: str) -> bool:
        """Whether the mask of a frame was written."""
        return self._path(recording, key).is_file()

    def _path(self, recording: str, key: str) -> Path:
        return self._folder / recording / f'{key}.png'
