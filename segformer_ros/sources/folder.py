"""A folder of images as a source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, List, Optional, Tuple, Union

import numpy as np

from segformer_ros.errors import reason
from segformer_ros.frame import Frame, FrameError, decode
from segformer_ros.sources.base import (
    CAMERA_FRAME,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
    made_up_stamp,
)
from segformer_ros.sources.labels import LabelError, LabelFolder

IMAGE_SUFFIXES = ('.jpeg', '.jpg', '.png')


class FolderSource(Source):
    """Images of one folder, in the natural order of their names (frame2 before frame10)."""

    def __init__(self, folder: Path, options: SourceOptions = SourceOptions()) -> None:
        self.name, self.path = folder.name, folder
        self._files = find_images(folder)
        if not self._files:
            raise SourceError(
                f'folder {folder} holds no image ({", ".join(IMAGE_SUFFIXES)}) and no bag; '
                'give a folder of images, a bag or a video'
            )
        self._fps = options.fps
        self._labels = LabelFolder(options.labels) if options.labels else None
        self.labelled = self._labels is not None

    def __len__(self) -> int:
        return len(self._files)

    @property
    def files(self) -> List[Path]:
        """The images, and the label images."""
        return self._files + (self._labels.files if self._labels else [])

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Images `start` to `stop`, at an even rate."""
        for index in self.span(start, stop):
            yield self._entry(index)

    def _entry(self, index: int) -> SourceFrame:
        file = self._files[index]
        frame = read_image(file, index, self._fps)
        if isinstance(frame, str):
            return SourceFrame(index, file.stem, error=frame)
        if self._labels is None:
            return SourceFrame(index, file.stem, frame)
        try:
            labels = self._labels.read(file.stem, (frame.height, frame.width))
        except LabelError as error:
            return SourceFrame(index, file.stem, frame, str(error))
        return SourceFrame(index, file.stem, frame, labels=labels)


def find_images(folder: Path) -> List[Path]:
    """Image files of a folder, in natural order."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((path for path in files if path.is_file()), key=natural_key)


def natural_key(path: Path) -> Tuple[List[Union[str, int]], str]:
    """Sorting key by which frame2 comes before frame10."""
    # Splitting by digits gives text and number in turns, so equal places compare equal types.
    parts = re.split(r'([0-9]+)', path.stem)
    return [int(part) if part.isdigit() else part for part in parts], path.name


def read_image(file: Path, index: int, fps: float) -> Union[Frame, str]:
    """The image as a frame, or what is wrong with it in one line."""
    try:
        pixels = decode(np.fromfile(file, np.uint8), file.suffix)
    except (FrameError, OSError) as error:
        return f'{file.name}: {reason(error)}'
    return Frame.from_array(pixels, 'bgr8', made_up_stamp(index, fps), CAMERA_FRAME)
