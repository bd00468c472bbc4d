# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Recordings of every kind: reading their frames and labels, and writing new ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Tuple, Union
from urllib.parse import unquote

from segformer_ros.recordings.bag_reader import METADATA, is_storage, storage_files
from segformer_ros.recordings.bag_source import BagSource
from segformer_ros.recordings.bag_writer import BagWriter
from segformer_ros.recordings.cityscapes_source import CityscapesSource, is_cityscapes
from segformer_ros.recordings.folder_source import FolderSource, is_image
from segformer_ros.recordings.source import (
    RecordingError,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
)
from segformer_ros.recordings.video_source import VideoSource
from segformer_ros.recordings.video_writer import VideoWriter
from segformer_ros.resources import NotInstalledError, share_path, tool
from segformer_ros.topics import COMPRESSED_LABELS, recorded


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        return (path / METADATA).exists() or bool(storage_files(path))
    return is_storage(path)


_KINDS: Tuple[Tuple[Callable[[Path], bool], Callable[[Path, SourceOptions], Source]], ...] = (
    (_is_bag, BagSource),
    (is_image, FolderSource),
    (is_cityscapes, CityscapesSource),
    (Path.is_dir, FolderSource),
    (Path.is_file, VideoSource),
)
"""Kinds of recordings, tried in this order: how each is recognised, what reads it."""

STREET = 'street:'
"""Prefix of a generated drive's name."""

SAMPLE = 'sample:'
"""Name of the short drive that is shipped with the package, its labels included."""
SAMPLE_BAG = 'samples/street_drive.mcap'

_FILE_URL = 'file://'
_STREAM = re.compile(r'(?P<kind>[A-Za-z][A-Za-z0-9+.-]*://)([^/@]*@)?(?P<place>[^?]*)')
"""An address. What is before an @ may hold a password, and is left out of messages."""

_BARE = (
    'is a raw stream without timestamps; add them: ffmpeg -r RATE -i FILE -c copy drive.mp4 '
    '(RATE: frames per second)'
)
_REFUSED: Dict[str, str] = {
    '.bag': 'is a ROS 1 bag; convert it: rosbags-convert --src FILE.bag --dst FOLDER',
    '.h264': _BARE,
    '.h265': _BARE,
    '.hevc': _BARE,
}


def local_path(location: Union[str, Path]) -> Path:
    """Path of a recording that is given as a path or as `file://PATH`."""
    if str(location).startswith(_FILE_URL):
        return Path(unquote(str(location)[len(_FILE_URL) :]))
    return Path(location)


def _generated(name: str, options: SourceOptions) -> Source:
    """A drive of the street generator, which is not part of the package."""
    try:
        source: Source = tool('street.source', 'generated drives').StreetSource(name, options)
    except NotInstalledError as error:
        raise SourceError(f'{name}: {error}') from None
    return source


def _shipped(options: SourceOptions) -> Source:
    """The sample drive; its labels unless others are named."""
    try:
        path = share_path(SAMPLE_BAG)
    except FileNotFoundError as error:
        raise SourceError(f'{SAMPLE} {error}') from None
    if not options.label_topic and options.labels is None:
        options = replace(options, label_topic=recorded(COMPRESSED_LABELS))
    return BagSource(path, options)


def open_source(location: Union[str, Path], options: SourceOptions = SourceOptions()) -> Source:
    """Open a recording by its path or name; raises SourceError.

    A rosbag2 (a folder, .mcap or .db3, also as .zstd), a Cityscapes folder, a folder of images, an
    image, a video file, the shipped drive (`sample:`), or a generated one (`street:`,
    `street:SEED`, `street:SEED:FRAMES`). A file may be given as `file://PATH` too.
    """
    source = _opened(location, options)
    source.take_calibration(options.camera_info)
    return source


def _opened(location: Union[str, Path], options: SourceOptions) -> Source:
    if str(location) == SAMPLE:
        return _shipped(options)
    if str(location).startswith(STREET):
        return _generated(str(location), options)
    stream = _STREAM.match(str(location))
    if stream and not str(location).startswith(_FILE_URL):
        raise SourceError(
            f'{stream["kind"]}{stream["place"]} is a stream, not a recording: record some of it '
            '(ffmpeg -i URL -c copy drive.mkv), or have a driver publish it for the segmentation '
            'node'
        )
    path = local_path(location)
    if not path.exists():
        raise SourceError(f'no such recording: {path}; check the path')
    if path.suffix in _REFUSED:
        raise SourceError(f'{path} {_REFUSED[path.suffix]}')
    if path.name == METADATA:
        path = path.parent
    for fits, make in _KINDS:
        if fits(path):
            return make(path, options)
    raise SourceError(f'{path} is a device or a pipe; give a file or a folder')


__all__ = [
    'SAMPLE',
    'BagWriter',
    'RecordingError',
    'Source',
    'SourceError',
    'SourceFrame',
    'SourceOptions',
    'VideoWriter',
    'local_path',
    'open_source',
]
