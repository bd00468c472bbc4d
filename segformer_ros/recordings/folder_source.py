# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A folder of images as a source."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np

from segformer_ros.camera import Calibration, CameraError
from segformer_ros.documents import MAX_IMAGE_BYTES, DocumentError, read_bytes
from segformer_ros.errors import reason
from segformer_ros.formats import (
    BITS,
    FULL,
    BitDepth,
    bits_of,
    decode,
    decode_stored,
    deep_note,
    png,
)
from segformer_ros.formats.exif import UPRIGHT, Exif, Orientation, read_exif
from segformer_ros.frame import Frame, FrameError
from segformer_ros.recordings.label_folder import LabelFolder, label_folder
from segformer_ros.recordings.labels import LabelCoding, LabelError, Labels, take_coding
from segformer_ros.recordings.source import (
    CAMERA_FRAME,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
    made_up_stamp,
)

IMAGE_SUFFIXES = (
    '.jpeg', '.jpg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm'
)  # fmt: skip
_UNREAD = (
    '.heic', '.heif', '.avif', '.jp2', '.j2k', '.jxl', '.gif', '.tga', '.exr', '.hdr', '.dng',
    '.cr2', '.cr3', '.nef', '.arw', '.raw', '.pbm', '.pnm',
)  # fmt: skip
"""Image formats that are not supported; a note names such files."""

_NAMED = 6
"""Most entries of a folder that an error lists."""
_SURVEYED = 16
"""Images, spread over the folder, that are taken to be typical of all."""
_SAME_FOCAL_LENGTH = 0.005
"""Share by which the focal lengths of one camera may differ because of rounding."""


