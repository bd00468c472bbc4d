"""A folder of images as a source."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Set, Tuple, Union

import numpy as np

from segformer_ros.documents import MAX_IMAGE_BYTES, DocumentError, read_bytes
from segformer_ros.errors import reason
from segformer_ros.formats import decode
from segformer_ros.frame import Frame, FrameError
from segformer_ros.recordings.labels import LabelCoding, LabelError, label_folder, take_coding
from segformer_ros.recordings.source import (
    CAMERA_FRAME,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
    made_up_stamp,
)

IMAGE_SUFFIXES = ('.jpeg', '.jpg', '.png')


class FolderSource(Source):
    """Images of one folder, in the natural order of their names (frame2 before frame10).

    Or one image alone.
    """

    def __init__(self, folder: Path, options: SourceOptions = SourceOptions()) -> None:
        self.name, self.path = folder.stem if folder.is_file() else folder.name, folder
        self._files = [folder] if folder.is_file() else find_images(folder)
        self._keys = unique_keys(self._files)
        if not self._files:
            raise SourceError(
                f'folder {folder} holds no image ({", ".join(IMAGE_SUFFIXES)}) and no bag; '
                'give a folder of images, a bag or a video'
            )
        self._options = options
        coding = LabelCoding.of(options)
        self._labels = label_folder(options, coding)
        self.labelled = self._labels is not None
        take_coding(self, coding)

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
        file, key = self._files[index], self._keys[index]
        frame = read_image(file, index, self._options)
        if isinstance(frame, str):
            return SourceFrame(index, key, error=frame)
        if self._labels is None:
            return SourceFrame(index, key, frame)
        try:
            labels = self._labels.read(file.stem, (frame.height, frame.width))
        except LabelError as error:
            return SourceFrame(index, key, frame, str(error))
        return SourceFrame(index, key, frame, labels.note or None, labels.ids)


def is_image(path: Path) -> bool:
    """Whether a path is an image file, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def unique_keys(files: Sequence[Path]) -> List[str]:
    """A key for each file: its stem, or where an earlier one has that, `STEM_SUFFIX`.

    What is not UTF-8 in a name is replaced: keys are written into files.
    """
    taken: Set[str] = set()
    stems = {_text(file.stem) for file in files}
    keys = []
    for index, file in enumerate(files):
        key = _text(file.stem)
        if key in taken:
            key = f'{key}_{_text(file.suffix[1:])}'
        if key in taken or (key in stems and key != _text(file.stem)):
            key = f'{key}_{index:06d}'
        taken.add(key)
        keys.append(key)
    return keys


def _text(name: str) -> str:
    return os.fsencode(name).decode('utf-8', 'replace')


def find_images(folder: Path) -> List[Path]:
    """Image files of a folder, in natural order."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((path for path in files if path.is_file()), key=natural_key)


def natural_key(path: Path) -> Tuple[List[Union[str, int]], str]:
    """Sorting key by which frame2 comes before frame10."""
    # Splitting by digits gives text and number in turns, so equal places compare equal types.
    parts = re.split(r'([0-9]+)', path.stem)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def read_image(file: Path, index: int, options: SourceOptions) -> Union[Frame, str]:
    """The image as a frame, or what is wrong with it in one line."""
    try:
        pixels = decode(
            np.frombuffer(read_bytes(file, MAX_IMAGE_BYTES), np.uint8),
            file.suffix,
            options.max_megapixels,
        )
    except (FrameError, DocumentError, OSError) as error:
        return f'{_text(file.name)}: {reason(error)}'
    return Frame.from_array(pixels, 'bgr8', made_up_stamp(index, options.fps), CAMERA_FRAME)