class FolderSource(Source):
    """Images of one folder, in the natural order of their names (frame2 before frame10).

    Or one image alone.
    """

    def __init__(self, folder: Path, options: SourceOptions = SourceOptions()) -> None:
        self.name, self.path = folder.stem if folder.is_file() else folder.name, folder
        self._files = [folder] if folder.is_file() else find_images(folder)
        self._keys = unique_keys(self._files)
        unread = [] if folder.is_file() else _unread(folder)
        if not self._files:
            raise SourceError(
                f'folder {folder} holds no image ({", ".join(IMAGE_SUFFIXES)}) and no bag'
                f'{_what_lies_in(folder)}; give a folder of images, a bag or a video'
            )
        if options.labels and options.labels.resolve() == folder.resolve():
            raise SourceError(
                f'images and labels lie in one folder, {folder}: the labels would be taken for '
                'images; move them into a folder of their own'
            )
        self._options = options
        coding = LabelCoding.of(options)
        self._labels = label_folder(options, coding)
        self.labelled = self._labels is not None
        take_coding(self, coding)
        if self._labels is not None:
            self.label_fault = self._labels.fault([file.stem for file in self._files])
        if unread:
            self.notes += (
                f'{len(unread)} pictures are left out, since their format is not supported, such '
                f'as {unread[0]}; convert them to PNG',
            )
        stems = Counter(file.stem for file in self._files)
        doubles = [file.name for file in self._files if stems[file.stem] > 1]
        if doubles:
            names = ', '.join(map(_text, doubles[:2]))
            self.notes += (
                f'{len(doubles)} images have the name of another ({names}): all are read; if some '
                'are masks, move them into a folder of their own',
            )
        self._depth = BitDepth(options.bits or BITS[-1])
        self._survey()

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
        photo = _read_photo(file, self._options, self._depth)
        if isinstance(photo, str):
            return SourceFrame(index, key, error=photo)
        frame = _as_frame(photo, index, self._options)
        if self._labels is None:
            return SourceFrame(index, key, frame)
        try:
            labels = _upright_labels(self._labels, file.stem, photo)
        except LabelError as error:
            return SourceFrame(index, key, frame, str(error))
        return SourceFrame(index, key, frame, labels.note or None, labels.ids)

    def _survey(self) -> None:
        """Find out from some images: orientation, focal length and bit depth of all."""
        step = max(1, len(self._files) // _SURVEYED)
        some = [(file, _bytes_of(file)) for file in self._files[::step][:_SURVEYED]]
        facts = [(file, read_exif(data), data) for file, data in some if data]
        turned = [file.name for file, exif, _ in facts if exif.orientation != UPRIGHT]
        if turned:
            labels = ', and labels are taken to match the turned photos' if self._labels else ''
            self.notes += (
                f'photos are turned as their Exif says, such as {_text(turned[0])}{labels}',
            )
        self._find_bits([data for _, _, data in facts])
        self._find_calibration([exif for _, exif, _ in facts])

    def _find_bits(self, some: List[bytes]) -> None:
        """Find the bit depth of 16-bit images from some files."""
        if self._options.bits or not (some and _may_be_deep(some[0])):
            return
        largest = -1
        for data in some:
            try:
                pixels = decode_stored(
                    np.frombuffer(data, np.uint8), '', self._options.max_megapixels
                )
            except FrameError:
                continue
            if pixels.dtype == np.uint16:
                largest = max(largest, int(pixels.max()))
        if largest >= 0:
            self._depth = BitDepth(bits_of(largest))
            if self._depth.bits < BITS[-1]:
                self.notes += (f'{deep_note(self._depth.bits, largest)}; --bits says otherwise',)

    def _find_calibration(self, found: List[Exif]) -> None:
        """Calibrate as a pinhole of the photos' focal length, if they agree on one."""
        if not found or not (found[0].focal_35mm or found[0].plane_pixels):
            return
        photo = _read_photo(self._files[0], self._options, self._depth)
        if isinstance(photo, str):
            return
        height, width = photo.stored_size
        focals = [exif.focal_pixels(width, height) or 0.0 for exif in found]
        if max(focals) - min(focals) > _SAME_FOCAL_LENGTH * max(focals):
            self.camera_fault = 'the photos are of several focal lengths by their Exif'
            self.notes += (f'{self.camera_fault}: none is taken for the calibration',)
            return
        high, wide = photo.pixels.shape[:2]
        try:
            calibration = Calibration(
                wide, high, focals[0], focals[0], (wide - 1) / 2, (high - 1) / 2
            )
        except CameraError as error:
            self.notes += (f"the focal length of the photos' Exif is not used: {error}",)
            return
        self.calibration = calibration
        self.notes += (
            f"the calibration is from the photos' Exif: a focal length of {focals[0]:.0f} pixels, "
            'no distortion; --camera-info FILE gives a better one',
        )


class _Photo(NamedTuple):
    """An image turned upright, (H, W, 3) uint8 BGR, and how it was stored."""

    pixels: np.ndarray
    orientation: Orientation

    @property
    def stored_size(self) -> Tuple[int, int]:
        """Height and width before it was turned."""
        height, width = self.pixels.shape[:2]
        return (width, height) if self.orientation.swaps_sides else (height, width)


def _read_photo(file: Path, options: SourceOptions, depth: BitDepth) -> Union[_Photo, str]:
    """The image, or in one line what is wrong with it."""
    try:
        data = read_bytes(file, MAX_IMAGE_BYTES)
        pixels = decode(np.frombuffer(data, np.uint8), file.suffix, options.max_megapixels, depth)
    except (FrameError, DocumentError, OSError) as error:
        return f'{_text(file.name)}: {reason(error)}'
    orientation = read_exif(data).orientation
    return _Photo(orientation.applied(pixels), orientation)


def _as_frame(photo: _Photo, index: int, options: SourceOptions) -> Frame:
    stamp = made_up_stamp(index, options.fps)
    return Frame.from_array(photo.pixels, 'bgr8', stamp, CAMERA_FRAME)


def _upright_labels(labels: LabelFolder, key: str, photo: _Photo) -> Labels:
    """Labels of a photo, turned like it if their size shows that they belong to the stored one.

    Raises LabelError.
    """
    size = photo.pixels.shape[:2]
    try:
        return labels.read(key, size)
    except LabelError:
        if photo.stored_size == size:
            raise
        try:
            stored = labels.read(key, photo.stored_size)
        except LabelError:
            stored = None
        if stored is None:
            raise
    return stored._replace(ids=photo.orientation.applied(stored.ids))


def _bytes_of(file: Path) -> bytes:
    """The content of a file; b'' where it cannot be read."""
    try:
        return read_bytes(file, MAX_IMAGE_BYTES)
    except (DocumentError, OSError):
        return b''


def _may_be_deep(data: bytes) -> bool:
    """Whether a file may have 16 bits a channel: not a JPEG, BMP, WebP or 8-bit PNG."""
    if data.startswith(png.HEAD):
        return data[24:25] == b'\x10'
    return data[:2] in (b'II', b'MM', b'P5', b'P6')


def _unread(folder: Path) -> List[str]:
    """Names of pictures in unsupported formats."""
    return sorted(_text(path.name) for path in folder.iterdir() if path.suffix.lower() in _UNREAD)


def _what_lies_in(folder: Path) -> str:
    """The first few entries of a folder without images, as part of a sentence."""
    names = sorted(
        _text(path.name) + '/' * path.is_dir()
        for path in folder.iterdir()
        if not path.name.startswith('.')
    )
    more = ', ...' if len(names) > _NAMED else ''
    return f', but {", ".join(names[:_NAMED])}{more}' if names else ''


def is_image(path: Path) -> bool:
    """Whether a path is an image file, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def unique_keys(files: Sequence[Path]) -> List[str]:
    """A key for each file: its stem, or `STEM_SUFFIX` if an earlier one has that.

    Bytes of a name that are not UTF-8 are replaced, since keys are written into files.
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
    # macOS puts ._frame.jpg beside frame.jpg, which is not an image.
    shown = (path for path in files if path.is_file() and not path.name.startswith('.'))
    return sorted(shown, key=natural_key)


def natural_key(path: Path) -> Tuple[List[Union[str, int]], str]:
    """Sorting key that puts frame2 before frame10."""
    # Splitting at digits alternates text and numbers, so the same types are compared.
    parts = re.split(r'([0-9]+)', path.stem)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def read_image(file: Path, index: int, options: SourceOptions) -> Union[Frame, str]:
    """The image as a frame, or in one line what is wrong with it."""
    photo = _read_photo(file, options, FULL)
    return photo if isinstance(photo, str) else _as_frame(photo, index, options)
